"""Virtual data sets: HDF5 makes up what has no source, and we do not let it."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.file import member, place_of
from helpers.system import in_short

_DEEPEST = 8
"""Virtual data sets of virtual data sets; HDF5 follows a circle until it dies of it."""


def check_sources(data: h5py.Dataset, path: Path, name: str, *, holes_allowed: bool, depth: int = 0) -> None:
    """Refuse a virtual data set of which HDF5 would make up a part.

    Parameters
    ----------
    data
        The data set; one that is not virtual passes.
    path
        The file that the user named.
    name
        Of the data set there.
    holes_allowed
        Whether parts that nothing is mapped to may be read as no photons.
    depth
        How many virtual data sets have led here.

    Raises
    ------
    PatternFileError
        If a source file or data set is missing, smaller than what is taken of it or of another kind, if sources lead
        in a circle, or if a part has no source and would be read as a number.
    """
    if not data.is_virtual:
        return
    if depth >= _DEEPEST:
        raise PatternFileError(
            f"{path}: the sources of {name} are virtual data sets that lead to each other; write the data set anew"
        )
    here = Path(data.file.filename)
    sources = data.virtual_sources()
    taken: dict[tuple[str, str], list[Any]] = {}
    for source in sources:
        taken.setdefault((source.file_name, source.dset_name), []).append(source)
    for _, maps in sorted(taken.items()):
        _check_source(data, here, path, name, maps, holes_allowed, depth)
    mapped = sum(source.vspace.get_select_npoints() for source in sources)
    told = data.dtype.kind == "f" and np.isnan(data.fillvalue)  # what is missing reads as NaN, which `read` refuses
    if mapped < data.size and not told and not holes_allowed:
        raise PatternFileError(
            f"{path}: {name} is virtual and {1 - mapped / data.size:.1%} of it has no source (HDF5 would read "
            f"{data.fillvalue}); leave those shots out, or read it as no photons with nan_as_zero=True (--nan-as-zero)"
        )


def value_files(data: h5py.Dataset) -> set[Path]:
    """Files with the values of a data set that `check_sources` has passed: its own, and a virtual one's sources."""
    here = Path(data.file.filename)
    found = {here}
    sources = data.virtual_sources() if data.is_virtual else []
    for file_name, dataset in {(source.file_name, source.dset_name) for source in sources}:
        place = here if file_name == "." else place_of(here, file_name)
        if place is not None and place.is_file():
            with h5py.File(place, "r") as source:
                found |= value_files(source[dataset])
    return found


def _check_source(
    data: h5py.Dataset,
    here: Path,
    path: Path,
    name: str,
    maps: list[Any],
    holes_allowed: bool,
    depth: int,
) -> None:
    """Refuse a source that is not there, that lacks a source itself, or that is not what is taken of it."""
    file_name, dataset = maps[0].file_name, maps[0].dset_name
    place = here if file_name == "." else place_of(here, file_name)
    if place is None or not place.is_file():
        raise PatternFileError(
            f"{path}: {name} is virtual and its source {in_short(file_name)} is missing (HDF5 would read fill values); "
            f"put the source beside {path.name}"
        )
    try:
        with h5py.File(place, "r") as file:
            source = member(file, path, dataset)
            if isinstance(source, h5py.Dataset):
                _refuse_misfit(data, source, path, name, maps)
                return check_sources(source, path, name, holes_allowed=holes_allowed, depth=depth + 1)
    except (OSError, RuntimeError) as error:
        raise PatternFileError(
            f"{path}: the source {in_short(file_name)} of {name} is damaged ({in_short(error)}); copy it again"
        ) from error
    raise PatternFileError(
        f"{path}: {name} is virtual and its source {in_short(file_name)} has no data set {in_short(dataset)} (HDF5 "
        "would read fill values); put the right file in its place"
    )


def _refuse_misfit(data: h5py.Dataset, source: h5py.Dataset, path: Path, name: str, maps: list[Any]) -> None:
    """Raise if more is taken of a source than it holds, or something else than numbers."""
    file_name, dataset = in_short(maps[0].file_name), in_short(maps[0].dset_name)
    if source.dtype.kind not in "iufb" and source.dtype.kind != data.dtype.kind:
        raise PatternFileError(
            f"{path}: {name} is virtual and its source {dataset} in {file_name} holds {in_short(str(source.dtype))} "
            f"instead of {data.dtype}; put the right file in its place"
        )
    if not all(_holds(source, one) for one in maps):
        raise PatternFileError(
            f"{path}: {name} is virtual and takes more of {dataset} in {file_name} than the {source.shape} values that "
            "are there (HDF5 would read fill values); put the whole source in its place, or write the data set anew"
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
