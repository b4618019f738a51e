"""Preparation pipeline: from a stack of detector frames to a file of prepared patterns, in blocks of bounded memory.

Frames are read at most three times: all of them to find hits and background, some hits to locate the beam, and all
hits to prepare and write them. Memory holds one block of frames, the histograms of each pixel, and the table.
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import PatternFileError
from helpers.experiment import Experiment
from helpers.patterns import PatternStack, new_stack, write_table
from helpers.preparation.background import OVERFLOW, remove_photons, subtract_peak
from helpers.preparation.calibration import Calibration, PrepareSettings, calibrate
from helpers.preparation.hit_finding import FrameStatistics, blocks, frame_statistics, whole_photons
from helpers.preparation.radial_profile import radial_average
from helpers.preparation.size import fitted_radii, particle_sizes, search_range
from helpers.preparation.sphere_fit import SphereFit
from helpers.system import write_csv

_NAMED_FRAMES = 20


class ImpossibleValuesWarning(UserWarning):
    """Frames hold values that cannot be photons; they were counted as none."""


def prepared_blocks(
    frames: PatternStack, hits: np.ndarray, calibration: Calibration
) -> Iterator[tuple[np.ndarray, np.ndarray, pd.DataFrame]]:
    """Frame numbers, cropped counts without background (k, crop rows, crop columns), measured values, block by block.

    The columns are centre_row, centre_column and centre_error [pixels of the crop], photons, background_photons,
    size_nm [nm] and size_score.
    """
    fitter, mask = calibration.fitter(), calibration.crop_mask
    for numbers, values in blocks(frames, hits, label="preparing"):
        photons, _, _ = whole_photons(values, frames.mask, calibration.settings.rule)
        fit = fitter.fit(subtract_peak(photons, calibration.peak))
        yield numbers, *_prepared(photons, fit, numbers, mask, calibration)


def _prepared(
    photons: np.ndarray, fit: SphereFit, numbers: np.ndarray, mask: np.ndarray, calibration: Calibration
) -> tuple[np.ndarray, pd.DataFrame]:
    """Photon counts and measured values of one block."""
    settings, corner = calibration.settings, calibration.corner
    whole = settings.crop.cut(photons, corner)
    whole[:, mask] = 0
    centres = settings.crop.to_crop(fit.centres, calibration.mask.shape, corner)
    counts, removed = _without_background(whole, centres, numbers, mask, calibration)
    experiment = calibration.crop_experiment
    radii = settings.radii or fitted_radii(experiment, mask, smallest_nm=settings.kept_nm[0])
    sizes, scores = particle_sizes(
        counts, mask, centres, experiment, size_range=settings.search_nm or search_range(radii, experiment), radii=radii
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
    whole: np.ndarray, centres: np.ndarray, numbers: np.ndarray, mask: np.ndarray, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Counts without background, and the (N,) background photons expected in them."""
    crop, corner = calibration.settings.crop, calibration.corner
    if calibration.method == "none":
        return whole, np.zeros(len(whole))
    if calibration.method == "peak":
        peak = crop.cut(calibration.peak, corner)
        counts = subtract_peak(whole, peak)
        return counts, np.where(whole > OVERFLOW, 0, peak)[:, ~mask].sum(axis=1)
    rate = np.where(mask, 0.0, crop.cut(calibration.background.rate, corner))
    # the mean background of the run: the fitted level is better for a single sphere, but in any other pattern the fit
    # takes scattering for background
    removed = np.full(len(whole), rate.sum())
    generators = [np.random.default_rng([calibration.settings.seed, number]) for number in numbers]
    given = {"profiles": radial_average(whole, mask, centres), "centres": centres, "generators": generators}
    return remove_photons(whole, rate, number=removed, **given), removed


