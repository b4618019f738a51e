"""Processes that share a machine's cores: one thread each, and none outlives the process that started it.

The pool is the standard library's. loky, tried instead, waits for ever for the rest of a result when a worker is killed
while it sends one, leaves workers behind when its own process is killed, and has one environment for all of them.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue
from threading import Event, Thread

from helpers.errors import WorkerDiedError

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
    """Start processes that compute with one thread each; yields their pool.

    One process is another process, too: threads slow small matrix products down tenfold on a busy machine. If the block
    ends with an error, or this process is killed, the processes end at once, in the middle of what they do. What they
    print appears where this process prints, line by line. `environments` holds variables of each process's own: a GPU,
    for instance. Raises WorkerDiedError if one of them is killed.
    """
    with _one_thread():
        context = get_context("spawn")
        own = context.SimpleQueue()
        for process in range(number):
            own.put(dict(environments[process]) if environments else {})
        pool = ProcessPoolExecutor(number, mp_context=context, initializer=_begin, initargs=(os.getpid(), own))
        try:
            with _deaf_to_interrupts():
                for _ in range(number):
                    pool.submit(int)
            with _deaths_noticed(pool):
                yield pool
        except BrokenProcessPool as error:
            raise WorkerDiedError(
                "a worker process was killed, perhaps for want of memory; the same command goes on from there"
            ) from error
        except BaseException:
            _kill(pool)
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _deaths_noticed(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Let the pool notice each death: one that dies while it sends a result leaves it waiting for the rest of that."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            if wait([process.sentinel for process in list(pool._processes.values())], timeout=0):
                _kill(pool)
                return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _kill(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool at once, and let it notice: it waits for results while any process could send one."""
    with suppress(AttributeError, OSError):  # a pool that has ended by itself meanwhile
        for process in list(pool._processes.values()):
            process.kill()
        pool._result_queue._writer.close()  # our own copy


def _begin(parent: int, environments: SimpleQueue) -> None:
    """Prepare a process: its own environment, lines sent when they are complete, an end with its parent."""
    end_with_parent(parent)
    os.environ.update(environments.get())
    sys.stdout.reconfigure(line_buffering=True)


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
    """End this process when its parent (a process id) dies or has died: at once on Linux, elsewhere within 0.2 s."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    else:
        Thread(target=look, daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


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
