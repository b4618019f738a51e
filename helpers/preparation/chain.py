"""From a stack of detector frames to a file of prepared patterns: all steps, in blocks, in bounded memory.

Frames are read three times at most: all of them to find hits and background, some hits to learn where the beam is, all
hits to write them. Nothing but a table and two histograms a pixel grows with their number.
"""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.cxi_writing import new_stack, write_table
from helpers.errors import PatternFileError
from helpers.experiment import Centre, Experiment
from helpers.files import write_csv
from helpers.preparation.background import (
    FEWEST_FRAMES,
    OVERFLOW,
    Background,
    blank_rate,
    histogram_peak,
    level_spread,
    remove_photons,
    subtract_peak,
)
from helpers.preparation.circles import circle_centre
from helpers.preparation.crop import Crop
from helpers.preparation.profile import radial_average
from helpers.preparation.refinement import SEARCH_HALF_WIDTH, CentrePrior, SphereFit, SphereFitter, prior_of
from helpers.preparation.size import SIZE_RANGE_NM, fitted_radii, particle_sizes, search_range
from helpers.preparation.survey import Frames, HitRule, Survey, blocks, survey, whole_photons

BACKGROUNDS = ("auto", "blank", "peak", "none")

_PILOT_HITS = 256
_NAMED_FRAMES = 20


class ImpossibleValuesWarning(UserWarning):
    """Frames hold values that cannot be photons; they were counted as none."""


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
    """Sphere fits on the radii and sizes of the steps, with some room for the centre."""
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


def prepared_blocks(
    frames: Frames, hits: np.ndarray, preparation: Preparation
) -> Iterator[tuple[np.ndarray, np.ndarray, pd.DataFrame]]:
    """Hits as cropped photon counts without background, with what was measured.

    Parameters
    ----------
    frames
        The stack.
    hits
        (n,) indices.
    preparation
        From `learn`.

    Yields
    ------
    indices : ndarray (k,)
    counts : ndarray (k, crop rows, crop columns)
        uint16 [photons]
    measured : DataFrame
        centre_row and centre_column [pixels of the crop], centre_error, photons, background_photons, size_nm,
        size_score.
    """
    fitter, mask = preparation.fitter(), preparation.crop_mask
    for indices, values in blocks(frames, hits, label="preparing"):
        photons, _, _ = whole_photons(values, frames.mask, preparation.steps.rule)
        fit = fitter.fit(subtract_peak(photons, preparation.peak))
        yield indices, *_prepared(photons, fit, indices, mask, preparation)


def _prepared(
    photons: np.ndarray, fit: SphereFit, indices: np.ndarray, mask: np.ndarray, preparation: Preparation
) -> tuple[np.ndarray, pd.DataFrame]:
    """Counts and measured values of one block."""
    steps, corner = preparation.steps, preparation.corner
    whole = steps.crop.cut(photons, corner)
    whole[:, mask] = 0
    centres = steps.crop.place(fit.centres, preparation.mask.shape, corner)
    counts, removed = _without_background(whole, centres, indices, mask, preparation)
    experiment = preparation.crop_experiment
    radii = steps.radii or fitted_radii(experiment, mask, smallest_nm=steps.kept_nm[0])
    sizes, scores = particle_sizes(
        counts, mask, centres, experiment, size_range=steps.search_nm or search_range(radii, experiment), radii=radii
    )
    measured = {
        "centre_row": centres[:, 0],
        "centre_column": centres[:, 1],
        "centre_error": np.hypot(*fit.errors.T),
        "photons": whole.sum(axis=(1, 2), dtype=float) - removed,
        "background_photons": removed,
        "size_nm": sizes,
        "size_score": scores,
    }
    return counts, pd.DataFrame(measured)


def _without_background(
    whole: np.ndarray, centres: np.ndarray, indices: np.ndarray, mask: np.ndarray, preparation: Preparation
) -> tuple[np.ndarray, np.ndarray]:
    """Counts without background, and how many photons it was expected to be, clipped by nothing."""
    crop, corner = preparation.steps.crop, preparation.corner
    if preparation.method == "none":
        return whole, np.zeros(len(whole))
    if preparation.method == "peak":
        peak = crop.cut(preparation.peak, corner)
        counts = subtract_peak(whole, peak)
        return counts, np.where(whole > OVERFLOW, 0, peak)[:, ~mask].sum(axis=1)
    rate = np.where(mask, 0.0, crop.cut(preparation.background.rate, corner))
    # the mean background of the run: the level of a sphere fit is better for a single sphere, but in a pattern that is
    # none it takes scattering for background
    removed = np.full(len(whole), rate.sum())
    generators = [np.random.default_rng([preparation.steps.seed, index]) for index in indices]
    given = {"profiles": radial_average(whole, mask, centres), "centres": centres, "generators": generators}
    return remove_photons(whole, rate, number=removed, **given), removed


