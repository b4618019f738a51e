"""A pattern file opened in a child process first, where a damaged or hostile one can crash or hang without harm.

HDF5 2.0 never comes back from a damaged heap of texts, nor from a link to a pipe. A forked child has everything
imported, so that a probe costs milliseconds and not the second of a new Python.
"""

import faulthandler
import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from helpers.errors import PatternFileError, WorkbookError
from helpers.patterns.hdf5.file import FOREIGN
from helpers.patterns.opening import open_stack
from helpers.patterns.options import DEFAULTS, ReadOptions
from helpers.patterns.stack import PatternStack
from helpers.system import in_short

_READ_AT_ONCE = 1000


def probe(
    path: str | os.PathLike,
    options: ReadOptions = DEFAULTS,
    *,
    look: Callable[[PatternStack], Any] | None = None,
    limit_s: float = 60.0,
) -> Any:
    """Open a file in a child process, and read all of it but the patterns; each command does so before it opens one.

    Parameters
    ----------
    path, options
        As of `open_stack`.
    look
        What the command does with the stack before it reads patterns, for instance `check_output`; what it returns, and
        `probe` in turn, must fit into JSON.
    limit_s
        Time that this may take [s]; to open a thousand sources on a slow network file system takes seconds.

    Raises
    ------
    PatternFileError
        As `open_stack`; or if the child crashed or did not end in time.
    """
    reading, writing = os.pipe()
    child = 0
    try:
        with warnings.catch_warnings():  # Python 3.12 warns of other threads: the child needs none of them
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _answer(writing, Path(path), options, look, limit_s)
        os.close(writing)
        in_time = bool(select.select([reading], [], [], limit_s)[0])
        with os.fdopen(reading, "rb", closefd=False) as stream:
            answer = stream.readline() if in_time else b""
    finally:
        os.close(reading)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not in_time:
        raise PatternFileError(
            f"{path}: HDF5 comes to no end with it in {limit_s:g} s; the file is damaged, or a link in it leads to a "
            "pipe: copy it again, or mend the link"
        )
    if not answer:
        raise PatternFileError(f"{path}: HDF5 crashes while it reads it; the file is damaged, copy it again")
    found = json.loads(answer)
    if "error" in found:
        raise PatternFileError(found["error"])
    return found["looked"]


def _answer(
    writing: int, path: Path, options: ReadOptions, look: Callable[[PatternStack], Any] | None, limit_s: float
) -> None:
    """The life of the child: read, tell what was found or is wrong, end."""
    answer: dict[str, Any] = {"looked": None}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(int(limit_s) + 1)  # also where the parent is killed
        faulthandler.disable()
        silence = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):  # where libraries write
            os.dup2(silence, number)
        sys.stdout = sys.stderr = os.fdopen(silence, "w")
        answer = {"looked": _read(path, options, look)}
    except WorkbookError as error:
        answer = {"error": str(error)}
    except BaseException as error:
        answer = {"error": f"{path}: {type(error).__name__}: {in_short(error)}"}
    finally:
        os.write(writing, json.dumps(answer).encode() + b"\n")
        os._exit(0)


def _read(path: Path, options: ReadOptions, look: Callable[[PatternStack], Any] | None) -> Any:
    """Open a stack and read what belongs to its patterns; what cannot be decoded there is no error yet."""
    with open_stack(path, options) as stack:
        first_and_last = np.array([0, len(stack) - 1])
        for read in (stack.table, lambda: stack.read_frames(first_and_last), lambda: _walk(stack)):
            with suppress(WorkbookError, *FOREIGN):
                read()
        return None if look is None else look(stack)


def _walk(stack: PatternStack) -> None:
    """Follow the index of all chunks, and read all lists: Dragonfly's lie beside each other in HDF5."""
    for name in stack.datasets if stack.origin.file is not None else ():
        data = stack.origin.file[name]
        if data.chunks is not None:
            data.id.chunk_iter(lambda _: None)
        if h5py.check_vlen_dtype(data.dtype) is not None:
            for lists in data.parent.values():
                if isinstance(lists, h5py.Dataset) and lists.shape == data.shape:
                    for start in range(0, len(lists), _READ_AT_ONCE):
                        lists[start : start + _READ_AT_ONCE]
