"""Geometry of an experiment: wavelength, distance and pixels, and the momentum transfer at each pixel."""

import math
from dataclasses import dataclass

import numpy as np

Centre = tuple[float, float]
"""Position of the direct beam in the pattern: (row, column) [pixels]; the middle of pixel (0, 0) is (0.0, 0.0)."""


@dataclass(frozen=True)
class Experiment:
    """A diffraction experiment in the small-angle geometry (section 2.1 of the paper).

    Raises
    ------
    ValueError
        If a length, a number of pixels, `adu_per_photon` or `saturation` is not positive.
    """

    name: str  # name of the experiment, for titles and messages
    wavelength_nm: float  # wavelength λ of the X-rays [nm]
    distance_m: float  # distance D from the focus to the detector [m]
    pixel_m: float  # edge length p of a square pixel [m]
    rows: int  # number of rows of a pattern; row 0 is next to the beam
    columns: int  # number of columns of a pattern
    centre_row: float  # row of the direct beam; it may lie outside the pattern [pixels]
    centre_column: float  # column of the direct beam [pixels]
    adu_per_photon: float  # detector units that one photon makes [ADU/photon]
    saturation: int  # largest count that a pixel can hold [photons]

    def __post_init__(self) -> None:
        for field in ("wavelength_nm", "distance_m", "pixel_m", "rows", "columns", "adu_per_photon", "saturation"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} of experiment {self.name!r} must be positive, got {getattr(self, field)}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a pattern [pixels]."""
        return self.rows, self.columns

    @property
    def centre(self) -> Centre:
        """Nominal beam centre (row, column) [pixels]."""
        return self.centre_row, self.centre_column

    @property
    def frequency_step(self) -> float:
        """Spatial frequency per pixel, p / (λ D) [1/nm]."""
        return self.pixel_m / (self.wavelength_nm * self.distance_m)

    @property
    def q_step(self) -> float:
        """Momentum transfer per pixel, 2π p / (λ D) [1/nm]."""
        return 2 * math.pi * self.frequency_step

    def pixel_radius(self, centre: Centre | None = None) -> np.ndarray:
        """Distance (rows, columns) of each pixel from `centre`, or from the nominal beam centre [pixels]."""
        row, column = self.centre if centre is None else centre
        return np.hypot(np.arange(self.rows)[:, None] - row, np.arange(self.columns)[None, :] - column)

    def q(self, centre: Centre | None = None) -> np.ndarray:
        """Momentum transfer (rows, columns) of each pixel, 2π r p / (λ D) with r of `pixel_radius` [1/nm]."""
        return self.q_step * self.pixel_radius(centre)


AMOX34117 = Experiment(
    name="AMOX34117",
    wavelength_nm=0.729,
    distance_m=0.130,
    pixel_m=75e-6,
    rows=123,
    columns=240,
    centre_row=1.5,
    centre_column=119.5,
    adu_per_photon=130.0,
    saturation=126,
)
"""The paper's experiment (section 2.1): one half of a pattern, row 0 next to the beam; 14 bits at 130 ADU a photon."""
