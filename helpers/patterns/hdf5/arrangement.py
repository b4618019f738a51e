"""What a data set tells of its axes: which are patterns, panels, rows and columns, and how many rows are patterns.

CXI and Cheetah store an attribute `axes` ("experiment_identifier:y:x") and `numEvents`; NeXus has `axes` as a list, at
the group, too; HDF5 itself has labels of dimensions.
"""

import re
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.system import in_short

_EVENT, _PANEL, _ROW, _COLUMN = range(4)
_UNKNOWN = None
_WORDS = {
    _EVENT: "experiment identifier event events frame frames shot shots train pulse pattern patterns time image images",
    _PANEL: "module modules panel panels asic asics",
    _ROW: "y ss slow row rows",
    _COLUMN: "x fs fast column columns col cols",
}
_ROLES = {word: role for role, words in _WORDS.items() for word in words.split()}
_FEWEST_AXES = 3


@dataclass(frozen=True)
class Arrangement:
    """How stored values become (patterns, rows, columns) or (patterns, panels, rows, columns).

    `stored` is the shape in the file and `shape` the result's; `order` names the stored axis of each of its axes, and
    `dropped` the stored axes that it leaves out, which are 1 long.
    """

    stored: tuple[int, ...]
    shape: tuple[int, ...]
    order: tuple[int, ...]
    dropped: tuple[int, ...] = ()

    @property
    def patterns_first(self) -> bool:
        """Whether the patterns are the first axis in the file."""
        return self.order[0] == 0

    def selected(self, start: int, stop: int) -> tuple[slice, ...]:
        """The index of patterns `start` to `stop` in the stored values."""
        index = [slice(None)] * len(self.stored)
        index[self.order[0]] = slice(start, stop)
        return tuple(index)

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """Stored values of some patterns, with the axes as they shall be."""
        moved = values.transpose(*self.order, *self.dropped)
        return moved.reshape(moved.shape[: len(self.order)])

    def of_each(self, shape: tuple[int, ...]) -> "Arrangement | None":
        """The arrangement of other values of that shape for each pixel of each pattern; None if they are no such."""
        if shape == self.stored:
            return self
        rows = self.stored[self.order[0]]
        return as_stored(shape, self.shape[0]) if shape in (self.shape, (rows, *self.shape[1:])) else None

    def fits_one(self, shape: tuple[int, ...]) -> bool:
        """Whether other values of that shape are one for each pixel of a pattern."""
        return shape == self._one_as_stored or shape == (1,) * (len(shape) - len(self.shape) + 1) + self.shape[1:]

    def of_one(self, values: np.ndarray) -> np.ndarray:
        """Such values with the axes of a pattern."""
        if values.shape == self._one_as_stored:
            return self.arranged(np.expand_dims(values, self.order[0]))[0]
        return values.reshape(self.shape[1:])

    @property
    def _one_as_stored(self) -> tuple[int, ...]:
        """The shape of a pattern in the file."""
        return self.stored[: self.order[0]] + self.stored[self.order[0] + 1 :]


def as_stored(shape: tuple[int, ...], patterns: int | None = None) -> Arrangement:
    """The arrangement of values that are stored with patterns first, of which the first so many count."""
    counted = shape if patterns is None else (patterns, *shape[1:])
    return Arrangement(shape, counted, tuple(range(len(shape))))


def arrangement_of(data: h5py.Dataset) -> Arrangement:
    """The arrangement of a data set as its attributes tell, else as it is stored: patterns first.

    Refused if the attributes contradict the data set.
    """
    stored = data.shape or ()
    if len(stored) < _FEWEST_AXES:
        return as_stored(stored)
    names = _axis_names(data)
    order, dropped = _named_order(data, names) if names else list(range(data.ndim)), []
    while len(order) > _FEWEST_AXES:  # an axis 1 long is that of one panel, or of one channel at the end
        single = next((place for place in (1, len(order) - 1) if stored[order[place]] == 1), None)
        if single is None:
            break
        dropped.append(order.pop(single))
    shape = [stored[axis] for axis in order]
    shape[0] = _number_of_events(data, shape[0])
    return Arrangement(stored, tuple(shape), tuple(order), tuple(dropped))


