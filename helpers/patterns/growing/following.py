"""The new patterns of a file that is still written with SWMR, or of finished files that appear one by one.

A file is finished when it has not changed for a while and no writer holds a lock on it. Finished files are read in the
order in which they were last changed, then of their names. A file that cannot be read is opened again later, and one
that grows or is replaced is read on from where it ended.
"""

import glob
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.growing.growing_stack import GrowingStack, reason_of
from helpers.patterns.hdf5.unopened import is_written_with_swmr
from helpers.patterns.options import DEFAULTS, ReadOptions
from helpers.patterns.stack import PatternStack

SUFFIXES = (".cxi", ".h5", ".hdf5")
"""Suffixes of the pattern files of a folder."""

SETTLED_S = 1.0
"""A file that is not written with SWMR is finished when it has not changed for this long [s]."""

CHANGING_S = 5.0
"""A file that changes for longer is a problem: its writer does not use SWMR [s]."""

RETRY_S = 2.0
"""A file that could not be read is opened again after this time [s]."""

LIVE_PAUSE_S = 0.01
"""Between looks at a file that grows [s]."""

FOLDER_PAUSE_S = 0.1
"""Between looks for files [s]."""

_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError)
"""What HDF5 and our own checks raise while a file is half written or has just been replaced."""

_SWMR_IN_FOLDER = "is still written with SWMR; follow it by its own name"
_STILL_CHANGES = f"is still written, without SWMR; it is read when it has not changed for {SETTLED_S:g} s"

_State = tuple[int, int, int]


@dataclass(frozen=True)
class Known:
    """The patterns of a file that were read before: how many, and event id of the last one ("" if it had none)."""

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
    most
        Patterns that are read at once, at most.
    check
        Called with the stack of each file; raises a PatternFileError if its patterns are not wanted.
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
        most: int,
        check: Callable[[PatternStack], None],
        known: Mapping[str, Known],
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
        self._check = check
        self._known = dict(known)
        self._clock = clock
        self._options = options
        self._finished: dict[str, _State] = {}
        self._failed: dict[str, float] = {}
        self._changing_since: dict[str, float] = {}
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
        return not self.where.is_dir() and not glob.has_magic(str(self.where))

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
                    self._failed[path] = self._clock()
            yield None

    def _due(self) -> list[tuple[str, _State]]:
        """Absolute path and state of the files to be opened now, the first changed first."""
        due = []
        for path in self._found():
            try:
                state = _state(path)
                if self._is_due(path, state):
                    due.append((path, state))
            except OSError as error:
                self.problems[path] = os.strerror(error.errno)
        return sorted(due, key=lambda file: (file[1][-1], file[0]))

    def _found(self) -> list[str]:
        """Absolute paths of the files that there are now."""
        if self._is_one_file:
            return [os.path.abspath(self.where)]
        if self.where.is_dir():
            files = glob.glob(os.path.join(glob.escape(str(self.where)), "*"))
            paths = [path for path in files if path.lower().endswith(SUFFIXES)]
        else:
            paths = glob.glob(str(self.where))
        return [os.path.abspath(path) for path in paths if os.path.isfile(path)]

    def _is_due(self, path: str, state: _State) -> bool:
        """True if a file is not read yet, can be expected to be readable, and has not just failed."""
        if state == self._finished.get(path) or self._clock() - self._failed.get(path, -np.inf) < RETRY_S:
            return False
        if _age_s(state) >= SETTLED_S or (self._is_one_file and is_written_with_swmr(path)):
            self._changing_since.pop(path, None)
            return True
        if self._clock() - self._changing_since.setdefault(path, self._clock()) >= CHANGING_S:
            self.problems[path] = _SWMR_IN_FOLDER if is_written_with_swmr(path) else _STILL_CHANGES
        return False

    def _new_in(self, path: str, state: _State) -> Iterator[NewPatterns | None]:
        """New patterns of one file until all is read or another file has its name; None while it has to grow."""
        if is_written_with_swmr(path) and not self._is_one_file:
            raise PatternFileError(_SWMR_IN_FOLDER)
        with closing(GrowingStack(Path(path), self._options)) as stack:
            self._check(stack.stack)
            written = stack.refresh(self._clock())
            _refuse_other_recording(stack, written, self._known.get(path, Known()))
            self.problems.pop(path, None)
            try:
                yield from self._new_of(path, stack, state)
            finally:
                self.is_live, self.waiting = False, 0

    def _new_of(self, path: str, stack: GrowingStack, opened: _State) -> Iterator[NewPatterns | None]:
        """The same, of a file that is open; `opened` is its state when it was."""
        self.is_live = stack.is_live
        looked = self._clock() - (0.0 if stack.is_live else _age_s(opened))
        seen: list[float] = []  # of each pattern that waits: when it was not there yet
        while not _is_another(opened, state := _state(path)):
            now, first = self._clock(), self._known.get(path, Known()).patterns
            seen += [looked] * (stack.refresh(now) - first - len(seen))
            if stack.is_live:
                looked, opened = now, state
            self.waiting = len(seen)
            if seen:
                new = _read(path, stack, first, np.array(seen[: self.most]))
                self._known[path] = Known(int(new.patterns[-1]) + 1, new.event_ids[-1])
                del seen[: self.most]
                self.waiting = len(seen)
                yield new
            elif stack.is_live:
                yield None
            else:
                self._finished[path] = opened
                return


def _read(path: str, stack: GrowingStack, first: int, seen: np.ndarray) -> NewPatterns:
    """Read patterns of a file from the number `first` on; `seen` (n,) as in `NewPatterns`."""
    patterns = np.arange(first, first + len(seen))
    counts, refused = stack.read(patterns)
    return NewPatterns(Path(path), patterns, stack.event_ids(patterns), seen, counts, refused, stack.stack.mask)


def _refuse_other_recording(stack: GrowingStack, written: int, known: Known) -> None:
    """Refuse a file whose patterns are not those that were read before; event ids tell, where there are any."""
    if written < known.patterns:
        raise PatternFileError(f"holds {written} patterns, and {known.patterns} were read before")
    event_id = stack.event_ids(np.array([known.patterns - 1]))[0] if known.last_event_id else ""
    if event_id not in ("", known.last_event_id):
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
