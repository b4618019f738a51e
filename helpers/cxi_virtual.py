"""Virtual data sets: HDF5 makes up what has no source, and we do not let it."""

from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError


def check_sources(data: h5py.Dataset, path: Path, name: str, *, holes_allowed: bool) -> None:
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

    Raises
    ------
    PatternFileError
        If a source file or data set is missing, or a part has no source and would be read as a number.
    """
    if not data.is_virtual:
        return
    here = Path(data.file.filename)
    sources = data.virtual_sources()
    for file_name, dataset in sorted({(source.file_name, source.dset_name) for source in sources}):
        _check_source(here, path, name, file_name, dataset, holes_allowed)
    mapped = sum(source.vspace.get_select_npoints() for source in sources)
    told = data.dtype.kind == "f" and np.isnan(data.fillvalue)  # what is missing reads as NaN, which `read` refuses
    if mapped < data.size and not told and not holes_allowed:
        raise PatternFileError(
            f"{path}: {name} is virtual and {1 - mapped / data.size:.1%} of it has no source (HDF5 would read "
            f"{data.fillvalue}); leave those shots out, or read it as no photons with nan_as_zero=True (--nan-as-zero)"
        )


def _check_source(here: Path, path: Path, name: str, file_name: str, dataset: str, holes_allowed: bool) -> None:
    """Refuse a source that is not there, or that lacks a source itself."""
    place = _place(here, file_name)
    if place is None:
        raise PatternFileError(
            f"{path}: {name} is virtual and its source {file_name} is missing (HDF5 would read fill values); "
            f"put the source beside {path.name}"
        )
    try:
        with h5py.File(place, "r") as source:
            data = source.get(dataset)
            if isinstance(data, h5py.Dataset):
                return check_sources(data, path, name, holes_allowed=holes_allowed)
    except OSError as error:
        raise PatternFileError(
            f"{path}: the source {file_name} of {name} is damaged ({error}); copy it again"
        ) from error
    raise PatternFileError(
        f"{path}: {name} is virtual and its source {file_name} has no data set {dataset} (HDF5 would read fill "
        "values); put the right file in its place"
    )


def source_files(data: h5py.Dataset) -> set[Path]:
    """Files with the values of a data set that `check_sources` has passed: its own, and a virtual one's sources."""
    here = Path(data.file.filename)
    found = {here}
    sources = data.virtual_sources() if data.is_virtual else []
    for file_name, dataset in {(source.file_name, source.dset_name) for source in sources}:
        place = _place(here, file_name)
        if place is not None:
            with h5py.File(place, "r") as source:
                found |= source_files(source[dataset])
    return found


def _place(here: Path, file_name: str) -> Path | None:
    """Where HDF5 finds a source of a virtual data set in the file `here`."""
    if file_name == ".":
        return here
    places = (here.parent / file_name, here.resolve().parent / file_name)
    return next((found for found in places if found.is_file()), None)