def _axis_names(data: h5py.Dataset) -> list[str]:
    """Names of the axes in the order of storage; none if the file tells none."""
    if "axes" in data.attrs:
        return _listed_names(data.attrs["axes"])
    group = data.parent.attrs
    if "axes" in group and "signal" in group and _listed_names(group["signal"]) == [(data.name or "").split("/")[-1]]:
        return _listed_names(group["axes"])
    return _listed_names(data.attrs["DIMENSION_LABELS"]) if "DIMENSION_LABELS" in data.attrs else []


def _listed_names(value: Any) -> list[str]:
    """Names in an attribute: a list of texts, or a text with signs between them."""
    texts = [] if isinstance(value, h5py.Empty) else np.ravel(value).tolist()
    texts = [text.decode(errors="replace") if isinstance(text, bytes) else text for text in texts]
    if not all(isinstance(text, str) for text in texts):
        return []
    parts = re.split(r"[:,;]", texts[0]) if len(texts) == 1 else texts
    return [part.strip(" []()'\"\0").lower() for part in parts]


def _role(name: str) -> int | None:
    """What an axis of that name is."""
    found = {_ROLES[word] for word in re.split(r"[^a-z]+", name) if word in _ROLES}
    axes_of_a_pattern = found - {_EVENT}
    return min(axes_of_a_pattern or found) if len(axes_of_a_pattern or found) == 1 else _UNKNOWN


def _named_order(data: h5py.Dataset, names: list[str]) -> list[int]:
    """Stored axes in the order patterns, panels, rows, columns; as they are stored where the names do not tell.

    The axis of the patterns is the one that is called so, else the only one of an unknown name.
    """
    roles = [_role(name) for name in names]
    known = [role for role in roles if role is not None]
    axes = list(range(data.ndim))
    if len(names) == data.ndim:
        called = [axis for axis in axes if roles[axis] == (_EVENT if _EVENT in known else None)]
        events = [axis for axis in called if data.shape[axis] != 1] or called[:1]
        if len(events) == 1:
            axes.remove(events[0])
            if roles.count(_ROW) == roles.count(_COLUMN) == 1:  # what has no known name is no row and no column
                axes.sort(key=lambda axis: roles[axis] or _EVENT)
            return events + axes
        if _EVENT in known or not events:
            raise _contradiction(data, names)
    if known != sorted(set(known)):
        raise _contradiction(data, names)
    return axes


def _contradiction(data: h5py.Dataset, names: list[str]) -> PatternFileError:
    return PatternFileError(
        f"{in_short((data.name or '').lstrip('/'))} of shape {data.shape} says that its axes are "
        f"{in_short(':'.join(names))}, which do not tell its patterns, rows and columns; correct the attribute "
        "axes, for instance to experiment_identifier:y:x, or remove it"
    )


def _number_of_events(data: h5py.Dataset, rows: int) -> int:
    """Number of patterns in `rows`: as `numEvents` says, if it is there; else all.

    While a file grows with SWMR its attributes stay as they were, so they do not count.
    """
    if "numEvents" not in data.attrs or data.file.swmr_mode:
        return rows
    value = np.ravel(data.attrs["numEvents"])
    fits = value.size == 1 and value.dtype.kind in "iuf" and 0 <= value[0] <= rows and value[0] == int(value[0])
    if not fits:
        raise PatternFileError(
            f"{in_short((data.name or '').lstrip('/'))} has {rows} rows, and its attribute numEvents is "
            f"{in_short(data.attrs['numEvents'])}; copy the file again if it was cut short, or correct the attribute"
        )
    return int(value[0])
