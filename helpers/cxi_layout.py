"""Where a CXI file keeps its patterns, mask, centre and event ids, and whether they fit together."""

import re
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Centre


def opened(path: Path) -> h5py.File:
    """The HDF5 file, for reading."""
    if not path.is_file():
        raise PatternFileError(f"{path}: there is no such file; check the path")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise PatternFileError(
            f"{path}: is not a whole HDF5 file ({error}); a CXI file is needed, copy it again if it was cut short"
        ) from error


def _numbered(group: h5py.Group, prefix: str) -> list[str]:
    """Names `prefix_N` in a group, by number."""
    found = [(int(match[1]), name) for name in group if (match := re.fullmatch(rf"{prefix}_(\d+)", name))]
    return [name for _, name in sorted(found)]


def stack_name(file: h5py.File, path: Path) -> str:
    """The one data set of patterns in the file."""
    for kind in ("image", "data"):
        names = [
            f"{entry}/{group}/data"
            for entry in _numbered(file, "entry")
            for group in _numbered(file[entry], kind)
            if isinstance(file.get(f"{entry}/{group}/data"), h5py.Dataset)
        ]
        if len(names) > 1:
            raise PatternFileError(
                f"{path}: several stacks of patterns ({', '.join(names)}); name one with dataset=..., or split the file"
            )
        if names:
            return names[0]
    raise PatternFileError(
        f"{path}: no patterns at entry_*/image_*/data or entry_*/data_*/data (its root holds "
        f"{', '.join(file) or 'nothing'}); write them in the CXI layout, for instance with helpers.cxi.write_stack"
    )


def check_stack(file: h5py.File, path: Path, name: str) -> None:
    """Refuse a data set that is not a whole stack of numbers."""
    data = file.get(name)
    if not isinstance(data, h5py.Dataset):
        raise PatternFileError(f"{path}: there is no data set {name}; name one that holds patterns")
    if data.ndim != 3:
        raise PatternFileError(
            f"{path}: {name} has shape {data.shape}; a stack is (patterns, rows, columns): reshape it"
        )
    if 0 in data.shape:
        raise PatternFileError(f"{path}: {name} is empty, its shape is {data.shape}; write at least one pattern")
    if data.dtype.kind not in "iuf":
        raise PatternFileError(f"{path}: {name} holds {data.dtype}; photon counts are integers or floats: convert it")
    if data.is_virtual:
        for source in data.virtual_sources():
            if not (source.file_name == "." or (path.parent / source.file_name).is_file()):
                raise PatternFileError(
                    f"{path}: {name} is virtual and its source {source.file_name} is missing (HDF5 would read zeros); "
                    f"put the source beside {path.name}"
                )


def read_mask(file: h5py.File, path: Path, name: str) -> np.ndarray:
    """Bad pixels (rows, columns) of the stack: beside the data, else in an image of the same entry, else none."""
    shape = file[name].shape[1:]
    entry = name.split("/")[0]
    images = _numbered(file[entry], "image") if isinstance(file[entry], h5py.Group) else []
    for place in (_beside(name, "mask"), *(f"{entry}/{image}/mask" for image in images)):
        if isinstance(file.get(place), h5py.Dataset):
            mask = file[place][()]
            if mask.shape != shape:
                raise PatternFileError(
                    f"{path}: mask {place} has shape {mask.shape}, the patterns have {shape}; "
                    f"store one mask with the rows and columns of a pattern"
                )
            return mask != 0
    return np.zeros(shape, dtype=bool)


def read_centre(file: h5py.File, path: Path, name: str) -> Centre | None:
    """Beam centre (row, column) [pixels] from `image_center` (x, y, z) beside the data; None if there is none."""
    place = _beside(name, "image_center")
    if not isinstance(file.get(place), h5py.Dataset):
        return None
    centre = file[place][()]
    if centre.shape not in ((2,), (3,)) or not np.isfinite(centre[:2]).all():
        raise PatternFileError(f"{path}: {place} is {centre.tolist()}; write (x, y, z) in pixels, or remove it")
    return float(centre[1]), float(centre[0])


def read_event_ids(file: h5py.File, name: str) -> np.ndarray | None:
    """One id a pattern: `event_id` beside the data or in the entry, or psocake's `LCLS/eventNumber`; else None."""
    for place in (_beside(name, "event_id"), f"{name.split('/')[0]}/event_id", "LCLS/eventNumber"):
        ids = file.get(place)
        if isinstance(ids, h5py.Dataset) and ids.shape == file[name].shape[:1]:
            return decoded(ids[()])
    return None


def column_names(file: h5py.File, name: str) -> list[str]:
    """Paths, relative to the group of the stack `name`, of the data sets with one value a pattern."""
    group, patterns = file[name].parent, file[name].shape[0]
    names: list[str] = []

    def look_at(path: str, node: h5py.Dataset | h5py.Group) -> None:
        if isinstance(node, h5py.Dataset) and node.shape == (patterns,) and _is_plain(node.dtype):
            names.append(path)

    group.visititems(look_at)
    return [path for path in names if path != "image_center"]


def decoded(values: np.ndarray) -> np.ndarray:
    """Byte strings as text; anything else unchanged."""
    if values.dtype.kind not in "SO":
        return values
    return np.array([text.decode() if isinstance(text, bytes) else text for text in values.tolist()], dtype=object)


def _beside(name: str, other: str) -> str:
    """The path of `other` in the group of the data set `name`."""
    return f"{name.rpartition('/')[0]}/{other}".lstrip("/")


def _is_plain(dtype: np.dtype) -> bool:
    """Whether values are numbers, booleans or strings."""
    return dtype.kind in "iufbS" or h5py.check_string_dtype(dtype) is not None
