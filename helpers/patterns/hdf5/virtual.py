"""Sources of virtual data sets: where one is missing, HDF5 reads made-up values without a word."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.file import dataset, find_beside, open_hdf5
from helpers.system import in_short

_DEEPEST = 8
"""Virtual data sets of virtual data sets; HDF5 follows a circle until it dies of it."""


def check_sources(data: h5py.Dataset, name: str, *, holes_allowed: bool, depth: int = 0) -> None:
    """Refuse a virtual data set of which HDF5 would make up a part; `name` is that in the file that the user named.

    Refused if a source is missing, smaller than what is taken of it or of another kind, if sources lead in a circle
    (`depth` counts those that led here), or if a part has no source and would be read as a number (unless
    `holes_allowed`).
    """
    if depth >= _DEEPEST:
        raise PatternFileError(
            f"the sources of {name} are virtual data sets that lead to each other; write the data set anew"
        )
    sources = data.virtual_sources()
    by_source: dict[tuple[str, str], list[Any]] = {}
    for source in sources:
        by_source.setdefault((source.file_name, source.dset_name), []).append(source)
    for _, maps in sorted(by_source.items()):
        _check_source(data, name, maps, holes_allowed=holes_allowed, depth=depth)
    mapped = sum(source.vspace.get_select_npoints() for source in sources)
    reads_as_nan = data.dtype.kind == "f" and np.isnan(data.fillvalue)  # which `PatternStack.read` refuses
    if mapped < data.size and not reads_as_nan and not holes_allowed:
        raise PatternFileError(
            f"{name} is virtual and {1 - mapped / data.size:.1%} of it has no source (HDF5 would read "
            f"{data.fillvalue}); leave those shots out, or read it as no photons with nan_as_zero=True (--nan-as-zero)"
        )


def value_files(data: h5py.Dataset) -> set[Path]:
    """Files with the values of a checked data set: its own, and a virtual one's sources."""
    here = Path(data.file.filename)
    found = {here}
    sources = data.virtual_sources() if data.is_virtual else ()
    for file_name, name in {(one.file_name, one.dset_name) for one in sources}:
        place = here if file_name == "." else find_beside(here, file_name)
        if place is not None and place.is_file():
            with h5py.File(place, "r") as file:
                found |= value_files(file[name])
    return found


def _check_source(data: h5py.Dataset, name: str, maps: list[Any], *, holes_allowed: bool, depth: int) -> None:
    """Refuse a source that is not there, that lacks a source itself, or that is not what is taken of it."""
    here = Path(data.file.filename)
    file_name, source_name = maps[0].file_name, maps[0].dset_name
    place = here if file_name == "." else find_beside(here, file_name)
    if place is None or not place.is_file():
        raise PatternFileError(
            f"{name} is virtual and its source {in_short(file_name)} is missing (HDF5 would read fill values); put the "
            "source beside the file"
        )
    try:
        file = open_hdf5(place)
    except PatternFileError as error:
        raise PatternFileError(f"the source {in_short(file_name)} of {name} {error}") from error
    with file:
        source = dataset(file, source_name)
        if source is None:
            raise PatternFileError(
                f"{name} is virtual and its source {in_short(file_name)} has no data set {in_short(source_name)} (HDF5 "
                "would read fill values); put the right file in its place"
            )
        _refuse_misfit(data, source, name, maps)
        if source.is_virtual:
            check_sources(source, name, holes_allowed=holes_allowed, depth=depth + 1)


def _refuse_misfit(data: h5py.Dataset, source: h5py.Dataset, name: str, maps: list[Any]) -> None:
    """Raise if more is taken of a source than it holds, or something else than numbers."""
    where = f"{in_short(maps[0].dset_name)} in {in_short(maps[0].file_name)}"
    if source.dtype.kind not in "iufb" and source.dtype.kind != data.dtype.kind:
        raise PatternFileError(
            f"{name} is virtual and its source {where} holds {in_short(str(source.dtype))} instead of {data.dtype}; "
            "put the right file in its place"
        )
    if not all(_holds(source, one) for one in maps):
        raise PatternFileError(
            f"{name} is virtual and takes more of {where} than the {source.shape} values that are there (HDF5 would "
            "read fill values); put the whole source in its place, or write the data set anew"
        )


def _holds(source: h5py.Dataset, mapping: Any) -> bool:
    """Whether a source has all that a mapping takes of it."""
    taken = mapping.src_space
    if source.shape is None or taken.get_select_type() == h5py.h5s.SEL_NONE:
        return False
    if taken.get_select_type() == h5py.h5s.SEL_ALL:
        return source.size == mapping.vspace.get_select_npoints()
    try:
        end = taken.get_select_bounds()[1]
    except (ValueError, RuntimeError):  # without end: HDF5 takes what there is
        return True
    return len(end) == len(source.shape) and all(last < length for last, length in zip(end, source.shape, strict=True))
