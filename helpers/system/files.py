"""Atomic file writing: everything is written under a temporary name and moved.

A temporary file is called `.NAME.PROCESS@HOST.partial`. One whose process was killed is deleted by the next that writes
to its folder.
"""

import errno
import hashlib
import os
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.errors import StorageError, WorkbookError

_BLOCK_BYTES = 1 << 20
_HOST = re.sub(r"[^\w-]", "_", platform.node())
_PARTIAL = re.compile(rf"\..+\.(\d+)@{re.escape(_HOST)}\.partial(\.\w+)?")
_ROOM = "make room; the same command goes on from there"
_WRITABLE = "make it writable, or choose another folder"
_NEXT_STEPS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _WRITABLE,
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.ENOENT: "put it back; the same command goes on from there",
    errno.EIO: "look after the disk; the same command goes on from there",
}
_IN_HDF5 = re.compile(r"errno = (\d+)")

_EXACT = {"float_precision": "round_trip"} if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1) else {}
"""Before version 3.1 pandas reads a third of all numbers wrong in the last digit; since then it has no such option."""


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and move it to `path` when the block ends without an error.

    Parameters
    ----------
    path
        The final name; its folder is made if needed.

    Yields
    ------
    Path
        A name in the same folder, so that the move is atomic. It is deleted if the block raises.

    Raises
    ------
    StorageError
        If the disk is full, or the folder cannot be written to.
    """
    final = Path(path)
    partial = partial_beside(final)
    with _writing(final, partial):
        final.parent.mkdir(parents=True, exist_ok=True)
        _tidy_once(final.parent.resolve())
        try:
            yield partial
            with open(partial, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(partial, final)
        finally:
            partial.unlink(missing_ok=True)


def partial_beside(final: Path) -> Path:
    """Temporary name of a file that this process writes."""
    return final.with_name(f".{final.name}.{os.getpid()}@{_HOST}.partial")


def delete_leftovers(paths: Iterable[Path]) -> None:
    """Delete those paths that are temporary files of processes of this machine that have ended."""
    for path in paths:
        if (name := _PARTIAL.fullmatch(path.name)) and not _runs(int(name[1])):
            path.unlink(missing_ok=True)


@cache
def _tidy_once(folder: Path) -> None:
    """Delete leftovers in a folder, once in the life of this process: a folder may hold thousands of pictures."""
    delete_leftovers(folder.iterdir())


def _runs(process: int) -> bool:
    """True if there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True


@contextmanager
def _writing(final: Path, partial: Path) -> Iterator[None]:
    """Turn what the disk refuses, and libraries tell in their own ways, into an error for the user."""
    try:
        yield
    except WorkbookError:
        raise
    except (OSError, RuntimeError) as error:
        about = getattr(error, "filename", None)
        elsewhere = about is not None and Path(os.fsdecode(about)) != partial
        line = None if elsewhere and _number(error) == errno.ENOENT else explained(error, about if elsewhere else final)
        if line is None:
            raise
        raise StorageError(line) from error


def explained(error: BaseException, path: str | os.PathLike | None = None) -> str | None:
    """One line for the user on what the system refused: the file, the reason, the next step.

    Parameters
    ----------
    error
        An `OSError`, or the error of a library that met one and says so.
    path
        The file; the one that the error names if None.

    Returns
    -------
    str or None
        None if it is no error of this kind.
    """
    number = _number(error)
    path = getattr(error, "filename", None) if path is None else path
    if number not in _NEXT_STEPS or path is None:
        return None
    return f"{os.fsdecode(path)}: {os.strerror(number)}; {_NEXT_STEPS[number]}"


def _number(error: BaseException | None) -> int | None:
    """Number of the system's error behind another: HDF5 writes it into its text, torch hides it in the context."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if told := _IN_HDF5.search(str(error)):
            return int(told[1])
        error = error.__cause__ or error.__context__
    return None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path: str | os.PathLike, table: pd.DataFrame, *, index: bool = False) -> None:
    """Write a table as CSV, whole or not at all; floats keep every digit, for `read_exact_csv`."""
    with written_whole(path) as partial:
        table.to_csv(partial, index=index, lineterminator="\n")


def read_exact_csv(path: str | os.PathLike, **options: Any) -> pd.DataFrame:
    """Read a table that `write_csv` has written, to the last digit; options are those of `pandas.read_csv`."""
    return pd.read_csv(path, **_EXACT, **options)


def sha256(path: str | os.PathLike) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
