"""A stack of patterns in a file that may still be written.

A file whose writer uses SWMR (single writer, multiple readers) says so in its superblock; it is read while it grows.
Any other file is read when it is whole. No lock is kept on a file: HDF5 would refuse it to a writer that comes back.
"""

import fcntl
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.file import dataset, errors_name
from helpers.patterns.layouts.base import Layout
from helpers.patterns.layouts.columns import decoded
from helpers.patterns.opening import stack_in
from helpers.patterns.options import ReadOptions
from helpers.patterns.stack import Origin, PatternStack
from helpers.patterns.storage import AssembledStorage, DatasetStorage

IDS_LATE_S = 1.0
"""Event ids that have not grown for so long are not waited for [s]."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_VERSION, _SUPERBLOCK_FLAGS = 8, 11
_SWMR_FLAG = 0x04
_ATTEMPTS = 3
_BETWEEN_ATTEMPTS_S = 0.05


class GrowingStack:
    """Patterns of a file that is whole, or of one that grows.

    Parameters
    ----------
    path
        The file.
    options
        How it is read.
    live
        Whether it is written with SWMR now; then it must hold one data set, with one mask for all patterns.

    Raises
    ------
    PatternFileError
        As `open_stack`; or if a writer without SWMR has the file open; or if a growing file is more than one data
        set.
    OSError, RuntimeError, KeyError
        If HDF5 finds the file half written.
    """

    def __init__(self, path: Path, options: ReadOptions, *, live: bool) -> None:
        if not live and is_locked(path):
            raise PatternFileError(f"{path}: a writer has it open")
        self.live = live
        self._path = path
        self._options = options
        self._ids: h5py.Dataset | None = None
        self._ids_moved = -np.inf
        self._file = h5py.File(path, "r", swmr=live, locking=False)
        try:
            with errors_name(path):
                self.stack = stack_in(self._file, path, options)
                if live:
                    self._make_ready_to_grow()
        except BaseException:
            self._file.close()
            raise

    def _make_ready_to_grow(self) -> None:
        """Take one handle of the data, which can be refreshed, and one of the event ids."""
        if len(self.stack.parts) > 1 or self.stack.parts[0].masks is not None:
            raise PatternFileError(
                f"{self.stack.dataset}: a file that is still written is read from one data set, "
                "with one mask for all patterns; name one with --dataset, or follow a folder of whole files"
            )
        stack, experiment = self.stack, (self.stack.experiment, self.stack.missing)
        # read now: while another handle of the data is open, one that is refreshed loses its chunks (HDF5 2.0)
        layout, title = stack.layout, stack.title
        self._origin = Origin(lambda: layout, lambda: title, stack.geometry, lambda: experiment, self._file)
        self._data = self._file[stack.dataset]
        self._ids = growing_ids(self._file, self.stack.dataset)
        self._grow()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def patterns(self, now: float, done: int) -> int:
        """How many patterns are whole: written, and with their event ids if these keep up.

        Parameters
        ----------
        now
            Time [s].
        done
            So many are known to be.
        """
        if not self.live:
            return len(self.stack)
        self._data.refresh()
        if self._data.shape[0] != len(self.stack):
            self._grow()
        patterns = written_patterns(self._data, done)
        if self._ids is None:
            return patterns
        before = self._ids.shape[0]
        self._ids.refresh()
        named = self._ids.shape[0]
        if named != before or self._ids_moved == -np.inf:
            self._ids_moved = now
        return patterns if now - self._ids_moved >= IDS_LATE_S else min(patterns, named)

    def _grow(self) -> None:
        """Make the stack anew with the present length."""
        stack, part = self.stack, self.stack.parts[0]
        storage = DatasetStorage(self._data)
        if stack.geometry is not None:
            storage = AssembledStorage(storage, stack.geometry)
        grown = replace(part, storage=storage, event_ids=lambda: None, columns=dict)
        self.stack = PatternStack(stack.path, [grown], self._origin, nan_as_zero=self._options.nan_as_zero)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """Counts of the patterns that can be read, and why the others cannot.

        Parameters
        ----------
        indices
            (n,) neighbours, ascending.

        Returns
        -------
        counts : ndarray (readable, rows, columns)
            As `PatternStack.read`.
        refused : dict
            Pattern number → what is wrong with it.
        """
        try:
            return self.stack.read(indices), {}
        except PatternFileError:  # one pattern at a time, so that the others are not lost with it
            counts, refused = [], {}
            for index in indices:
                try:
                    counts.append(self._read_one(index))
                except PatternFileError as error:
                    refused[int(index)] = one_line(error, self._path)
            return np.concatenate(counts) if counts else np.empty((0, *self.stack.shape[1:]), np.float32), refused

    def _read_one(self, index: int) -> np.ndarray:
        """Counts of one pattern (1, rows, columns); what cannot be decoded while the file grows is tried again."""
        attempts = _ATTEMPTS if self.live else 1
        for attempt in range(1, attempts + 1):
            try:
                return self.stack.read(np.array([index]))
            except PatternFileError as error:
                if attempt == attempts or not isinstance(error.__cause__, OSError):
                    raise
                time.sleep(_BETWEEN_ATTEMPTS_S)
        raise AssertionError

    def event_ids(self, indices: np.ndarray) -> list[str]:
        """Event ids of neighbours as text; "" where there is none."""
        if self._ids is not None:
            ids = decoded(np.asarray(self._ids[indices[0] : indices[-1] + 1]))
            return [str(one) for one in ids] + [""] * (len(indices) - len(ids))
        ids = self.stack.event_ids
        return [""] * len(indices) if ids is None else [str(ids[index]) for index in indices]


def is_written_with_swmr(path: Path) -> bool:
    """Whether the superblock says that a writer has the file open with SWMR, or was killed so.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with open(path, "rb") as stream:
        start = stream.read(_SUPERBLOCK_FLAGS + 1)
    is_new = start.startswith(_HDF5) and len(start) > _SUPERBLOCK_FLAGS and start[_SUPERBLOCK_VERSION] >= 3
    return is_new and bool(start[_SUPERBLOCK_FLAGS] & _SWMR_FLAG)


def is_locked(path: Path) -> bool:
    """Whether a writer holds HDF5's lock; ours is let go at once."""
    with open(path, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False


def written_patterns(data: h5py.Dataset, start: int) -> int:
    """Number of patterns, without those at the end whose chunks are not there yet."""
    patterns = data.shape[0]

    def is_there(pattern: int) -> bool:
        return data.id.get_chunk_info_by_coord((pattern, *[0] * (data.ndim - 1))).byte_offset is not None

    if data.chunks is None or patterns <= start or is_there(patterns - 1):
        return patterns
    while start < patterns:
        middle = (start + patterns) // 2
        start, patterns = (middle + 1, patterns) if is_there(middle) else (start, middle)
    return start


def growing_ids(file: h5py.File, data: str) -> h5py.Dataset | None:
    """The event ids of a growing data set, beside it or in its entry, or None."""
    for name in Layout.event_id_names:
        for group in (data.rpartition("/")[0], data.partition("/")[0], ""):
            ids = dataset(file, f"{group}/{name}")
            if ids is not None and ids.ndim == 1:
                return ids
    return None


def one_line(error: Exception, path: Path) -> str:
    """What an error says, on one line and without the path."""
    return " ".join(str(error).removeprefix(f"{path}: ").split()) or type(error).__name__
