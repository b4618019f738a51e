"""Processes that share a machine's cores: one thread each, and none outlives the process that started it."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread_processes(number: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that compute with one thread each.

    One process is another process, too: threads slow small matrix products down tenfold on a busy machine. If the block
    ends with an error, or this process is killed, the processes end at once, in the middle of what they do.

    Parameters
    ----------
    number
        Processes.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
    """
    reader, writer = Pipe(duplex=False)
    start = {"mp_context": get_context("spawn"), "initializer": _end_with, "initargs": (reader,)}
    with reader, writer, _one_thread(), ProcessPoolExecutor(number, **start) as pool:
        try:
            yield pool
        except BaseException:
            writer.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with(parent: Connection) -> None:
    """End this process when the other end of the pipe is closed: by the parent, or by its death."""

    def wait() -> None:
        try:
            parent.recv()
        except EOFError:
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


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
