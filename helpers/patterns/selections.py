"""Selections of single hits on disk, in the forms that other programs read.

A CSV list; a copy of the pattern file with one value a pattern beside the patterns, where the co-author's tools keep
theirs (`spi_filter -d single_hit/select -m 1`); and Dragonfly's photons with the detector, for the reconstruction.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from helpers.errors import PatternFileError
from helpers.patterns.binning import Binning
from helpers.patterns.dragonfly import emc
from helpers.patterns.dragonfly.detector import detector_beside, write_detector
from helpers.patterns.hdf5.file import member
from helpers.patterns.hdf5.writing import hdf5_to_write
from helpers.patterns.stack import PatternStack
from helpers.system import progress, write_csv, written_whole

GROUP = "single_hit"
"""Group beside the patterns that holds `select` (0 or 1) and `score`."""

SUFFIXES = (".csv", ".cxi", ".h5", ".emc")

_BATCH = 256
_OF_THE_CROP = ("rows", "columns", "centre_row", "centre_column")


def selection_table(
    stack: PatternStack, *, patterns: np.ndarray, scores: np.ndarray, selected: np.ndarray
) -> pd.DataFrame:
    """A selection of a stack as a table: file, index, event_id, score, single (0 or 1), dataset, dataset_index.

    The parameters are those of `write_any_selection`.
    """
    selection = {
        "file": str(stack.path),
        "index": np.asarray(patterns),
        "event_id": "" if stack.event_ids is None else stack.event_ids[patterns],
        "score": np.asarray(scores),
        "single": np.asarray(selected).astype(int),
    }
    return pd.DataFrame(selection).join(stack.origins(patterns))


def write_selections(path: str | os.PathLike, tables: Sequence[pd.DataFrame], *, datasets: bool) -> None:
    """Write the tables of `selection_table` of some stacks as one CSV list.

    Parameters
    ----------
    path
        The CSV file.
    tables
        One for each stack.
    datasets
        Whether to tell the data set of each pattern, and its number there.
    """
    table = pd.concat(tables, ignore_index=True)
    write_csv(path, table if datasets else table.drop(columns=["dataset", "dataset_index"]))


def check_output(path: str | os.PathLike, stack: PatternStack, *, bin_side: int = 1) -> None:
    """Refuse a name under which a selection of this stack cannot be written, before any work is done.

    Raises
    ------
    PatternFileError
        If the suffix is unknown, the form does not fit the file, or only `.emc` can be binned and it is another.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise PatternFileError(f"{path}: a selection is written as {', '.join(SUFFIXES)}; choose one of these suffixes")
    if path.exists() and path.samefile(stack.path):
        raise PatternFileError(f"{path}: is the file of the patterns itself; choose another name for the selection")
    if bin_side != 1 and suffix != ".emc":
        raise PatternFileError(f"{path}: only .emc holds patterns that can be binned; leave out --bin, or write .emc")
    if suffix == ".emc":
        _detector_of(stack)
        if Binning(bin_side, stack.mask).bad.all():
            raise PatternFileError(
                f"{path}: no bin of {bin_side} × {bin_side} pixels of {stack.path} has enough good pixels; give a "
                "smaller --bin"
            )
    elif suffix != ".csv":
        _check_copy(path, stack)


def write_any_selection(
    path: str | os.PathLike,
    stack: PatternStack,
    *,
    patterns: np.ndarray,
    scores: np.ndarray,
    selected: np.ndarray,
    bin_side: int = 1,
) -> None:
    """Write a selection in the form that the suffix names: `.csv`, `.cxi` or `.h5`, `.emc`.

    Parameters
    ----------
    path
        The file.
    stack
        The patterns.
    patterns
        (n,) numbers of the scored patterns, without repeats.
    scores, selected
        (n,) their scores, and whether each is taken for a single hit.
    bin_side
        Pixels along a side of the bins of an `.emc`, whose counts are summed.

    Raises
    ------
    PatternFileError
        As `check_output`.
    """
    check_output(path, stack, bin_side=bin_side)
    suffix = Path(path).suffix.lower()
    if suffix == ".emc":
        write_photons(path, stack, np.asarray(patterns)[np.asarray(selected, bool)], bin_side=bin_side)
    elif suffix == ".csv":
        table = selection_table(stack, patterns=patterns, scores=scores, selected=selected)
        write_selections(path, [table], datasets=len(stack.datasets) > 1)
    else:
        write_marked_copy(path, stack, patterns=patterns, scores=scores, selected=selected)


def write_marked_copy(
    path: str | os.PathLike, stack: PatternStack, *, patterns: np.ndarray, scores: np.ndarray, selected: np.ndarray
) -> None:
    """Copy an HDF5 pattern file and mark the selection in the copy, whole or not at all.

    Beside each data set of patterns comes a group `single_hit` with `select` (int32, 1 = single hit) and `score`
    (float64), one value a pattern; for batches `batch_K_select` and `batch_K_score`. A pattern that was not scored has
    0 and NaN. What an earlier selection left there is replaced.
    """
    select, score = np.zeros(len(stack), np.int32), np.full(len(stack), np.nan)
    select[patterns], score[patterns] = np.asarray(selected).astype(np.int32), scores
    with written_whole(path) as partial:
        shutil.copyfile(stack.path, partial)
        with hdf5_to_write(partial, "r+") as file:
            start = 0
            for part in stack.parts:
                rows = slice(start, start := start + part.storage.shape[0])
                for name, values in (("select", select[rows]), ("score", score[rows])):
                    _replace(file, _path_of_column(part.dataset, name), values)


