"""Settings of EM classification: classes, rotations, band of q. The defaults are those of the co-author's program."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass

from helpers.system import STRICT


@dataclass(frozen=True, config=STRICT)
class EMSettings:
    """Settings of EM classification (section 2.1 of the paper; `spi_em_class` by S. Bobkov).

    Parameters
    ----------
    classes, rotations
        Models, and in-plane rotations of each that a pattern is compared with.
    iterations
        At most; a run ends earlier when it has converged.
    runs
        Independent runs, each from noise of its own.
    q_range
        Smallest and largest distance from the beam that counts [pixels].
    tolerance
        A run has converged when an iteration gains less log-likelihood than this per pattern.
    intensity
        "log": ln(1 + photons) of a pixel takes the place of its count; "linear": the count itself.
    friedel
        True: each pixel counts at its opposite too (Friedel's law), so that half a pattern fills the circle.
    scales
        Scales of the patterns: "updated" at each iteration, or "fixed" in proportion to their totals.
    precision
        "float32" or "float64".
    """

    classes: PositiveInt = 20
    rotations: PositiveInt = 100
    iterations: PositiveInt = 50
    runs: PositiveInt = 5
    q_range: Annotated[tuple[int, int], Field(strict=False)] = (15, 60)
    tolerance: NonNegativeFloat = 0.01
    intensity: Literal["log", "linear"] = "log"
    friedel: bool = True
    scales: Literal["updated", "fixed"] = "updated"
    precision: Literal["float32", "float64"] = "float64"

    def __post_init__(self) -> None:
        if not 0 <= self.q_range[0] < self.q_range[1]:
            raise ValueError(f"q_range must be two ascending radii from 0, got {list(self.q_range)}")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as a JSON file gives them back."""
        return asdict(self) | {"q_range": list(self.q_range)}
