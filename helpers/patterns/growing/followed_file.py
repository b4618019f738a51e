"""One pattern file that is looked at again and again: how far it is, and the patterns that are new in it.

A file that is not written with SWMR is taken for whole when its size has not changed for a while and no writer holds a
lock on it. If another file takes its name, or it is written anew, it is read from where the old one ended if the first
and the last pattern that were read are the same in it; else it is another recording, read from its start.
"""

import os
import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.growing.growing_stack import GrowingStack, is_written_with_swmr, one_line
from helpers.patterns.options import DEFAULTS, ReadOptions

SETTLED_S = 1.0
"""A file that is not written with SWMR is whole when it has not changed for so long [s]."""

_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError)
"""What HDF5 and our own checks raise while a file is half written or has just been replaced."""


@dataclass
class Place:
    """How far a file has been read, and how to tell whether it is still the same.

    Parameters
    ----------
    recording
        Which of the recordings that have had this name, from 0.
    done
        How many of its patterns were read.
    first, last
        Checksums of the first and the last of them.
    """

    recording: int = 0
    done: int = 0
    first: str = ""
    last: str = ""


@dataclass(frozen=True, eq=False)
class NewPatterns:
    """Patterns that were read once and never before.

    Parameters
    ----------
    path
        Their file.
    recording
        As in `Place`.
    indices
        (n,) pattern numbers in the file.
    event_ids
        (n,) text; "" where there is none.
    checksums
        (n,) of the counts, or of the event id of a dark pattern.
    seen
        (n,) time of the last look at which the pattern was not there yet, by the clock of `look` [s].
    counts
        (readable, rows, columns) [photons], without the refused ones.
    refused
        Pattern number → why it cannot be scored.
    mask
        (rows, columns), True = bad pixel.
    """

    path: Path
    recording: int
    indices: np.ndarray
    event_ids: list[str]
    checksums: list[str]
    seen: np.ndarray
    counts: np.ndarray
    refused: dict[int, str]
    mask: np.ndarray


