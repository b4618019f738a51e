"""Tasks on many machines, by Dask: on processes of this machine, by SLURM, or with a scheduler that runs already.

Dask is an extra (`pip install "single-hit-workbook[cluster]"`) and only makes it faster: a task stores its own result,
so that after a loss the same command computes what is left.
"""

import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
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
_AGAIN = "run the same command again: chunks that are done stay done"


def check_cluster(specification: str) -> None:
    """Refuse what cannot be a cluster, before any work is done.

    Parameters
    ----------
    specification
        "local:4": four processes of one thread each on this machine. "slurm:PROFILE" or "slurm:PROFILE:JOBS": jobs as a
        profile of dask-jobqueue says (`jobqueue.PROFILE` in ~/.config/dask/*.yaml), at most 8 or JOBS at a time.
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
    """Run tasks on the workers of a cluster; a task whose worker is lost goes to another one.

    Parameters
    ----------
    specification
        The cluster, as `check_cluster` takes it.
    task
        Function of a module; it stores its own result, and may be run twice.
    left
        Gives the arguments of each task whose result is not there; asked before and after the work.
    label
        Name of the work, for its progress.

    Raises
    ------
    ClusterError
        If there is no scheduler or it is lost, if tasks end their workers, or if results do not arrive.
    WorkbookError
        What a task raises; no more tasks are begun then.
    """
    with _quiet(), _connected(specification) as client:
        tasks = left()
        print(f"{label}: {len(tasks)} chunks on {specification}", flush=True)
        _run(client, specification, task, tasks, label=label)
    _wait_for_results(specification, left)


def _run(
    client: "Client", specification: str, task: Callable[..., None], tasks: Sequence[tuple], *, label: str
) -> None:
    """Run tasks until all are done."""
    from distributed import KilledWorker, as_completed

    try:
        # nobody holds what is completed, so that a worker that is lost later does not have to do it again
        completed = as_completed(client.map(task, *zip(*tasks, strict=True), pure=False), loop=client.loop)
        for future in progress(completed, label=label, total=len(tasks)):
            future.result()
    except KilledWorker as error:
        raise ClusterError(
            f"{error.allowed_failures + 1} workers ended while they had the same chunk (out of memory?); give them "
            f"more, and {_AGAIN}"
        ) from error
    except ImportError as error:
        raise ClusterError(
            f"a worker cannot import {error.name}; install this workbook where the workers are"
        ) from error
    except CancelledError as error:  # Dask's client cancels all when the connection ends
        raise ClusterError(f"{specification}: the scheduler is lost; start it anew, and {_AGAIN}") from error


@contextmanager
def _connected(specification: str) -> Iterator["Client"]:
    """A client of the scheduler that a specification names or starts."""
    from distributed import Client, LocalCluster

    if specification.startswith("tcp://"):
        try:
            client = Client(specification, timeout=_SECONDS_FOR_A_SCHEDULER, set_as_default=False)
        except OSError as error:
            raise ClusterError(
                f"{specification}: no scheduler answers within {_SECONDS_FOR_A_SCHEDULER:.0f} s; start it (dask "
                f"scheduler), and {_AGAIN}"
            ) from error
        with client:
            yield client
        return
    if specification.startswith("local:"):
        options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": ":0"}
        cluster = LocalCluster(n_workers=int(specification[6:]), silence_logs=logging.CRITICAL, **options)
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
                f"{specification}: its workers have finished, but {len(tasks)} chunks are not here; the folder of the "
                "selection must be one that all machines see"
            )
        time.sleep(1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the logs of Dask, which tell at length what an error of ours says in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
