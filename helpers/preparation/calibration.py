"""Calibration of a run, shared by all of its frames: background, beam centre and crop; and the settings for it."""

from dataclasses import dataclass, field, replace

import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Centre, Experiment
from helpers.patterns import PatternStack
from helpers.preparation.background import (
    FEWEST_FRAMES,
    Background,
    blank_rate,
    histogram_peak,
    level_spread,
    subtract_peak,
)
from helpers.preparation.circle_fit import circle_centre
from helpers.preparation.crop import Crop
from helpers.preparation.hit_finding import FrameStatistics, HitRule, blocks, whole_photons
from helpers.preparation.radial_profile import radial_average
from helpers.preparation.size import SIZE_RANGE_NM, fitted_radii, search_range
from helpers.preparation.sphere_fit import SEARCH_HALF_WIDTH, CentrePrior, SphereFit, SphereFitter, prior_of

BACKGROUNDS = ("auto", "blank", "peak", "none")

_PILOT_HITS = 256


@dataclass(frozen=True)
class PrepareSettings:
    """Settings of the preparation; the defaults are those of the paper and the published tools, where they are known.

    Raises
    ------
    ValueError
        If `background` is not one of its values.
    """

    rule: HitRule = field(default_factory=HitRule)
    """Unit of the frames, and the condition for a hit."""

    background: str = "auto"
    """Source of the background: "blank", its rate in frames without a hit; "peak", the published peak of the
    histograms; "none"; or "auto", which is "blank" if there are 10 such frames, else "none"."""

    centre: Centre | None = None
    """First estimate of the beam centre (row, column) in the frame; None fits circles [pixels]."""

    kept_nm: tuple[float, float] = SIZE_RANGE_NM
    """Smallest and largest size of the patterns that are kept, both included [nm]."""

    search_nm: tuple[float, float] | None = None
    """Smallest and largest size that is tried; None derives it from the radii with `size.search_range` [nm]."""

    radii: tuple[int, int] | None = None
    """First radius that is compared, and the one after the last; None derives them from the mask with
    `size.fitted_radii` [pixels]."""

    crop: Crop = field(default_factory=Crop)
    """Part of the frame that is kept."""

    seed: int = 0
    """Seed for the choice of the background photons that are removed."""

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background must be one of {', '.join(BACKGROUNDS)}, got {self.background!r}")


@dataclass(frozen=True)
class Calibration:
    """Properties that all frames of a run share, enough to prepare any of them."""

    experiment: Experiment  # geometry of the uncropped frames
    settings: PrepareSettings  # settings that the calibration was made with
    method: str  # background that is removed: "blank", "peak" or "none"
    background: Background  # what the sphere fit expects in every pattern; removed only if `method` is "blank"
    peak: np.ndarray  # (rows, columns) whole photons subtracted before the sphere fit; 0 unless `method` is "peak"
    prior: CentrePrior  # mean beam centre of the run and its jitter
    mask: np.ndarray  # (rows, columns) mask of the frames, True = bad pixel
    corner: tuple[int, int]  # first row and column of the crop in the rotated frame, from `Crop.corner`

    @property
    def crop_mask(self) -> np.ndarray:
        """Mask (crop rows, crop columns), True = bad pixel or outside the detector."""
        return self.settings.crop.cut(self.mask, self.corner, outside=True)

    @property
    def crop_centre(self) -> Centre:
        """Mean beam centre in the crop (row, column) [pixels]."""
        row, column = self.settings.crop.to_crop(np.array([self.prior.centre]), self.mask.shape, self.corner)[0]
        return float(row), float(column)

    @property
    def crop_experiment(self) -> Experiment:
        """Geometry of the cropped patterns."""
        crop, (row, column) = self.settings.crop, self.crop_centre
        given = {"rows": crop.rows, "columns": crop.columns, "centre_row": row, "centre_column": column}
        return replace(self.experiment, **given)

    def fitter(self) -> SphereFitter:
        """Sphere fitter with the mask, background and centre of this run."""
        return sphere_fitter(self.mask, self.experiment, self.background, self.prior, self.settings)


def check_centre(centre: Centre, mask: np.ndarray, experiment: Experiment, settings: PrepareSettings) -> None:
    """Refuse a beam centre (row, column) [pixels of the frame] with which the crop shows no radii to compare.

    PatternFileError, which says for which centres the whole crop lies in the frame.
    """
    crop = settings.crop
    if np.isfinite(centre).all():
        cut = crop.cut(mask, corner := crop.corner(mask.shape, centre), outside=True)
        row, column = crop.to_crop(np.array([centre]), mask.shape, corner)[0]
        shown = {"rows": crop.rows, "columns": crop.columns, "centre_row": row, "centre_column": column}
        cropped = replace(experiment, **shown)
        first, stop = settings.radii or fitted_radii(cropped, cut, smallest_nm=settings.kept_nm[0])
        radius = np.rint(cropped.pixel_radius())
        if (~cut & (radius >= first) & (radius < stop)).any():
            return
    lowest, highest = crop.centres_inside(mask.shape)
    raise PatternFileError(
        f"with the beam at row {centre[0]:g}, column {centre[1]:g} a crop of {crop.rows} x {crop.columns} pixels "
        f"({crop.side}) shows nothing to compare in frames of {mask.shape[0]} x {mask.shape[1]}; it lies in them for "
        f"rows {lowest[0]:g} to {highest[0]:g} and columns {lowest[1]:g} to {highest[1]:g}: give another centre "
        "(--centre), side (--side) or crop (--crop)"
    )