class FollowedFile:
    """A file that is looked at again and again.

    Parameters
    ----------
    path
        The file; it may not be there yet.
    place
        Where an earlier run has ended; at the start if None.
    shape
        Rows and columns that its patterns must have.
    options
        How it is read.
    """

    def __init__(
        self, path: Path, place: Place | None = None, *, shape: tuple[int, int], options: ReadOptions = DEFAULTS
    ) -> None:
        self.path = path
        self.place = place or Place()
        self.waiting = 0
        """Patterns that can be read now."""
        self.problem = ""
        """Why it cannot be read now, or ""."""
        self.misfit = ""
        """What of it will never fit the family, or ""."""
        self._shape = shape
        self._options = options
        self._open: GrowingStack | None = None
        self._is_taken_up = False
        self._state = self._finished = (0, 0, 0)
        self._changed = self._looked = self._tried = -np.inf
        self._arrivals: deque[tuple[int, float]] = deque()

    @property
    def is_live(self) -> bool:
        """Whether it is read while it grows."""
        return self._open is not None and self._open.live

    @property
    def order(self) -> tuple[int, str]:
        """What files are sorted by: time of change, then name."""
        return self._state[2], str(self.path)

    def close(self) -> None:
        """Close the file; the next look opens it again."""
        if self._open is not None:
            self._open.close()
        self._open = None
        self._is_taken_up = False
        self._arrivals.clear()
        self.waiting = 0

    def look(self, now: float) -> None:
        """See how far the file is.

        Parameters
        ----------
        now
            Time [s], of any clock that does not go back.
        """
        try:
            self._look(now)
        except FileNotFoundError:
            self.close()
            self.problem = "there is no such file yet"
        except _UNREADABLE as error:
            self.close()
            self.problem = one_line(error, self.path)
        self._looked = now

    def _look(self, now: float) -> None:
        known, self._state = self._state, _state(self.path)
        if known != self._state:
            self._changed = now
        live = is_written_with_swmr(self.path)
        if self._open is not None and (self._open.live != live or self._is_another(known, live=live)):
            self.close()
        if self._open is None:
            if not live and (self._state == self._finished or now - self._changed < SETTLED_S):
                return
            if self.problem and now - self._tried < SETTLED_S:
                return
            self._tried = now
            self._open = GrowingStack(self.path, self._options, live=live)
            self._refuse_misfit(self._open.stack.shape[1:], self._open.stack.dataset)
        self.problem = ""
        self._count(self._open.patterns(now, self.place.done if self._is_taken_up else 0), now)

    def _is_another(self, known: tuple[int, int, int], *, live: bool) -> bool:
        """Whether another file has the name now, or it is written anew; a whole file must not change at all."""
        is_replaced = known[0] != self._state[0] or known[1] > self._state[1]
        return is_replaced or (not live and known != self._state)

    def _is_still_there(self) -> bool:
        """Whether what was opened has neither been replaced nor cut since the last look."""
        now = _state(self.path)
        return now[0] == self._state[0] and now[1] >= self._state[1]

    def _refuse_misfit(self, shape: tuple[int, ...], dataset: str) -> None:
        self.misfit = ""
        if tuple(shape) == self._shape:
            return
        self._finished = self._state
        self.misfit = (
            f"{dataset} holds patterns of {_times(shape)} pixels, the family was trained on {_times(self._shape)}; "
            "crop them alike, or train on patterns of this shape (workbook run --data)"
        )
        raise PatternFileError(self.misfit)

    def _count(self, patterns: int, now: float) -> None:
        """Note how many patterns there are, and since when."""
        if patterns and not self._is_taken_up:
            self._is_taken_up = self._take_up(patterns)
            self._arrivals.append((patterns, now if self._open.live else self._changed))
        elif self._is_taken_up and patterns > self._arrivals[-1][0]:
            self._arrivals.append((patterns, self._looked))
        self.waiting = max(0, patterns - self.place.done) if self._is_taken_up else 0
        self._finish_if_whole()

    def _finish_if_whole(self) -> None:
        """A whole file is closed when all of it was read, and not opened again unless it changes."""
        if not self._open.live and not self.waiting:
            self._finished = self._state
            self.close()

    def _take_up(self, patterns: int) -> bool:
        """Whether it is known where to go on: after what was read before, or at the start of another recording."""
        place = self.place
        if place.done and self._checksum_of(0) == place.first:
            if patterns < place.done:
                return False
            if self._checksum_of(place.done - 1) == place.last:
                return True
        if place.done:
            self.place = Place(recording=place.recording + 1)
        return True

    def _checksum_of(self, index: int) -> str:
        indices = np.array([index])
        return _checksums(indices, *self._open.read(indices), self._open.event_ids(indices))[0]

    def take(self, most: int) -> NewPatterns | None:
        """Read the next patterns.

        Parameters
        ----------
        most
            So many at once.

        Returns
        -------
        NewPatterns or None
            None if there are none, or if the file has just been taken away.
        """
        if not self.waiting:
            return None
        indices = np.arange(self.place.done, self.place.done + min(most, self.waiting))
        try:
            counts, refused = self._open.read(indices)
            if refused and not self._is_still_there():
                raise OSError("the file was replaced while it was read")
            event_ids = self._open.event_ids(indices)
        except _UNREADABLE as error:
            self.close()
            self.problem = one_line(error, self.path)
            return None
        sums = _checksums(indices, counts, refused, event_ids)
        seen = np.array([self._seen(index) for index in indices])
        new = NewPatterns(
            self.path, self.place.recording, indices, event_ids, sums, seen, counts, refused, self._open.stack.mask
        )
        self.place = Place(self.place.recording, int(indices[-1]) + 1, self.place.first or sums[0], sums[-1])
        self.waiting -= len(indices)
        self._finish_if_whole()
        return new

    def _seen(self, index: int) -> float:
        """When a pattern was not there yet, at the latest."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] <= index:
            self._arrivals.popleft()
        return self._arrivals[0][1]


def _checksums(indices: np.ndarray, counts: np.ndarray, refused: dict[int, str], event_ids: list[str]) -> list[str]:
    """Of counts; of the event id where there is no photon, because dark patterns are alike, or no readable count."""
    readable = iter(counts)
    values = (None if int(index) in refused else next(readable) for index in indices)
    seen = [
        event_id.encode() if value is None or not value.any() else value.tobytes()
        for value, event_id in zip(values, event_ids, strict=True)
    ]
    return [f"{zlib.crc32(one):08x}" for one in seen]


def _state(path: Path) -> tuple[int, int, int]:
    """Which file it is, its size, and when it was changed."""
    stat = os.stat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