def prepare(
    frames: PatternStack,
    output: str | os.PathLike,
    experiment: Experiment,
    settings: PrepareSettings | None = None,
    *,
    columns: pd.DataFrame | None = None,
    title: str = "",
) -> pd.DataFrame:
    """Prepare all frames of a stack and write those that are kept (section 2.1 of the paper).

    Parameters
    ----------
    frames
        Open stack of detector frames.
    output
        CXI file to write, in the co-author's layout with the per-pattern table beside the patterns; the table of all
        frames is written under the same name with `.csv`.
    experiment
        Wavelength, distance and pixel of the frames; the nominal centre is not used.
    settings
        Choices for every step of the preparation; None takes the defaults.
    columns
        Table with one row for each frame (labels, event ids) to be copied; columns that are also measured here get
        the prefix `source_`.
    title
        Title of the output file.

    Returns
    -------
    DataFrame
        One row for each frame: centre_row and centre_column [pixels of the crop], centre_error [pixels], photons and
        background_photons in the crop, lit_pixels, size_nm, size_score, kept (0 or 1), why_not, notes. Values that
        were not measured are NaN.

    Raises
    ------
    PatternFileError
        If the run cannot be calibrated (see `calibration.calibrate`), or if no pattern is kept.

    Warns
    -----
    ImpossibleValuesWarning
        If frames hold NaN or infinite values in good pixels; the warning names them.
    """
    settings = settings or PrepareSettings()
    statistics = frame_statistics(frames, settings.rule)
    _warn(statistics)
    calibration = calibrate(frames, statistics, experiment, settings)
    hits = np.flatnonzero(statistics.hits)
    given = {"mask": calibration.crop_mask, "centre": calibration.crop_centre}
    given |= {"experiment": calibration.crop_experiment, "title": title}
    measured = []
    with new_stack(output, patterns=hits.size, dtype=np.uint16, **given) as image:
        written = 0
        for numbers, counts, values in prepared_blocks(frames, hits, calibration):
            kept = values["size_nm"].between(*settings.kept_nm).to_numpy()
            for pattern in counts[kept]:
                image["data"][written] = pattern
                written += 1
            measured.append(values.set_index(numbers))
        table = _table(statistics, pd.concat(measured), settings, columns)
        if written == 0:
            raise PatternFileError(f"no pattern was kept, {output} is not written: {summary(table)}")
        image["data"].resize(written, axis=0)
        write_table(image, table[table["kept"] == 1].drop(columns=["kept", "why_not"]))
    write_csv(Path(output).with_suffix(".csv"), table)
    return table


def _table(
    statistics: FrameStatistics, measured: pd.DataFrame, settings: PrepareSettings, columns: pd.DataFrame | None
) -> pd.DataFrame:
    """Table with one row for each frame: the measured values, the decision, and the copied columns."""
    frames = pd.RangeIndex(len(statistics.lit), name="frame")
    table = measured.reindex(frames)
    table.insert(0, "frame", frames)
    table["lit_pixels"] = statistics.lit
    size = table["size_nm"]
    kept = size.between(*settings.kept_nm)
    outside = f"size outside {settings.kept_nm[0]:g}-{settings.kept_nm[1]:g} nm"
    few = np.where(statistics.lit < settings.rule.lit_pixels[0], "too few lit pixels", "too many lit pixels")
    table["kept"] = kept.astype(np.uint8)
    table["why_not"] = np.where(kept, "", np.where(statistics.hits, outside, few))
    table["notes"] = _notes(statistics)
    if columns is None:
        return table
    carried = columns.rename(columns={name: f"source_{name}" for name in columns if name in table})
    return pd.concat([table, carried.set_index(frames)], axis=1)


def _notes(statistics: FrameStatistics) -> list[str]:
    """Flaws of each frame that did not keep it from being prepared; empty for most."""
    counts = zip(statistics.impossible.nan, statistics.impossible.infinite, strict=True)
    kinds = [[(nan, "NaN"), (infinite, "infinite")] for nan, infinite in counts]
    return [
        "; ".join(f"{number} {kind} in good pixels, counted as no photons" for number, kind in pair if number)
        for pair in kinds
    ]


def _warn(statistics: FrameStatistics) -> None:
    """Warn of the frames that hold NaN or infinite values."""
    wrong = np.flatnonzero(statistics.impossible.nan + statistics.impossible.infinite)
    if wrong.size:
        named = ", ".join(map(str, wrong[:_NAMED_FRAMES])) + (", …" if wrong.size > _NAMED_FRAMES else "")
        warnings.warn(
            f"{wrong.size} of {len(statistics.lit)} frames hold NaN or infinite values in good pixels, counted as no "
            f"photons: {named}",
            ImpossibleValuesWarning,
            stacklevel=3,
        )


def summary(table: pd.DataFrame) -> str:
    """Number of frames that were kept, and the reasons for the others, in one line."""
    reasons = table.loc[table["kept"] == 0, "why_not"].value_counts()
    return f"{int(table['kept'].sum())} of {len(table)} frames kept" + "".join(
        f"; {number} {reason}" for reason, number in reasons.items()
    )


def table_preparation(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers of frames that were kept, or left out for each reason.

    Parameters
    ----------
    table
        Table of all frames, from `prepare` or read from the `.csv` that it writes.

    Returns
    -------
    DataFrame
        Columns outcome ("kept" or a reason) and frames, the most frequent first.
    """
    outcomes = table["why_not"].fillna("").replace("", "kept")
    return outcomes.value_counts().rename_axis("outcome").reset_index(name="frames")
