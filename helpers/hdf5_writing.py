"""HDF5 files on a disk that may be full.

Where the HDF5 library cannot write, it loses chunks without a word, or crashes while it closes the file. So it never
learns of it: it writes through a file that notes the first error, and that is raised once the library has closed.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py


@contextmanager
def hdf5_to_write(path: Path, mode: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing; a full disk is an error when the block ends.

    Parameters
    ----------
    path
        The file.
    mode
        "w" for a new one, "r+" for one that is there.

    Yields
    ------
    h5py.File

    Raises
    ------
    OSError
        If something could not be written; the file is of no use then.
    """
    with _Noting(path, {"w": "w+b", "r+": "r+b"}[mode]) as stream:
        try:
            with h5py.File(stream, mode) as file:
                yield file
        finally:
            # it is the cause, too, of whatever the library may have stumbled over after it
            if stream.error:
                raise stream.error


class _Noting(io.FileIO):
    """A file whose writes seem to succeed; what went wrong first is noted.

    Parameters
    ----------
    path, mode
        As of `open`.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self.error: OSError | None = None

    def write(self, data: memoryview) -> int:
        """Write all, or note why not."""
        try:
            left = memoryview(data)
            while self.error is None and len(left):
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the length, or note why not."""
        try:
            super().truncate(size)
        except OSError as error:
            self.error = self.error or error
        return self.seek(0, os.SEEK_END)
