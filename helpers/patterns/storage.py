"""Storage of patterns in a file: one interface for every kind, with `shape`, `dtype` and `read(patterns)`."""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import h5py
import numpy as np

from helpers.patterns.assembly import Assembly
from helpers.patterns.hdf5.arrangement import Arrangement, as_stored
from helpers.patterns.hdf5.values import Chunks


class Storage(Protocol):
    """Patterns that can be read by number."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, patterns: np.ndarray) -> np.ndarray:
        """Values (n, *shape[1:]) of some patterns (n,), in any order."""
        ...


class DatasetStorage:
    """A data set of HDF5; with `holes_allowed` a chunk never written is read as the fill value.

    The `arrangement` makes its axes (patterns, ...); None where they are stored so.
    """

    def __init__(
        self, dataset: h5py.Dataset, arrangement: Arrangement | None = None, *, holes_allowed: bool = False
    ) -> None:
        self._dataset = dataset
        self._arrangement = arrangement or as_stored(dataset.shape)
        self._holes_allowed = holes_allowed
        self.shape: tuple[int, ...] = self._arrangement.shape
        self.dtype: np.dtype = dataset.dtype

    @cached_property
    def _chunks(self) -> Chunks | None:
        """The chunks, or None where the values lie in one piece."""
        return None if self._dataset.chunks is None else Chunks(self._dataset, holes_allowed=self._holes_allowed)

    def read(self, patterns: np.ndarray) -> np.ndarray:
        """Values of some patterns; neighbours in one go, others one by one (h5py is slow with lists)."""
        unpacked_here = self._chunks is not None and self._chunks.unpacked_here
        if patterns.size and (np.diff(patterns) == 1).all() and not unpacked_here:
            return self._between(int(patterns[0]), int(patterns[-1]) + 1)
        values = np.empty((patterns.size, *self.shape[1:]), self.dtype)
        for row, pattern in zip(values, patterns.tolist(), strict=True):
            row[...] = self._unpacked(pattern) if unpacked_here else self._between(pattern, pattern + 1)[0]
        return values

    def _unpacked(self, pattern: int) -> np.ndarray:
        """A pattern that is a chunk of its own, in gzip."""
        return self._arrangement.arranged(self._chunks.pattern(pattern)[None])[0]

    def _between(self, start: int, stop: int) -> np.ndarray:
        """Patterns `start` to `stop` as HDF5 reads them."""
        wanted = self._arrangement.selected(start, stop)
        if self._chunks is not None:
            self._chunks.check(wanted)
        return self._arrangement.arranged(self._dataset[wanted])


class AssembledStorage:
    """Another storage, put together by a geometry."""

    def __init__(self, inner: Storage, assembly: Assembly) -> None:
        self._inner = inner
        self._assembly = assembly
        self.shape = (inner.shape[0], *assembly.shape)
        self.dtype = inner.dtype

    def read(self, patterns: np.ndarray) -> np.ndarray:
        """Pictures (n, rows, columns), float32."""
        return self._assembly.images(self._inner.read(patterns))


class JoinedStorage:
    """Several storages with patterns of one shape, one after the other."""

    def __init__(self, parts: Sequence[Storage]) -> None:
        self._parts = parts
        self.starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.shape = (int(self.starts[-1]), *parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def locate(self, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Part of each pattern (n,), and its number there (n,)."""
        part = np.searchsorted(self.starts, patterns, side="right") - 1
        return part, patterns - self.starts[part]

    def read(self, patterns: np.ndarray) -> np.ndarray:
        """Values as float32, each from its part."""
        part, inside = self.locate(patterns)
        if part.size and (part == part[0]).all():
            return np.asarray(self._parts[part[0]].read(inside), dtype=np.float32)
        values = np.empty((patterns.size, *self.shape[1:]), np.float32)
        for number in np.unique(part):
            here = part == number
            values[here] = self._parts[number].read(inside[here])
        return values


def spread(length: int, most: int) -> np.ndarray:
    """At most so many numbers below a length, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(np.intp))
