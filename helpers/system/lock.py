"""One process at a time: a lock that names who holds it, and that the kernel releases however its holder ends.

NAME.lock            locked by the holder (flock), and says who that is
NAME.lock.children   locked by each process that the holder starts, until it ends

A holder that is killed leaves children behind for a moment: who comes next waits until they have ended, too.
"""

import fcntl
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from helpers.errors import LockedError

LOCK = "WORKBOOK_LOCK"
"""Environment variable that tells children the lock of the process that started them."""

_SECONDS_FOR_CHILDREN = 30.0
_SECONDS_BETWEEN_TRIES = 0.1


@contextmanager
def locked(what: Path, lock: Path) -> Iterator[None]:
    """Hold a lock while the block runs, and share it with the processes that are started there.

    Parameters
    ----------
    what
        The file or folder that it is for, as the error names it.
    lock
        The lock's own file; its folder is made if needed. File, and folder if nothing came into it, are deleted in the
        end, unless the process is killed.

    Raises
    ------
    LockedError
        If another process holds it, or children of a killed one do not end within 30 s.
    """
    children = lock.with_name(f"{lock.name}.children")
    with _made(lock.parent), _held(what, lock), _without_children(what, children), _told(children):
        yield


def share_lock() -> None:
    """Hold the lock of the process that started this one, too, until this process ends."""
    if path := os.environ.get(LOCK):
        # never closed: the kernel does that
        with suppress(OSError):
            fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_SH | fcntl.LOCK_NB)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder; if it was not there and nothing has come into it, it is deleted."""
    new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _held(what: Path, lock: Path) -> Iterator[None]:
    """Hold the lock, and write into it who does."""
    descriptor = _taken(what, lock)
    try:
        with suppress(OSError):  # a full disk keeps nobody from looking at what is there
            os.ftruncate(descriptor, 0)
            os.write(descriptor, _holder().encode())
        yield
    finally:
        # while it is held, so that nobody else's is deleted
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _taken(what: Path, lock: Path) -> int:
    """File descriptor of the lock."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _flock(descriptor, what)
        except BlockingIOError:
            text = os.read(descriptor, 1 << 16).decode(errors="replace")
            os.close(descriptor)
            raise LockedError(f"{what} is in use by {_in_words(text)}; wait until it ends, or end it") from None
        if _is(descriptor, lock):
            return descriptor
        os.close(descriptor)  # its holder has deleted it in between


@contextmanager
def _without_children(what: Path, children: Path) -> Iterator[None]:
    """Wait for the children of a holder that was killed; the file is there for ours while the block runs."""
    descriptor = os.open(children, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait(descriptor, what)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        yield
    finally:
        children.unlink(missing_ok=True)
        os.close(descriptor)


def _wait(descriptor: int, what: Path) -> None:
    """Wait until no child of another holder is left."""
    deadline = time.monotonic() + _SECONDS_FOR_CHILDREN
    while True:
        try:
            return _flock(descriptor, what)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LockedError(
                    f"{what} is in use by processes that a killed one has left; end them (ps -ef), then try again"
                ) from None
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _flock(descriptor: int, what: Path) -> None:
    """Lock at once or raise BlockingIOError; some network file systems have no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        why = f"its file system has no locks ({error.strerror}), so nothing stops a second run"
        print(f"{what}: {why}; start only one", file=sys.stderr)


@contextmanager
def _told(children: Path) -> Iterator[None]:
    """Processes that are started in this block know the lock."""
    before = os.environ.get(LOCK)
    os.environ[LOCK] = str(children.resolve())
    try:
        yield
    finally:
        os.environ.pop(LOCK) if before is None else os.environ.update({LOCK: before})


def _is(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _holder() -> str:
    """This process, for people."""
    described = {
        "process": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    return json.dumps(described) + "\n"


def _in_words(text: str) -> str:
    """The holder, as its lock tells."""
    try:
        return "process {process} on {host} since {since} ({command})".format(**json.loads(text))
    except (ValueError, KeyError, TypeError):
        return "another process"
