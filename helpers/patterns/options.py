"""Options of reading a pattern file, passed whole from the command to the reader."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from helpers.patterns.assembly import Assembly

Polarity = Literal["format", "nonzero-bad", "nonzero-good"]
"""Which pixels a mask calls bad: as its format says, those that are not 0, or those that are 0."""


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading a pattern file; the defaults fit every known layout.

    Parameters
    ----------
    dataset
        Name of the data set to read, where the file holds several that do not go together.
    nan_as_zero
        Read NaN and infinity as no photons instead of refusing them, and parts of a virtual data set that nothing is
        mapped to.
    frame_shape
        Rows and columns of a pattern, where the file does not tell (Dragonfly).
    mask_polarity
        "format": as the format says, non-zero is bad in CXI, 2 is bad in Dragonfly and CXIDB 58; "nonzero-bad" or
        "nonzero-good" for files that do otherwise.
    detector
        Where the pixels are, for panels that were not put together and for Dragonfly: a file (see `geometry`) or an
        Assembly. Dragonfly's is also looked for beside the photons: same stem, `_detector.h5`.

    Raises
    ------
    ValueError
        If `mask_polarity` is none of these.
    """

    dataset: str | None = None
    nan_as_zero: bool = False
    frame_shape: tuple[int, int] | None = None
    mask_polarity: Polarity = "format"
    detector: Path | Assembly | None = None

    def __post_init__(self) -> None:
        # also where the file has no mask to apply it to
        if self.mask_polarity not in get_args(Polarity):
            raise ValueError(f"mask_polarity is one of {', '.join(get_args(Polarity))}, got {self.mask_polarity!r}")
        if isinstance(self.detector, str):
            object.__setattr__(self, "detector", Path(self.detector))


DEFAULTS = ReadOptions()
