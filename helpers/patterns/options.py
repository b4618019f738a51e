"""How the caller wants a file to be read, and what that means for masks and geometries."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns import metadata
from helpers.patterns.assembly import Assembly
from helpers.patterns.metadata import POLARITIES, Polarity


@dataclass(frozen=True)
class Reading:
    """How the caller wants a file to be read: the options of `open_stack`."""

    path: Path
    dataset: str | None
    nan_as_zero: bool
    frame_shape: tuple[int, int] | None
    polarity: Polarity
    detector: Path | Assembly | None

    def __post_init__(self) -> None:
        # also where the file has no mask to apply it to
        if self.polarity not in POLARITIES:
            raise ValueError(f"mask_polarity is one of {', '.join(POLARITIES)}, got {self.polarity!r}")


def fitting(reading: Reading, assembly: Assembly, shape: tuple[int, ...]) -> Assembly:
    """The geometry, if it has as many pixels as a pattern."""
    if assembly.pixels != np.prod(shape):
        raise PatternFileError(
            f"{reading.path}: the geometry has {assembly.pixels} pixels, a pattern {shape}; give that of this detector"
        )
    return assembly


def geometry_mask(reading: Reading, geometry: Assembly | None) -> np.ndarray | None:
    """Gaps of the geometry, and the pixels that its own mask calls bad."""
    if geometry is None or geometry.mask_values is None:
        return None if geometry is None else geometry.gaps
    return geometry.mask(metadata.bad_pixels(geometry.mask_values, reading.polarity, two_is_bad=True))


def check_mask(reading: Reading, mask: np.ndarray, source: str) -> None:
    """Refuse a mask that leaves no good pixel: it is meant the other way round, or damaged."""
    if mask.all():
        raise PatternFileError(
            f"{reading.path}: {source}: no pixel is good; say what the mask means with mask_polarity=... "
            "(--mask-polarity), or correct it"
        )


def mask_rule(reading: Reading, source: str, *, two_is_bad: bool) -> str:
    """Where a mask is from and what it means, for people."""
    if reading.polarity == "nonzero-good":
        return f"{source} (0 = bad)"
    return f"{source} ({'2 = bad' if two_is_bad and reading.polarity == 'format' else 'not 0 = bad'})"
