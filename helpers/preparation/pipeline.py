"""From a stack of detector frames to a file of prepared patterns: all steps, in blocks, in bounded memory.

Frames are read three times at most: all of them to find hits and background, some hits to learn where the beam is, all
hits to write them. Memory holds a block of them, the histograms of each pixel, and the table.
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import PatternFileError
from helpers.experiment import Experiment
from helpers.patterns import new_stack, write_table
from helpers.preparation.background import OVERFLOW, remove_photons, subtract_peak
from helpers.preparation.calibration import Preparation, Steps, learn
from helpers.preparation.hit_finding import Frames, Survey, blocks, survey, whole_photons
from helpers.preparation.radial_profile import radial_average
from helpers.preparation.size import fitted_radii, particle_sizes, search_range
from helpers.preparation.sphere_fit import SphereFit
from helpers.system import write_csv

_NAMED_FRAMES = 20


class ImpossibleValuesWarning(UserWarning):
    """Frames hold values that cannot be photons; they were counted as none."""


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


def table_preparation(table: pd.DataFrame) -> pd.DataFrame:
    """What became of the frames: columns outcome and frames, the most frequent first.

    Parameters
    ----------
    table
        From `prepare`, or read from the `.csv` that it writes.
    """
    outcomes = table["why_not"].fillna("").replace("", "kept")
    return outcomes.value_counts().rename_axis("outcome").reset_index(name="frames")
