"""Tasks on many machines, by Dask: on processes of this machine, by SLURM, or with a scheduler that runs already.

Dask is an extra (`pip install "single-hit-workbook[cluster]"`) and only makes it faster: a task stores its own result,
so that a lost worker, a lost scheduler or a restart costs the tasks that were not done.
"""

import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from helpers.errors import ClusterError
from helpers.system import progress

if TYPE_CHECKING:
    from distributed import Client

SPECIFICATIONS = "local:4, slurm:PROFILE[:JOBS] or tcp://HOST:PORT"
_SPECIFICATION = re.compile(r"local:(?P<local>[1-9]\d*)|slurm:(?P<slurm>[\w.-]+)(:(?P<jobs>[1-9]\d*))?|tcp://.+:\d+")
_SLURM_JOBS = 8
_SECONDS_FOR_A_SCHEDULER = 60.0
_SECONDS_TO_BE_SEEN = 120.0
_LOST_SCHEDULERS = 5


def check_cluster(specification: str) -> None:
    """Refuse what cannot be a cluster, before any work is done.

    Parameters
    ----------
    specification
        "local:4": so many processes with one thread each on this machine. "slurm:PROFILE" or "slurm:PROFILE:JOBS": jobs
        as a profile of dask-jobqueue says (`jobqueue.PROFILE` in ~/.config/dask/*.yaml), at most 8 or JOBS at a time.
        "tcp://HOST:PORT": the workers of a scheduler that runs already.

    Raises
    ------
    ClusterError
        If it is none of these, or Dask is not installed.
    """
    if not (match := _SPECIFICATION.fullmatch(specification)):
        raise ClusterError(f"--cluster {specification}: is not {SPECIFICATIONS}")
    try:
        import distributed  # noqa: F401

        if match["slurm"]:
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise ClusterError(
            f"--cluster {specification} needs Dask, and {error.name} is not installed: "
            'pip install "single-hit-workbook[cluster]", or share the work without it (--chunks K/N)'
        ) from error


def compute_on_cluster(
    specification: str, task: Callable[..., None], left: Callable[[], Sequence[tuple]], *, label: str
) -> None:
    """Run tasks on a cluster until none is left.

    A task whose worker dies goes to another one. Where the scheduler is lost, it is waited for, and what is left is
    given to it again.

    Parameters
    ----------
    specification
        As `check_cluster` takes it.
    task
        A function of a module; it stores its own result, and may be run twice.
    left
        Gives the arguments of each task whose result is not there; asked again after a loss and at the end.
    label
        What is being done.

    Raises
    ------
    ClusterError
        If there is no scheduler, it was lost again and again, tasks end their workers, or results do not arrive.
    WorkbookError
        What a task raises; no more tasks are begun then.
    """
    from dask.config import set as configured

    lost = 0
    with configured({"distributed.comm.timeouts.connect": _SECONDS_FOR_A_SCHEDULER}), _quiet():
        while left():
            with _connected(specification) as client:
                whole = _run(client, task, left(), label=label)  # asked after the wait for a scheduler
            if whole:
                return _wait_for_results(specification, left)
            lost += 1
            if lost == _LOST_SCHEDULERS:
                raise ClusterError(f"{specification}: lost its scheduler {lost} times; {_what_is_left(left())}")
            print(f"{specification}: the scheduler is lost; waiting for it", flush=True)


def _run(client: "Client", task: Callable[..., None], tasks: Sequence[tuple], *, label: str) -> bool:
    """Run tasks; False if the scheduler was lost."""
    from distributed import KilledWorker, as_completed

    try:
        workers = len(client.ncores())
    except OSError:
        return False
    print(f"{label}: {len(tasks)} chunks, {f'{workers} workers' if workers else 'waiting for workers'}", flush=True)
    futures = [client.submit(task, *arguments, pure=False) for arguments in tasks]
    completed = as_completed(futures, loop=client.loop)
    del futures  # what is completed is forgotten, so that a worker lost later does not have to do it again
    try:
        for future in progress(completed, label=label, total=len(tasks)):
            if future.status == "error":
                future.result()
            elif future.status != "finished":  # the client cancels all when the connection ends
                return False
    except KilledWorker as error:
        raise ClusterError(
            f"{error.allowed_failures + 1} workers ended while they had the same chunk (out of memory?); give them "
            "more, and run the same command again: chunks that are done stay done"
        ) from error
    except ImportError as error:
        raise ClusterError(
            f"a worker cannot import {error.name}; install this workbook where the workers are"
        ) from error
    return True


@contextmanager
def _connected(specification: str) -> Iterator["Client"]:
    """A client of the scheduler that a specification names or starts."""
    from distributed import Client, LocalCluster

    if specification.startswith("tcp://"):
        try:
            client = Client(specification, set_as_default=False)
        except OSError as error:
            raise ClusterError(
                f"{specification}: no scheduler answers within {_SECONDS_FOR_A_SCHEDULER:.0f} s; start it (dask "
                "scheduler), and run the same command again: chunks that are done stay done"
            ) from error
        with client:
            yield client
        return
    if specification.startswith("local:"):
        options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
        options |= {"silence_logs": logging.CRITICAL}  # an error comes back to the client, which tells it in one line
        cluster = LocalCluster(n_workers=int(specification.partition(":")[2]), **options)
    else:
        cluster = _slurm_cluster(specification)
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def _slurm_cluster(specification: str) -> Any:
    """Jobs as a profile of dask-jobqueue says; one that ends at its time limit is submitted again."""
    from dask import config
    from dask_jobqueue import SLURMCluster

    _, profile, *jobs = specification.split(":")
    if config.get(f"jobqueue.{profile}", None) is None:
        known = ", ".join(sorted(config.get("jobqueue", {})))
        raise ClusterError(
            f"--cluster {specification}: no profile jobqueue.{profile} in {config.PATH}/*.yaml (there are {known}); "
            "docs/slurm.md shows one"
        )
    if shutil.which("sbatch") is None:
        raise ClusterError(
            f"--cluster {specification}: there is no sbatch here; run the command where jobs are submitted"
        )
    usual = config.get("jobqueue.slurm")  # for what the profile does not say; asked for again with each job
    config.set({f"jobqueue.{profile}": usual | config.get(f"jobqueue.{profile}")})
    try:
        cluster = SLURMCluster(config_name=profile)
    except ValueError as error:
        raise ClusterError(f"--cluster {specification}: jobqueue.{profile} makes no job: {error}") from error
    cluster.adapt(minimum_jobs=1, maximum_jobs=int(jobs[0]) if jobs else _SLURM_JOBS)
    return cluster


def _wait_for_results(specification: str, left: Callable[[], Sequence[tuple]]) -> None:
    """Wait until the results that workers have stored are seen here: network file systems take their time."""
    deadline = time.monotonic() + _SECONDS_TO_BE_SEEN
    while tasks := left():
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{specification}: its workers have finished, but {_what_is_left(tasks)}; the folder of the selection "
                "must be one that all machines see"
            )
        time.sleep(1)


def _what_is_left(tasks: Sequence[tuple]) -> str:
    return f"{len(tasks)} chunks are not here; run the same command again, and only they are computed"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of Dask's client, which tells at length what an error of ours says in one line."""
    loggers = [logging.getLogger(f"distributed.{name}") for name in ("client", "core", "comm", "nanny")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
