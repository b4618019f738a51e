"""The new patterns of a file that is still written with SWMR, or of finished files that appear one by one.

A file is finished when it has not changed for a while and no writer holds a lock on it. Finished files are read one
after the other, in the order in which they were last changed; those of one time in the order of their names. A file
that cannot be read is opened again later, and one that grows or is replaced is read on from where it ended.
"""

import glob
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.growing.growing_stack import GrowingStack, is_written_with_swmr, reason_of
from helpers.patterns.options import DEFAULTS, ReadOptions

SUFFIXES = (".cxi", ".h5", ".hdf5")
"""Suffixes of the pattern files of a folder."""

SETTLED_S = 1.0
"""A file that is not written with SWMR is finished when it has not changed for this long [s]."""

RETRY_S = 5.0
"""A file that could not be read is opened again after this time, or `SETTLED_S` after it failed if it changes [s]."""

LIVE_PAUSE_S = 0.01
"""Between looks at a file that grows [s]."""

FOLDER_PAUSE_S = 0.1
"""Between looks for files [s]."""

_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError)
"""What HDF5 and our own checks raise while a file is half written or has just been replaced."""

_State = tuple[int, int, int]


@dataclass(frozen=True)
class Known:
    """The patterns of a file that were read before.

    Parameters
    ----------
    patterns
        How many.
    last_event_id
        Event id of the last one as text; "" if it had none.
    """

    patterns: int = 0
    last_event_id: str = ""


@dataclass(frozen=True, eq=False)
class NewPatterns:
    """Patterns that are read for the first time.

    Parameters
    ----------
    path
        Their file.
    patterns
        Pattern numbers in the file (n,).
    event_ids
        Event ids as text (n,); "" where there is none.
    seen
        When each pattern was not there yet (n,) [s]: the last look at a file that grows, the last change of another.
    counts
        Counts (readable, rows, columns) [photons], without the refused patterns.
    refused
        Pattern number → why it cannot be scored.
    mask
        Bad pixels (rows, columns), True = bad.
    """

    path: Path
    patterns: np.ndarray
    event_ids: list[str]
    seen: np.ndarray
    counts: np.ndarray
    refused: dict[int, str]
    mask: np.ndarray