def prepare(
    frames: Frames,
    output: str | os.PathLike,
    experiment: Experiment,
    steps: Steps | None = None,
    *,
    columns: pd.DataFrame | None = None,
    title: str = "",
) -> pd.DataFrame:
    """Prepare all frames of a stack and write those that are kept (section 2.1 of the paper).

    Parameters
    ----------
    frames
        The stack.
    output
        A CXI file in the co-author's layout with the table beside the patterns; the table of all frames is written to
        the same name with `.csv`.
    experiment
        Wavelength, distance and pixel of the frames.
    steps
        How; None takes the defaults.
    columns
        One row a frame, to be carried on (labels, event ids); names that are measured here get `source_` before them.
    title
        What the patterns are.

    Returns
    -------
    DataFrame
        One row a frame: centre_row and centre_column [pixels of the crop], centre_error [pixels], photons and
        background_photons in the crop, lit_pixels, size_nm, size_score, kept (0 or 1), why_not, notes. What was not
        measured is NaN.

    Raises
    ------
    PatternFileError
        As `learn`, or if no pattern is kept.

    Warns
    -----
    ImpossibleValuesWarning
        Names the frames with NaN or infinite values in good pixels.
    """
    steps = steps or Steps()
    seen = survey(frames, steps.rule)
    _warn(seen)
    preparation = learn(frames, seen, experiment, steps)
    hits = np.flatnonzero(seen.hits)
    given = {"mask": preparation.crop_mask, "centre": preparation.crop_centre}
    given |= {"experiment": preparation.crop_experiment, "title": title}
    measured = []
    with new_stack(output, patterns=hits.size, dtype=np.uint16, **given) as image:
        written = 0
        for indices, counts, values in prepared_blocks(frames, hits, preparation):
            kept = values["size_nm"].between(*steps.kept_nm).to_numpy()
            for pattern in counts[kept]:
                image["data"][written] = pattern
                written += 1
            measured.append(values.set_index(indices))
        table = _table(seen, pd.concat(measured), steps, columns)
        if written == 0:
            raise PatternFileError(f"no pattern was kept, {output} is not written: {summary(table)}")
        image["data"].resize(written, axis=0)
        write_table(image, table[table["kept"] == 1].drop(columns=["kept", "why_not"]))
    write_csv(Path(output).with_suffix(".csv"), table)
    return table


def _table(seen: Survey, measured: pd.DataFrame, steps: Steps, columns: pd.DataFrame | None) -> pd.DataFrame:
    """One row a frame: what was carried on, measured and decided."""
    frames = pd.RangeIndex(len(seen.lit), name="frame")
    table = measured.reindex(frames)
    table.insert(0, "frame", frames)
    table["lit_pixels"] = seen.lit
    size = table["size_nm"]
    kept = size.between(*steps.kept_nm)
    outside = f"size outside {steps.kept_nm[0]:g}-{steps.kept_nm[1]:g} nm"
    few = np.where(seen.lit < steps.rule.lit_pixels[0], "too few lit pixels", "too many lit pixels")
    table["kept"] = kept.astype(np.uint8)
    table["why_not"] = np.where(kept, "", np.where(seen.hits, outside, few))
    table["notes"] = _notes(seen)
    if columns is None:
        return table
    carried = columns.rename(columns={name: f"source_{name}" for name in columns if name in table})
    return pd.concat([table, carried.set_index(frames)], axis=1)


def _notes(seen: Survey) -> list[str]:
    """What was wrong with each frame and did not stop it."""
    counts = zip(seen.impossible.nan, seen.impossible.infinite, strict=True)
    kinds = [[(nan, "NaN"), (infinite, "infinite")] for nan, infinite in counts]
    return [
        "; ".join(f"{number} {kind} in good pixels, counted as no photons" for number, kind in pair if number)
        for pair in kinds
    ]


def _warn(seen: Survey) -> None:
    """Name the frames with values that are no numbers."""
    wrong = np.flatnonzero(seen.impossible.nan + seen.impossible.infinite)
    if wrong.size:
        named = ", ".join(map(str, wrong[:_NAMED_FRAMES])) + (", …" if wrong.size > _NAMED_FRAMES else "")
        warnings.warn(
            f"{wrong.size} of {len(seen.lit)} frames hold NaN or infinite values in good pixels, counted as no "
            f"photons: {named}",
            ImpossibleValuesWarning,
            stacklevel=3,
        )


def summary(table: pd.DataFrame) -> str:
    """How many frames were kept, and why others were not.

    Parameters
    ----------
    table
        From `prepare`.

    Returns
    -------
    str
        One line.
    """
    reasons = table.loc[table["kept"] == 0, "why_not"].value_counts()
    return f"{int(table['kept'].sum())} of {len(table)} frames kept" + "".join(
        f"; {number} {reason}" for reason, number in reasons.items()
    )
