"""Columns of a pattern file: data sets with one value for each pattern, event ids among them."""

from collections.abc import Iterator
from dataclasses import dataclass

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.entry import Entry
from helpers.patterns.hdf5.file import member, names_in
from helpers.patterns.hdf5.values import values_of

_DEEPEST = 6
"""Groups in groups that are searched for columns."""

_MOST_PARTS = 4
"""Parts of an event id, for instance run and index."""


@dataclass(frozen=True)
class Column:
    """One value a pattern: the rows of a data set, which several stacks may share, that belong to one of them."""

    data: h5py.Dataset
    rows: slice

    def read(self) -> np.ndarray:
        """The values (patterns,), or (patterns, numbers) of event ids in several parts; text decoded."""
        values = decoded(values_of(self.data)[self.rows])
        return values[:, 0] if values.shape[1:] == (1,) else values


@dataclass(frozen=True)
class ColumnGroup:
    """A group that may hold columns; `rows` has the lengths that they may have, and where the values of a stack are.

    Where `links` in the group count, only its groups `result_N` are searched, else all its groups are. The names of the
    columns begin with `prefix` in place of the `stem` of the stored names.
    """

    entry: Entry
    path: str
    prefix: str
    rows: dict[int, slice]
    links: bool
    stem: str = ""

    def columns(self) -> Iterator[tuple[str, Column]]:
        """All columns with their names."""
        for name in self.entry.names_at(self.path):
            if name.startswith(self.stem):
                yield from self._below(self.entry.file[self.path or "/"], name, self.prefix, depth=1)

    def _below(self, group: h5py.Group, name: str, prefix: str, *, depth: int) -> Iterator[tuple[str, Column]]:
        """A column, or those in a group."""
        node = self._node(group, name, follow=self.links and depth == 1)
        searched = depth < _DEEPEST and (not self.links or depth > 1 or name.startswith("result_"))
        if isinstance(node, h5py.Group) and searched:
            for inner in names_in(node):
                yield from self._below(node, inner, f"{prefix}{name}/", depth=depth + 1)
        elif self._fits(node) and prefix + name != "image_center":
            yield prefix + name.removeprefix(self.stem), Column(node, self.rows[len(node)])

    def find(self, name: str) -> Column | None:
        """The column of that name in the group itself, behind a link, too; a value may have up to four parts."""
        local = self.stem + name.removeprefix(self.prefix)
        if not name.startswith(self.prefix) or local not in self.entry.names_at(self.path):
            return None
        node = self._node(self.entry.file[self.path or "/"], local, follow=True)
        return Column(node, self.rows[len(node)]) if self._fits(node, _MOST_PARTS) else None

    def _node(self, group: h5py.Group, name: str, *, follow: bool) -> h5py.Group | h5py.Dataset | None:
        """The object that a name leads to, through links only if they are to `follow`; None if that is nowhere."""
        if not follow:
            return member(group, name) if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        try:
            return member(group, name)
        except PatternFileError:
            return None

    def _fits(self, node: h5py.Group | h5py.Dataset | None, parts: int = 1) -> bool:
        """Whether a node is a data set of numbers or text with one value for each pattern, of so many parts at most."""
        if not isinstance(node, h5py.Dataset) or not node.shape or node.shape[0] not in self.rows:
            return False
        is_column = node.ndim == 1 or (node.ndim == 2 and 1 <= node.shape[1] <= parts)
        return is_column and is_plain(node.dtype) and not node.external


def identifiers(values: np.ndarray) -> np.ndarray | None:
    """Event ids (patterns,) of a column: whole floats as integers, parts joined by a colon; None if all are empty."""
    if values.dtype.kind == "f" and np.isfinite(values).all() and (np.abs(values) < 2**53).all():
        whole = values.astype(np.int64)
        values = whole if (whole == values).all() else values
    if values.ndim > 1:
        values = np.array([":".join(map(str, parts)) for parts in values.tolist()], dtype=object)
    return None if values.dtype.kind == "O" and not any(values) else values


def decoded(values: np.ndarray) -> np.ndarray:
    """Byte strings as text; anything else unchanged."""
    if values.dtype.kind not in "SO":
        return values
    texts = [text.decode(errors="replace") if isinstance(text, bytes) else text for text in np.ravel(values).tolist()]
    return np.array([*texts], dtype=object).reshape(values.shape)


def is_plain(dtype: np.dtype) -> bool:
    """Whether values are numbers, booleans or strings."""
    return dtype.kind in "iufbS" or h5py.check_string_dtype(dtype) is not None