def sphere_fitter(
    mask: np.ndarray, experiment: Experiment, background: Background, prior: CentrePrior, settings: PrepareSettings
) -> SphereFitter:
    """Sphere fitter for the radii and sizes of the settings, or those that follow from the geometry."""
    centred = replace(experiment, centre_row=prior.centre[0], centre_column=prior.centre[1])
    first, stop = settings.radii or fitted_radii(centred, mask, smallest_nm=settings.kept_nm[0])
    sizes = settings.search_nm or search_range((first, stop), experiment)
    return SphereFitter(mask, experiment, background, prior, sizes_nm=sizes, largest_radius=stop)


def calibrate(
    frames: PatternStack, statistics: FrameStatistics, experiment: Experiment, settings: PrepareSettings
) -> Calibration:
    """Determine the background, beam centre and crop of a run from the hits and histograms of its frames.

    PatternFileError if there is no hit, if no centre is found, or if there are too few frames for the background.
    """
    if not statistics.hits.any():
        raise PatternFileError(
            f"none of {len(statistics.hits)} frames is a hit: the brightest has {statistics.lit.max()} lit pixels, and "
            f"{settings.rule.lit_pixels[0]} are asked for; lower it (lit_pixels, --lit-pixels), or check adu_per_photon"
        )
    method = _method(statistics, settings)
    # background and first centre, as the settings ask for
    peak = histogram_peak(statistics.everything.counts) if method == "peak" else np.zeros(frames.mask.shape)
    centre = circle_centre(statistics.mean_hit, frames.mask) if settings.centre is None else settings.centre
    check_centre(centre, frames.mask, experiment, settings)
    background = _background(statistics, frames.mask, centre, from_blanks=method == "blank")
    # mean centre and jitter from sphere fits of some hits, which may be anywhere near the first centre
    wide = CentrePrior(centre, SEARCH_HALF_WIDTH)
    fit = _pilot(frames, statistics, peak, sphere_fitter(frames.mask, experiment, background, wide, settings), settings)
    prior = prior_of(fit)
    check_centre(prior.centre, frames.mask, experiment, settings)
    corner = settings.crop.corner(frames.mask.shape, prior.centre)
    return Calibration(experiment, settings, method, background, peak, prior, frames.mask, corner)


def _method(statistics: FrameStatistics, settings: PrepareSettings) -> str:
    """Background that is removed, with "auto" decided: "blank", "peak" or "none"."""
    blanks = statistics.blank.frames
    if settings.background == "blank" and blanks < FEWEST_FRAMES:
        raise PatternFileError(
            f"only {blanks} of {len(statistics.lit)} frames have no hit, and a background needs {FEWEST_FRAMES}; "
            f"raise lit_pixels (--lit-pixels), or choose another background (--background)"
        )
    if settings.background == "peak" and len(statistics.lit) < FEWEST_FRAMES:
        raise PatternFileError(
            f"{len(statistics.lit)} frames are too few for a background from histograms, which needs {FEWEST_FRAMES}; "
            f"choose another background (--background)"
        )
    if settings.background != "auto":
        return settings.background
    return "blank" if blanks >= FEWEST_FRAMES else "none"


def _background(statistics: FrameStatistics, mask: np.ndarray, centre: Centre, *, from_blanks: bool) -> Background:
    """Background of a pattern: from blank frames, or estimated from the faintest tenth of the radii of the mean hit."""
    if from_blanks:
        return Background(
            blank_rate(statistics.blank.counts, mask, centre), level_spread(statistics.photons[statistics.blank_frames])
        )
    profile = radial_average(statistics.mean_hit[None], mask, np.array([centre]))[0]
    faintest = np.quantile(profile[profile > 0], 0.1) * np.median(statistics.photons[statistics.hits])
    return Background(np.where(mask, 0.0, faintest), 1.0)


def _pilot(
    frames: PatternStack, statistics: FrameStatistics, peak: np.ndarray, fitter: SphereFitter, settings: PrepareSettings
) -> SphereFit:
    """Sphere fits of up to 256 hits, spread evenly over the run."""
    hits = np.flatnonzero(statistics.hits)
    chosen = hits[np.linspace(0, hits.size - 1, min(hits.size, _PILOT_HITS)).astype(int)]
    parts = [
        fitter.fit(subtract_peak(whole_photons(values, frames.mask, settings.rule)[0], peak))
        for _, values in blocks(frames, chosen, label="finding the beam")
    ]
    return SphereFit(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})
