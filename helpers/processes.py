"""Processes that share a machine's cores: one thread each, and none outlives the process that started it."""

import io
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from threading import Thread

_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread_processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that compute with one thread each.

    One process is another process, too: threads slow small matrix products down tenfold on a busy machine. If the block
    ends with an error, or this process is killed, the processes end at once, in the middle of what they do. The lines
    that they print are printed by this process, so that a notebook shows them.

    Parameters
    ----------
    number
        Processes.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
    """
    reader, writer = Pipe(duplex=False)
    with reader, writer, _printed() as lines, _one_thread():
        start = {"mp_context": get_context("spawn"), "initializer": _begin, "initargs": (reader, lines)}
        pool = ProcessPoolExecutor(number, **start)
        try:
            yield pool
        except BaseException:
            writer.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(parent: Connection, lines: Connection) -> None:
    """Print by way of the parent, and end this process when the parent closes its end of the pipe, or dies."""

    def wait() -> None:
        try:
            parent.recv()
        except EOFError:
            os._exit(1)

    sys.stdout = _Lines(lines)
    Thread(target=wait, daemon=True).start()


class _Lines(io.TextIOBase):
    """Text that is sent line by line, so that the lines of several processes do not mix."""

    def __init__(self, lines: Connection) -> None:
        self._lines = lines
        self._begun = ""

    def write(self, text: str) -> int:
        """Send the lines that are complete."""
        *complete, self._begun = (self._begun + text).split("\n")
        for line in complete:
            self._lines.send(line)
        return len(text)


@contextmanager
def _printed() -> Iterator[Connection]:
    """Print the lines that are sent to the connection given, until every process has closed it."""
    reader, writer = Pipe(duplex=False)

    def print_lines() -> None:
        while True:
            try:
                print(reader.recv(), flush=True)
            except EOFError:
                return

    printer = Thread(target=print_lines, daemon=True)
    printer.start()
    try:
        yield writer
    finally:
        writer.close()
        printer.join()
        reader.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started in this block use one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