class Following:
    """New patterns of a file, of the pattern files of a folder, or of the files that a name with * or ? fits.

    Parameters
    ----------
    where
        FILE, FOLDER, or for instance "run_17/*.cxi"; only FILE may be one that grows.
    shape
        Rows and columns that the patterns must have.
    most
        Patterns that are read at once, at most.
    known
        Absolute path of a file → the patterns that an earlier run has read.
    clock
        Seconds that do not go back.
    options
        How the files are read.
    """

    def __init__(
        self,
        where: str | os.PathLike,
        *,
        shape: tuple[int, int],
        most: int,
        known: Mapping[str, Known] | None = None,
        clock: Callable[[], float] = time.monotonic,
        options: ReadOptions = DEFAULTS,
    ) -> None:
        self.where = Path(where)
        self.most = most
        self.is_live = False
        """True while a file is read as it grows."""
        self.waiting = 0
        """Patterns of the open file that can be read now."""
        self.files_waiting = 0
        """Finished files that come after the open one."""
        self.problems: dict[str, str] = {}
        """Path → why a file cannot be read now."""
        self._shape = shape
        self._known = dict(known or {})
        self._clock = clock
        self._options = options
        self._finished: dict[str, _State] = {}
        self._failed: dict[str, tuple[_State, float]] = {}
        self._new = self._all_new()

    def close(self) -> None:
        """Close the file that is open."""
        self._new.close()

    @property
    def pause(self) -> float:
        """Time to wait before the next call of `take`, where it gave None [s]."""
        return LIVE_PAUSE_S if self.is_live else FOLDER_PAUSE_S

    def take(self) -> NewPatterns | None:
        """The next new patterns of one file; None if there are none now."""
        try:
            return next(self._new)
        except BaseException:  # whoever interrupts it may go on later
            self._new = self._all_new()
            raise

    @property
    def _is_one_file(self) -> bool:
        return not self.where.is_dir() and not any(sign in str(self.where) for sign in "*?[")

    def _all_new(self) -> Iterator[NewPatterns | None]:
        """New patterns of all files, one after the other; None whenever all is read."""
        while True:
            due = self._due()
            for number, (path, state) in enumerate(due, start=1):
                self.files_waiting = len(due) - number
                try:
                    yield from self._new_in(path, state)
                except _UNREADABLE as error:
                    self.problems[path] = reason_of(error, Path(path))
                    self._failed[path] = state, self._clock()
            yield None

    def _due(self) -> list[tuple[str, _State]]:
        """Files to be opened now, the first changed first, and their state."""
        due = []
        for path in self._found():
            try:
                state = _state(path)
                if self._is_due(path, state):
                    due.append((path, state))
            except FileNotFoundError:
                self.problems[path] = "there is no such file yet"
            except OSError as error:
                self.problems[path] = reason_of(error, Path(path))
        return sorted(due, key=lambda file: (file[1][-1], file[0]))

    def _found(self) -> list[str]:
        """Absolute paths of the files that there are now."""
        if self._is_one_file:
            return [os.path.abspath(self.where)]
        if self.where.is_dir():
            paths = [entry.path for entry in os.scandir(self.where) if entry.name.lower().endswith(SUFFIXES)]
        else:
            paths = glob.glob(str(self.where))
        shown = (path for path in paths if not os.path.basename(path).startswith(".") and os.path.isfile(path))
        return [os.path.abspath(path) for path in shown]

    def _is_due(self, path: str, state: _State) -> bool:
        """True if a file is not read yet, can be expected to be readable, and has not just failed."""
        if state == self._finished.get(path):
            return False
        failed, at = self._failed.get(path, (state, -np.inf))
        if self._clock() - at < (RETRY_S if failed == state else SETTLED_S):
            return False
        return _age_s(state) >= SETTLED_S or (self._is_one_file and is_written_with_swmr(path))

    def _new_in(self, path: str, state: _State) -> Iterator[NewPatterns | None]:
        """New patterns of one file until all is read or another file has its name; None while it has to grow."""
        if is_written_with_swmr(path) and not self._is_one_file:
            raise PatternFileError("is still written with SWMR; follow it by its own name")
        with closing(GrowingStack(Path(path), self._options)) as stack:
            self._refuse_other_shape(stack)
            try:
                yield from self._new_of(path, stack, state)
            finally:
                self.is_live, self.waiting = False, 0

    def _new_of(self, path: str, stack: GrowingStack, opened: _State) -> Iterator[NewPatterns | None]:
        """The same, of a file that is open; `opened` is its state when it was."""
        self.is_live = stack.is_live
        looked = self._clock() if stack.is_live else self._clock() - _age_s(opened)
        # how many patterns there were, and when the last of them was not there yet
        arrivals: deque[tuple[int, float]] = deque()
        is_known = False
        while not _is_another(opened, state := _state(path)):
            now, known = self._clock(), self._known.get(path, Known())
            written = stack.refresh(now)
            if not is_known:
                self.problems[path] = f"holds {written} patterns, and {known.patterns} were read before"
                if is_known := written >= known.patterns:
                    _refuse_other_recording(stack, known)
                    del self.problems[path]
            if not arrivals or written > arrivals[-1][0]:
                arrivals.append((written, looked))
            if stack.is_live:
                looked, opened = now, state
            self.waiting = max(0, written - known.patterns)
            if self.waiting:
                new = self._read(path, stack, arrivals)
                if new.refused and _is_another(opened, _state(path)):
                    return
                self._known[path] = Known(int(new.patterns[-1]) + 1, new.event_ids[-1])
                self.waiting -= len(new.patterns)
                yield new
            elif stack.is_live:
                yield None
            else:
                self._finished[path] = opened
                return

    def _read(self, path: str, stack: GrowingStack, arrivals: deque[tuple[int, float]]) -> NewPatterns:
        """Read the next patterns of a file."""
        first = self._known.get(path, Known()).patterns
        patterns = np.arange(first, first + min(self.most, self.waiting))
        seen = []
        for pattern in patterns:
            while arrivals[0][0] <= pattern:
                arrivals.popleft()
            seen.append(arrivals[0][1])
        counts, refused = stack.read(patterns)
        event_ids = stack.event_ids(patterns)
        return NewPatterns(Path(path), patterns, event_ids, np.array(seen), counts, refused, stack.stack.mask)

    def _refuse_other_shape(self, stack: GrowingStack) -> None:
        if (shape := stack.stack.shape[1:]) != self._shape:
            raise PatternFileError(
                f"{stack.stack.dataset} holds patterns of {_times(shape)} pixels, the family was trained on "
                f"{_times(self._shape)}; crop them alike, or train on patterns of this shape (workbook run --data)"
            )


def _refuse_other_recording(stack: GrowingStack, known: Known) -> None:
    """Refuse a file whose patterns are not those that were read before; event ids tell, where there are any."""
    if known.patterns == 0:
        return
    event_id = stack.event_ids(np.array([known.patterns - 1]))[0]
    if "" not in (event_id, known.last_event_id) and event_id != known.last_event_id:
        raise PatternFileError(
            f"holds another recording than the one that was read before (pattern {known.patterns - 1} is event "
            f"{event_id}, was {known.last_event_id}); give it another name, or choose another --output"
        )


def _state(path: str) -> _State:
    """Inode, size [bytes] and time of change [ns] of a file."""
    stat = os.stat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _age_s(state: _State) -> float:
    """Time since a file was changed [s]."""
    return time.time() - state[-1] / 1e9


def _is_another(before: _State, now: _State) -> bool:
    """True if another file has the name now, or the same file was cut."""
    return before[0] != now[0] or now[1] < before[1]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
