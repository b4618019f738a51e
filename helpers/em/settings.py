"""How EM classification runs: classes, rotations, the band of q. Defaults are those of the co-author's program."""

from dataclasses import asdict, dataclass
from typing import Any

from helpers.errors import ProfileError
from helpers.system import in_short


@dataclass(frozen=True)
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
        Whether each pixel counts at its opposite too, so that half a pattern fills the circle.
    scales
        Of the patterns: "updated" at each iteration, or "fixed" in proportion to their totals.
    precision
        "float32" or "float64".
    """

    classes: int = 20
    rotations: int = 100
    iterations: int = 50
    runs: int = 5
    q_range: tuple[int, int] = (15, 60)
    tolerance: float = 0.01
    intensity: str = "log"
    friedel: bool = True
    scales: str = "updated"
    precision: str = "float64"

    def __post_init__(self) -> None:
        for name in ("classes", "rotations", "iterations", "runs"):
            if type(getattr(self, name)) is not int:
                raise ProfileError(f"{name} must be a whole number, got {in_short(repr(getattr(self, name)))}")
        object.__setattr__(self, "q_range", tuple(self.q_range))
        for name in ("classes", "rotations", "iterations", "runs"):
            if getattr(self, name) < 1:
                raise ProfileError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.q_range[0] < self.q_range[1]:
            raise ProfileError(f"q_range must be two ascending radii from 0, got {list(self.q_range)}")
        if not self.tolerance >= 0:
            raise ProfileError(f"tolerance must not be negative, got {self.tolerance}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ProfileError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as a JSON file gives them back."""
        return asdict(self) | {"q_range": list(self.q_range)}


_CHOICES = {"intensity": ("log", "linear"), "scales": ("updated", "fixed"), "precision": ("float32", "float64")}
