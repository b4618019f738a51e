"""What the frames of a run have in common: background, beam centre, crop; and how frames are to be prepared."""

from dataclasses import dataclass, field, replace

import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Centre, Experiment
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
from helpers.preparation.hit_finding import Frames, HitRule, Survey, blocks, whole_photons
from helpers.preparation.radial_profile import radial_average
from helpers.preparation.size import SIZE_RANGE_NM, fitted_radii, search_range
from helpers.preparation.sphere_fit import SEARCH_HALF_WIDTH, CentrePrior, SphereFit, SphereFitter, prior_of

BACKGROUNDS = ("auto", "blank", "peak", "none")

_PILOT_HITS = 256


@dataclass(frozen=True)
class Steps:
    """How frames are prepared; the defaults are those of the paper and of the published tools where they are known."""

    rule: HitRule = field(default_factory=HitRule)
    background: str = "auto"
    """"blank": the rate in frames without a hit; "peak": the published peak of the histograms; "none"; "auto" is
    "blank" where there are 10 such frames, else "none"."""

    centre: Centre | None = None
    """First estimate (row, column) in the frame; None fits circles [pixels]."""

    kept_nm: tuple[float, float] = SIZE_RANGE_NM
    """Sizes that are kept, both ends included [nm]."""

    search_nm: tuple[float, float] | None = None
    """Sizes that are tried; None follows from the radii: `size.search_range` [nm]."""

    radii: tuple[int, int] | None = None
    """Radii that are compared; None follows from the mask: `size.fitted_radii` [pixels]."""

    crop: Crop = field(default_factory=Crop)
    seed: int = 0
    """Of the background photons that are drawn."""

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background must be one of {', '.join(BACKGROUNDS)}, got {self.background!r}")


@dataclass(frozen=True)
class Preparation:
    """All that the frames of a run have in common, ready to prepare any of them."""

    experiment: Experiment
    """Of the frames."""

    steps: Steps
    method: str
    """How the background is taken away: blank, peak or none."""

    background: Background
    """What a pattern holds besides scattering, as the sphere fit expects it; taken away if `method` is "blank"."""

    peak: np.ndarray
    """(rows, columns) whole photons that are subtracted at first; 0 unless `method` is "peak"."""

    prior: CentrePrior
    """Where the beam is, and its jitter."""

    mask: np.ndarray
    """(rows, columns) of the frames, True = bad pixel."""

    corner: tuple[int, int]
    """Where the crop begins in the turned frame."""

    @property
    def crop_mask(self) -> np.ndarray:
        """(crop rows, crop columns), True = bad pixel or outside the detector."""
        return self.steps.crop.cut(self.mask, self.corner, outside=True)

    @property
    def crop_centre(self) -> Centre:
        """Mean beam centre in the crop (row, column) [pixels]."""
        row, column = self.steps.crop.place(np.array([self.prior.centre]), self.mask.shape, self.corner)[0]
        return float(row), float(column)

    @property
    def crop_experiment(self) -> Experiment:
        """The experiment as the crop sees it."""
        crop, (row, column) = self.steps.crop, self.crop_centre
        given = {"rows": crop.rows, "columns": crop.columns, "centre_row": row, "centre_column": column}
        return replace(self.experiment, **given)

    def fitter(self) -> SphereFitter:
        """Sphere fits with what is known of this run."""
        return sphere_fitter(self.mask, self.experiment, self.background, self.prior, self.steps)


def sphere_fitter(
    mask: np.ndarray, experiment: Experiment, background: Background, prior: CentrePrior, steps: Steps
) -> SphereFitter:
    """Sphere fits on the radii and sizes of the steps."""
    first, stop = steps.radii or fitted_radii(_centred(experiment, prior.centre), mask, smallest_nm=steps.kept_nm[0])
    sizes = steps.search_nm or search_range((first, stop), experiment)
    return SphereFitter(mask, experiment, background, prior, sizes_nm=sizes, largest_radius=stop)


def _centred(experiment: Experiment, centre: Centre) -> Experiment:
    """The experiment with another nominal centre."""
    return replace(experiment, centre_row=centre[0], centre_column=centre[1])


def learn(frames: Frames, seen: Survey, experiment: Experiment, steps: Steps) -> Preparation:
    """Background and beam centre of a run.

    Parameters
    ----------
    frames
        The stack.
    seen
        From `survey`.
    experiment
        Of the frames; its nominal centre is not used.
    steps
        What is asked for.

    Returns
    -------
    Preparation

    Raises
    ------
    PatternFileError
        If there is no hit, no centre, or no blank frame where the background is to come from them.
    """
    if not seen.hits.any():
        raise PatternFileError(
            f"none of {len(seen.hits)} frames is a hit: the brightest has {seen.lit.max()} lit pixels, and "
            f"{steps.rule.lit_pixels[0]} are asked for; lower it (lit_pixels, --lit-pixels), or check adu_per_photon"
        )
    method = _method(seen, steps)
    peak = histogram_peak(seen.everything.counts) if method == "peak" else np.zeros(frames.mask.shape)
    centre = circle_centre(seen.mean_hit, frames.mask) if steps.centre is None else steps.centre
    background = _background(seen, frames.mask, centre, from_blanks=method == "blank")
    wide = CentrePrior(centre, SEARCH_HALF_WIDTH)
    fit = _pilot(frames, seen, peak, sphere_fitter(frames.mask, experiment, background, wide, steps), steps)
    prior = prior_of(fit)
    corner = steps.crop.corner(frames.mask.shape, prior.centre)
    return Preparation(experiment, steps, method, background, peak, prior, frames.mask, corner)


def _method(seen: Survey, steps: Steps) -> str:
    """How the background is taken away."""
    blanks = seen.blank.frames
    if steps.background == "blank" and blanks < FEWEST_FRAMES:
        raise PatternFileError(
            f"only {blanks} of {len(seen.lit)} frames have no hit, and a background needs {FEWEST_FRAMES}; "
            f"raise lit_pixels (--lit-pixels), or choose another background (--background)"
        )
    if steps.background == "peak" and len(seen.lit) < FEWEST_FRAMES:
        raise PatternFileError(
            f"{len(seen.lit)} frames are too few for a background from histograms, which needs {FEWEST_FRAMES}; "
            f"choose another background (--background)"
        )
    if steps.background != "auto":
        return steps.background
    return "blank" if blanks >= FEWEST_FRAMES else "none"


def _background(seen: Survey, mask: np.ndarray, centre: Centre, *, from_blanks: bool) -> Background:
    """What a pattern holds besides scattering: from blank frames, or guessed from the faintest tenth of the radii."""
    if from_blanks:
        return Background(blank_rate(seen.blank.counts, mask, centre), level_spread(seen.photons[seen.blank_frames]))
    profile = radial_average(seen.mean_hit[None], mask, np.array([centre]))[0]
    faintest = np.quantile(profile[profile > 0], 0.1) * np.median(seen.photons[seen.hits])
    return Background(np.where(mask, 0.0, faintest), 1.0)


def _pilot(frames: Frames, seen: Survey, peak: np.ndarray, fitter: SphereFitter, steps: Steps) -> SphereFit:
    """Fits of up to 256 hits, spread over the run."""
    hits = np.flatnonzero(seen.hits)
    chosen = hits[np.linspace(0, hits.size - 1, min(hits.size, _PILOT_HITS)).astype(int)]
    parts = [
        fitter.fit(subtract_peak(whole_photons(values, frames.mask, steps.rule)[0], peak))
        for _, values in blocks(frames, chosen, label="finding the beam")
    ]
    return SphereFit(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})
