"""The patterns that are new in a file that is still written, or in files that appear one by one.

Files are read in the order in which they were last changed, those of one time in the order of their names; each pattern
is given once.
"""

import glob
import os
import time
from collections.abc import Mapping
from pathlib import Path

from helpers.errors import PatternFileError
from helpers.patterns.growing.followed_file import FollowedFile, NewPatterns, Place
from helpers.patterns.options import DEFAULTS, ReadOptions

SUFFIXES = (".cxi", ".h5", ".hdf5")
"""What counts as a pattern file in a folder."""

LIVE_PAUSE_S = 0.01
"""Between looks at a file that grows [s]."""

FOLDER_PAUSE_S = 0.1
"""Between looks for new files [s]."""

_MAGIC = "*?["


class Following:
    """New patterns of a file, of the pattern files of a folder, or of the files that a name with * or ? fits.

    Parameters
    ----------
    where
        FILE, FOLDER, or for instance "run_17/*.cxi".
    shape
        Rows and columns that the patterns must have.
    places
        Absolute path of a file → where an earlier run has ended.
    options
        How the files are read.
    """

    def __init__(
        self,
        where: str | os.PathLike,
        *,
        shape: tuple[int, int],
        places: Mapping[str, Place] | None = None,
        options: ReadOptions = DEFAULTS,
    ) -> None:
        self.where = Path(where)
        self.is_one_file = not (self.where.is_dir() or any(sign in str(where) for sign in _MAGIC))
        self._shape = shape
        self._places = dict(places or {})
        self._options = options
        self._files: dict[str, FollowedFile] = {}
        self._scanned = -float("inf")

    def __enter__(self) -> "Following":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()

    @property
    def waiting(self) -> int:
        """Patterns that can be read now."""
        return sum(file.waiting for file in self._files.values())

    @property
    def problems(self) -> dict[str, str]:
        """Path → why a file cannot be read now."""
        return {path: file.problem for path, file in self._files.items() if file.problem}

    @property
    def misfits(self) -> dict[str, str]:
        """Path → what of a file will never fit the family."""
        return {path: file.misfit for path, file in self._files.items() if file.misfit}

    @property
    def places(self) -> dict[str, Place]:
        """Path → how far a file has been read."""
        return {path: file.place for path, file in self._files.items()}

    @property
    def pause(self) -> float:
        """How long to wait before the next look, if nothing is there [s]."""
        return LIVE_PAUSE_S if any(file.is_live for file in self._files.values()) else FOLDER_PAUSE_S

    def look(self, now: float | None = None) -> None:
        """See which files there are, and how far they are.

        Parameters
        ----------
        now
            Time [s]; `time.monotonic()` if None.

        Raises
        ------
        PatternFileError
            If the only file has patterns of another shape.
        """
        now = time.monotonic() if now is None else now
        if now - self._scanned >= FOLDER_PAUSE_S:
            self._scanned = now
            for path in self._found():
                if path not in self._files:
                    place = self._places.get(path)
                    self._files[path] = FollowedFile(Path(path), place, shape=self._shape, options=self._options)
        for file in self._files.values():
            file.look(now)
        if self.is_one_file and (misfit := next(iter(self.misfits.items()), None)):
            raise PatternFileError(": ".join(misfit))

    def _found(self) -> list[str]:
        """Absolute paths of the files that there are now."""
        if self.is_one_file:
            return [os.path.abspath(self.where)]
        if self.where.is_dir():
            paths = [entry.path for entry in os.scandir(self.where) if entry.name.lower().endswith(SUFFIXES)]
        else:
            paths = glob.glob(str(self.where))
        shown = (path for path in paths if not os.path.basename(path).startswith(".") and os.path.isfile(path))
        return sorted(os.path.abspath(path) for path in shown)

    def take(self, most: int) -> NewPatterns | None:
        """Read the next patterns of one file.

        Parameters
        ----------
        most
            So many at once.

        Returns
        -------
        NewPatterns or None
            None if there are none now.
        """
        ready = sorted((file for file in self._files.values() if file.waiting), key=lambda file: file.order)
        for file in ready:
            if (new := file.take(most)) is not None:
                return new
        return None
