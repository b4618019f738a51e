"""A stack of patterns in a file that another program may still write.

A writer that uses SWMR (single writer, multiple readers) marks the superblock of its file; such a file is refreshed
while it grows. Any other file is read when it is finished. No lock is kept on a file: HDF5 would refuse it to a writer
that comes back.
"""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.arrangement import arrangement_of
from helpers.patterns.hdf5.file import dataset, errors_name, open_hdf5
from helpers.patterns.hdf5.unopened import is_locked, is_written_with_swmr
from helpers.patterns.layouts.base import Layout
from helpers.patterns.layouts.columns import decoded
from helpers.patterns.opening import stack_in
from helpers.patterns.options import ReadOptions
from helpers.patterns.stack import Origin, PatternStack
from helpers.patterns.storage import AssembledStorage, DatasetStorage
from helpers.system import in_short

IDS_LATE_S = 1.0
"""Event ids that have not grown for this long are no longer waited for [s]."""


class GrowingStack:
    """Patterns of a finished file, or of one data set that is being written with SWMR.

    Raises PatternFileError as `open_stack`, if a writer without SWMR has the file open, or if a growing file holds more
    than one data set of patterns or a mask for each; OSError, RuntimeError or KeyError if HDF5 finds it half written.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.is_live = is_written_with_swmr(path)
        if not self.is_live and is_locked(path):
            raise PatternFileError(f"{path}: a writer has it open, without SWMR; it is read when that has closed it")
        self._path, self._options = path, options
        self._data: h5py.Dataset | None = None
        self._ids: h5py.Dataset | None = None
        self._ids_grew = -np.inf
        self._written = 0
        with errors_name(path):
            self._file = open_hdf5(path, swmr=self.is_live, locking=False)
        try:
            with errors_name(path):
                self.stack = stack_in(self._file, path, options)
                if self.is_live:
                    self._take_handles()
        except BaseException:
            self._file.close()
            raise

    def _take_handles(self) -> None:
        """Keep the handles that are refreshed: of the patterns and of their event ids."""
        self._data = self._file[self.stack.dataset]
        if not arrangement_of(self._data).patterns_first:
            raise PatternFileError(
                f"{self.stack.dataset}: a file that is still written is read where its patterns are the first axis; "
                "follow a folder of finished files"
            )
        if len(self.stack.parts) > 1 or self.stack.parts[0].masks is not None:
            raise PatternFileError(
                f"{self.stack.dataset}: a file that is still written is read from one data set, with one "
                "mask for all patterns; name one with --dataset, or follow a folder of finished files"
            )
        self._ids = growing_ids(self._file, self.stack.dataset)
        self._grow()  # HDF5 refreshes a data set wrongly while the first stack holds other handles of it

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def refresh(self, now: float) -> int:
        """Number of patterns that can be read at the time `now` [s]: written, and with ids while these keep up."""
        if self._data is None:
            return len(self.stack)
        self.is_live = is_written_with_swmr(self._path)  # asked first: a writer that has ended has written everything
        self._data.refresh()
        if len(self._data) != len(self.stack):
            self._grow()
        self._written = written_patterns(self._data, self._written)
        if self._ids is None:
            return self._written
        before = len(self._ids)
        self._ids.refresh()
        if len(self._ids) > before or self._ids_grew == -np.inf:
            self._ids_grew = now
        ids_keep_up = self.is_live and now - self._ids_grew < IDS_LATE_S
        return min(self._written, len(self._ids)) if ids_keep_up else self._written

    def _grow(self) -> None:
        """Make the stack anew with the present length."""
        stack, part = self.stack, self.stack.parts[0]
        storage = DatasetStorage(self._data, arrangement_of(self._data))
        if stack.geometry is not None:
            storage = AssembledStorage(storage, stack.geometry)
        origin = Origin(str, str, stack.geometry, lambda: ({}, ()), self._file)  # only patterns are asked for
        markers, candidates = part.markers(), part.mask_candidates()  # what reads later would keep handles
        told = {"mask_bits": list, "mask_candidates": lambda: candidates, "markers": lambda: markers}
        grown = replace(part, storage=storage, event_ids=lambda: None, columns=dict, **told)
        self.stack = PatternStack(stack.path, [grown], origin, nan_as_zero=self._options.nan_as_zero)

    def read(self, patterns: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Counts (readable, rows, columns) [photons] of neighbouring patterns, and number → why of the refused ones."""
        try:
            return self.stack.read(patterns), {}
        except PatternFileError:  # one pattern at a time, so that the others are not lost with it
            counts, refused = [np.empty((0, *self.stack.shape[1:]), np.float32)], {}
            for pattern in patterns:
                try:
                    counts.append(self.stack.read(np.array([pattern])))
                except PatternFileError as error:
                    refused[int(pattern)] = reason_of(error, self._path)
            return np.concatenate(counts), refused

    def event_ids(self, patterns: np.ndarray) -> list[str]:
        """Event ids of neighbouring patterns as text; "" where there is none."""
        if self._ids is not None:
            ids = decoded(np.asarray(self._ids[patterns[0] : patterns[-1] + 1]))
        else:
            ids = () if self.stack.event_ids is None else self.stack.event_ids[patterns]
        return [*map(str, ids), *[""] * (len(patterns) - len(ids))]


def written_patterns(data: h5py.Dataset, known: int) -> int:
    """Number of patterns whose chunks are stored, from `known` on: a writer may make a data set longer first."""

    def is_stored(pattern: int) -> bool:
        return data.id.get_chunk_info_by_coord((pattern, *[0] * (data.ndim - 1))).byte_offset is not None

    patterns = len(data)
    if data.chunks is None or patterns <= known or is_stored(patterns - 1):
        return patterns
    while known < patterns and is_stored(known):
        known += 1
    return known


def growing_ids(file: h5py.File, data: str) -> h5py.Dataset | None:
    """The event ids of a growing data set, beside it or in its entry; None if there are none."""
    for name in Layout.event_id_names:
        for group in (data.rpartition("/")[0], data.partition("/")[0], ""):
            ids = dataset(file, f"{group}/{name}")
            if ids is not None and ids.ndim == 1:
                return ids
    return None


def reason_of(error: Exception, path: Path) -> str:
    """The message of an error in short, without the path."""
    return in_short(str(error).removeprefix(f"{path}: ") or type(error).__name__)