def _path_of_column(dataset: str, name: str) -> str:
    """The path of a column of one value a pattern."""
    group, _, last = dataset.rpartition("/")
    if last.startswith("batch_") and last.endswith("_pattern"):
        return f"{group}/{last.removesuffix('pattern')}{name}".lstrip("/")
    return f"{group}/{GROUP}/{name}".lstrip("/")


def _replace(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Put a data set into the file itself, and never through a link."""
    group_name, _, last = name.rpartition("/")
    group: h5py.Group = file
    for part in group_name.split("/") if group_name else ():
        link = group.get(part, getlink=True)
        if part == GROUP and link is not None and not isinstance(link, h5py.HardLink):
            del group[part]
        group = group.require_group(part)
    if group.file.filename != file.filename:
        raise PatternFileError(f"{group_name} is a link to another file, in which nothing is written; write .csv")
    if group.get(last, getlink=True) is not None:
        del group[last]
    group.create_dataset(last, data=values, track_times=False)


def _check_copy(path: Path, stack: PatternStack) -> None:
    """Refuse a copy that would not be the same file with a selection."""
    if not h5py.is_hdf5(stack.path):
        raise PatternFileError(
            f"{path}: {stack.path} is not HDF5, so it cannot be copied with a selection in it; write .csv or .emc"
        )
    with h5py.File(stack.path, "r") as file:
        for dataset in stack.datasets:
            if member(file, dataset).file.filename != file.filename:
                raise PatternFileError(
                    f"{path}: {dataset} of {stack.path} is a link to another file; copy that one, or write .csv"
                )
        if path.absolute().parent.resolve() != stack.path.absolute().parent.resolve() and _points_elsewhere(file):
            raise PatternFileError(
                f"{path}: {stack.path} refers to other files beside it; write the copy into the same folder, or .csv"
            )


def _points_elsewhere(file: h5py.File) -> bool:
    """Whether a file has links or virtual data sets that name other files by a relative path."""

    def in_link(_: str, link: object) -> bool | None:
        return True if isinstance(link, h5py.ExternalLink) and not Path(link.filename).is_absolute() else None

    def in_node(_: str, node: object) -> bool | None:
        if not isinstance(node, h5py.Dataset) or not node.is_virtual:
            return None
        names = {source.file_name for source in node.virtual_sources()} - {"."}
        return any(not Path(name).is_absolute() for name in names) or None

    return bool(file.visititems_links(in_link) or file.visititems(in_node))


def write_photons(
    path: str | os.PathLike, stack: PatternStack, patterns: np.ndarray | None = None, *, bin_side: int = 1
) -> None:
    """Write patterns (n,) of a stack (all if None) as Dragonfly takes them: a sparse `.emc`, and the detector.

    The detector goes beside it, under the same stem and `_detector.h5`, made from the stack's experiment (distance,
    pixel, centre) or its Dragonfly detector. Both are whole or not there. Counts are summed in bins of `bin_side` ×
    `bin_side` pixels, and the detector is that of the bins. Dragonfly's files have no place for event ids. Refused if
    the geometry is not known, if counts are fractional, or if there is no pattern to write.
    """
    path = Path(path)
    patterns = np.arange(len(stack)) if patterns is None else np.asarray(patterns)
    if patterns.size == 0:
        raise PatternFileError(
            f"{path}: no pattern of {stack.path} is selected, and Dragonfly cannot read a file without patterns; lower "
            "the threshold, or write .csv"
        )
    known, bins = _detector_of(stack), Binning(bin_side, stack.mask)
    batches = progress(range(0, patterns.size, _BATCH), label="writing photons")
    blocks = (bins.counts(stack.read(patterns[start : start + _BATCH])) for start in batches)
    with written_whole(detector_beside(path)) as partial:  # no detector without photons, nor the reverse
        write_detector(partial, mask=bins.bad, good_share=bins.good_share, **_of_bins(known, bins))
        emc.write_emc(path, blocks, pixels=bins.bad.size)


def _of_bins(known: dict, bins: Binning) -> dict:
    """What `_detector_of` knows, with a bin in place of a pixel."""
    changed = {"centre": bins.centre(known["centre"]), "distance": known["distance"] / bins.side}
    if "experiment" in known:
        changed["experiment"] = known["experiment"] | {"pixel_m": known["experiment"]["pixel_m"] * bins.side}
    return known | changed


def _detector_of(stack: PatternStack) -> dict:
    """Centre and distance [pixels] of the stack's detector, and what is known of the experiment."""
    experiment = stack.experiment
    if experiment is not None:
        known = {name: value for name, value in asdict(experiment).items() if name not in _OF_THE_CROP}
        distance = experiment.distance_m / experiment.pixel_m
        return {"centre": experiment.centre, "distance": distance, "experiment": known}
    geometry = stack.geometry
    if geometry is not None and geometry.distance is not None and geometry.centre is not None:
        return {"centre": geometry.centre, "distance": geometry.distance}
    raise PatternFileError(
        f"{stack.path}: does not tell {', '.join(stack.missing)}, so there is no detector for Dragonfly; write the "
        "selection as .csv or .cxi, or add what is missing to the file"
    )
