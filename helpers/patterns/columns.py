"""What an HDF5 file holds for each of its patterns: columns of one value a pattern, and event ids among them."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.file import member
from helpers.patterns.hdf5.values import values_of
from helpers.patterns.layouts import Found, names_in

_DEEPEST = 6
"""Groups in groups that are searched for columns."""


@dataclass(frozen=True)
class Column:
    """One value a pattern: the rows of a data set that belong to the patterns of one stack."""

    data: h5py.Dataset
    rows: slice
    path: Path

    def read(self) -> np.ndarray:
        """The values (patterns,), text decoded."""
        return decoded(values_of(self.data, self.path, self.data.name)[self.rows])


def columns_of(file: h5py.File, path: Path, stacks: list[Found], number: int) -> dict[str, Column]:
    """Data sets with one value for each pattern of `stacks[number]`, and what they are called.

    Those in the group of the patterns, in its `batch_K_*`, or beside the batches; then those of the entry and of
    psocake's `result_*` and `LCLS`, if they have as many values as the stacks that share them have patterns.
    """
    found = stacks[number]
    patterns = file[found.name].shape[0]
    whole = slice(0, patterns)
    if found.layout == "batches":
        prefix = found.name.removesuffix("pattern")
        names = [name for name in names_in(file) if name.startswith(prefix)]
        nodes = {name.removeprefix(prefix): member(file, path, name) for name in names}
        return {name: Column(node, whole, path) for name, node in nodes.items() if _fits(node, patterns)}
    columns: dict[str, Column] = {}
    collect = _Collection(path, patterns, whole, columns)
    collect.add(file[found.name].parent if "/" in found.name else file, "")
    for shared in ([found.entry] if found.entry else []) + ["LCLS"]:
        having = [stack for stack in stacks if stack.entry == found.entry or shared == "LCLS"]
        lengths = [file[stack.name].shape[0] for stack in having]
        start = sum(lengths[: having.index(found)])
        rows = slice(start, start + patterns)
        _collect_shared(file, shared, _Collection(path, sum(lengths), rows, columns))
    return columns


@dataclass(frozen=True)
class _Collection:
    """Gathers the data sets that hold one value for each of `length` patterns."""

    path: Path
    length: int
    rows: slice
    columns: dict[str, Column]

    def offer(self, name: str, node: object) -> None:
        """Take a data set that fits, unless the name is known."""
        if _fits(node, self.length) and name != "image_center":
            self.columns.setdefault(name, Column(node, self.rows, self.path))

    def add(self, group: h5py.Group, prefix: str, *, depth: int = 1) -> None:
        """Take every fitting data set that lies below a group, not what is only linked there."""
        for name in names_in(group):
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            node = member(group, self.path, name)
            if isinstance(node, h5py.Group) and depth < _DEEPEST:
                self.add(node, f"{prefix}{name}/", depth=depth + 1)
            else:
                self.offer(prefix + name, node)


def _collect_shared(file: h5py.File, place: str, collection: _Collection) -> None:
    """Add what an entry, or `LCLS`, holds for all its patterns."""
    group = existing(file, place, collection.path)
    if not isinstance(group, h5py.Group):
        return
    if place == "LCLS":
        return collection.add(group, "LCLS/")
    for name in names_in(group):
        node = existing(group, name, collection.path)
        if name.startswith("result_") and isinstance(node, h5py.Group):
            collection.add(node, f"{name}/")
        else:
            collection.offer(name, node)
    return None


def existing(group: h5py.Group, name: str, path: Path) -> h5py.Group | h5py.Dataset | None:
    """What is there, or None if it leads nowhere."""
    try:
        return member(group, path, name)
    except PatternFileError:
        return None


def _fits(node: object, length: int) -> bool:
    """Whether a node is a data set of numbers or text with that many values."""
    return isinstance(node, h5py.Dataset) and node.shape == (length,) and is_plain(node.dtype) and not node.external


EVENT_IDS = ("event_id", "experiment_identifier", "experimental_identifier", "LCLS/eventNumber")
"""Columns that name a shot: ours, CXI's (train and pulse at the European XFEL), psocake's."""


def read_event_ids(columns: dict[str, Column], layout: str) -> np.ndarray | None:
    """One id a pattern, from the first column that holds any, or from the index of a batch."""
    names = ("index",) if layout == "batches" else EVENT_IDS
    name = next((name for name in names if name in columns), None)
    return None if name is None else columns[name].read()


def decoded(values: np.ndarray) -> np.ndarray:
    """Byte strings as text; anything else unchanged."""
    if values.dtype.kind not in "SO":
        return values
    texts = (text.decode(errors="replace") if isinstance(text, bytes) else text for text in np.ravel(values).tolist())
    return np.array([*texts], dtype=object).reshape(values.shape)


def is_plain(dtype: np.dtype) -> bool:
    """Whether values are numbers, booleans or strings."""
    return dtype.kind in "iufbS" or h5py.check_string_dtype(dtype) is not None
