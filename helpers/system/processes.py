"""Processes that share a machine's cores: one thread each, and none outlives the process that started it."""

import ctypes
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.queues import SimpleQueue
from threading import Event, Thread

from helpers.errors import WorkerDiedError
from helpers.system.lock import share_lock

_WARNINGS, _TIDIED = "PYTHONWARNINGS", "ignore:resource_tracker:UserWarning"
_SECONDS_BETWEEN_LOOKS = 0.2

_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread_processes(
    number: int, *, environments: Sequence[Mapping[str, str]] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Start processes that compute with one thread each.

    One process is another process, too: threads slow small matrix products down tenfold on a busy machine. If the block
    ends with an error, or this process is killed, the processes end at once, in the middle of what they do. The lines
    that they print are printed by this process, so that a notebook shows them.

    Parameters
    ----------
    number
        Processes.
    environments
        Variables of each process's own, a mapping a process: a GPU, for instance.

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor

    Raises
    ------
    WorkerDiedError
        If one of them is killed.
    """
    reader, writer = Pipe(duplex=False)
    with reader, writer, _printed() as lines, _one_thread():
        context = get_context("spawn")
        own = context.SimpleQueue()
        for process in range(number):
            own.put(dict(environments[process]) if environments else {})
        start = {"mp_context": context, "initializer": _begin, "initargs": (reader, lines, own)}
        pool = ProcessPoolExecutor(number, **start)
        try:
            with _deaf_to_interrupts():
                for _ in range(number):
                    pool.submit(int)
            with _deaths_noticed(pool, writer):
                yield pool
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process was killed, perhaps for want of memory; the same command goes on from there"
            ) from error
        except BaseException:
            writer.close()
            _close_results(pool)
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _deaths_noticed(pool: ProcessPoolExecutor, writer: Connection) -> Iterator[None]:
    """Let the pool notice each death: one that dies while it sends a result leaves it waiting for the rest of that."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            if wait([process.sentinel for process in list(pool._processes.values())], timeout=0):
                writer.close()
                _close_results(pool)
                return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _close_results(pool: ProcessPoolExecutor) -> None:
    """Close our own end for writing results, which the pool keeps open: reading ends when no process has one."""
    with suppress(AttributeError, OSError):
        pool._result_queue._writer.close()


def _begin(parent: Connection, lines: Connection, environments: SimpleQueue) -> None:
    """Take an environment, print by way of the parent, and end when the parent closes its end of a pipe, or dies."""

    def end_with_it() -> None:
        try:
            parent.recv()
        except EOFError:
            os._exit(1)

    os.environ.update(environments.get())
    share_lock()
    sys.stdout = _Lines(lines)
    Thread(target=end_with_it, daemon=True).start()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in this block do not hear Ctrl-C, which a terminal tells all; their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux' prctl."""


def end_with_parent(parent: int) -> None:
    """End this process at once when its parent dies, on Linux; elsewhere a Jupyter kernel looks once a second.

    Parameters
    ----------
    parent
        Its process id; if it has ended already, so does this process.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


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
    """Processes started in this block use one thread each; the one that tidies up after a kill does so silently."""
    warnings = ",".join(filter(None, [os.environ.get(_WARNINGS), _TIDIED]))
    given = dict.fromkeys(_THREADS, "1") | {_WARNINGS: warnings}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
