"""One process at a time: a lock that the system releases however its holder ends, and a text that names the holder.

NAME.lock         locked by the holder
NAME.lock.holder  who that is, for people
"""

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from helpers.errors import LockedError
from helpers.system.tables_and_json import printable


@contextmanager
def locked(what: Path, lock: Path) -> Iterator[None]:
    """Hold the file `lock` while the block runs, for the file or folder `what` that an error names.

    Processes that the holder starts end with it (`end_with_parent`), so whoever takes the lock of one that was killed
    meets none of them. The lock's folder is made if needed; file, and folder if nothing came into it, are deleted in
    the end, unless the process is killed. Raises LockedError if another process holds it.
    """
    with _made(lock.parent), _held(what, lock, lock.with_name(f"{lock.name}.holder")):
        yield


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
def _held(what: Path, lock: Path, holder: Path) -> Iterator[None]:
    """Hold the lock, and write beside it who does."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        text = printable(holder.read_text(errors="replace")) if holder.is_file() else "another process"
        raise LockedError(f"{what} is in use by {text}; wait until it ends, or end it") from None
    except OSError as error:
        if error.filename is not None:  # the file itself could not be made
            raise
        why = f"its file system has no locks ({error.strerror}), so nothing stops a second run"
        print(f"{what}: {why}; start only one", file=sys.stderr)
    try:
        with suppress(OSError):  # a full disk keeps nobody from looking at what is there
            holder.write_text(_this_process())
        yield
    finally:
        # while it is held, so that nobody else's is deleted
        holder.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        held.release()


def _this_process() -> str:
    """This process in words."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    since = datetime.now().isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {platform.node()} since {since} ({command})"
