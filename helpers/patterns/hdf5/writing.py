"""Writing of HDF5 files that survives a full disk and signals.

On a full disk HDF5 2.0 crashes while it closes the file (6 of 6 times with its own driver). So it never learns of it:
it writes through a Python file that notes the first error, which is raised once the library has closed. Nor does it
learn of what the handler of a signal raises, for which Python may choose the moment when the library writes.
"""

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import h5py

_PUT_OFF_SECONDS = 0.01

_Handler = Callable[[int, FrameType | None], object]


@contextmanager
def hdf5_to_write(path: Path, mode: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for writing, "w" for a new one, "r+" for one that is there.

    OSError when the block ends, if something could not be written (the disk is full): the file is of no use then.
    """
    with _signals_put_off(), _Noting(path, {"w": "w+b", "r+": "r+b"}[mode]) as stream:
        try:
            with h5py.File(stream, mode) as file:
                yield file
        finally:
            # it is the cause, too, of whatever the library may have stumbled over after it
            if stream.error:
                raise stream.error


class _Noting(io.FileIO):
    """A file whose writes seem to succeed; what went wrong first is noted."""

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


_CALLED_BY_HDF5 = {_Noting.write.__code__, _Noting.truncate.__code__}


@contextmanager
def _signals_put_off() -> Iterator[None]:
    """SIGINT and SIGTERM that come while the library writes wait until it does not, or until the end of the block."""
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers, and none is interrupted
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    waiting: dict[int, threading.Timer] = {}
    for number, handler in handlers.items():
        signal.signal(number, _put_off(handler, waiting))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, again in waiting.items():
            again.cancel()
            signal.raise_signal(number)


def _put_off(handler: _Handler, waiting: dict[int, threading.Timer]) -> _Handler:
    """A handler that has a signal sent again if it comes while the library writes."""

    def handle(number: int, frame: FrameType | None) -> None:
        if not _is_called_by_hdf5(frame):
            waiting.pop(number, None)
            handler(number, frame)
            return
        again = threading.Timer(_PUT_OFF_SECONDS, signal.pthread_kill, [threading.main_thread().ident, number])
        again.daemon = True
        waiting[number] = again
        again.start()

    return handle


def _is_called_by_hdf5(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code in _CALLED_BY_HDF5:
            return True
        frame = frame.f_back
    return False
