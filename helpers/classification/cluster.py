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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from helpers.errors import ClusterError
from helpers.system import in_short, progress

if TYPE_CHECKING:
    from distributed import Client

_SPECIFICATION = re.compile(r"local:(?P<local>[1-9]\d*)|slurm:(?P<slurm>[\w.-]+)(:(?P<jobs>[1-9]\d*))?|tcp://.+:\d+")
_SLURM_JOBS = 8
_SECONDS_FOR_A_SCHEDULER = 60.0
_SECONDS_TO_BE_SEEN = 120.0
_AGAIN = "run the same command again: chunks that are done stay done"


def check_cluster(specification: str) -> None:
    """Refuse with a ClusterError what cannot be a cluster, or Dask that is not installed, before any work is done.

    "local:4": four processes of one thread each on this machine. "slurm:PROFILE" or "slurm:PROFILE:JOBS": jobs as a
    profile of dask-jobqueue says (`jobqueue.PROFILE` in ~/.config/dask/*.yaml), at most 8 or JOBS at a time.
    "tcp://HOST:PORT": the workers of a scheduler that runs already.
    """
    if not (match := _SPECIFICATION.fullmatch(specification)):
        raise ClusterError(f"--cluster {specification}: is not local:4, slurm:PROFILE[:JOBS] or tcp://HOST:PORT")
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
    """Run tasks on the workers of a cluster (as `check_cluster` takes it); one whose worker is lost goes to another.

    `task` is a function of a module; it stores its own result, and may be run twice. `left` gives the arguments of each
    task whose result is not there; it is asked before and after the work. What a task raises ends the work; a
    ClusterError says that the scheduler is lost, that tasks end their workers, or that results do not arrive.
    """
    logging.disable(logging.CRITICAL)  # Dask tells at length what an error of ours says in one line
    try:
        with _connected(specification) as client:
            tasks = left()
            print(f"{label}: {len(tasks)} chunks on {specification}", flush=True)
            _run(client, specification, task, tasks, label=label)
    finally:
        logging.disable(logging.NOTSET)
    _wait_for_results(specification, left)


def _run(
    client: "Client", specification: str, task: Callable[..., None], tasks: Sequence[tuple], *, label: str
) -> None:
    """Run tasks until all are done."""
    from distributed import KilledWorker, as_completed
    from distributed.comm import CommClosedError

    try:
        # nobody holds what is completed, so that a worker that is lost later does not have to do it again
        completed = as_completed(client.map(task, *zip(*tasks, strict=True), pure=False), loop=client.loop)
        for future in progress(completed, label=label, total=len(tasks)):
            future.result()
    except KilledWorker as error:
        number = error.allowed_failures + 1
        raise ClusterError(
            f"{number} workers ended while they had the same chunk (out of memory?); give them more, and {_AGAIN}"
        ) from error
    except (CancelledError, CommClosedError) as error:  # the client cancels all, unless it was just fetching a result
        raise ClusterError(f"{specification}: the scheduler is lost; start it anew, and {_AGAIN}") from error


@contextmanager
def _connected(specification: str) -> Iterator["Client"]:
    """A client of the scheduler that a specification names or starts."""
    from distributed import Client

    with _scheduler(specification) as scheduler:
        try:
            client = Client(scheduler, timeout=_SECONDS_FOR_A_SCHEDULER, set_as_default=False)
        except OSError as error:
            wait = f"{_SECONDS_FOR_A_SCHEDULER:.0f} s"
            raise ClusterError(
                f"{specification}: no scheduler answers within {wait}; start it (dask scheduler), and {_AGAIN}"
            ) from error
        with client:
            yield client


def _scheduler(specification: str) -> AbstractContextManager:
    """The address of a scheduler that runs already, or a cluster of Dask's that ends with the block."""
    from distributed import LocalCluster

    kind, name, *jobs = specification.split(":")
    if kind == "tcp":
        return nullcontext(specification)
    if kind == "slurm":
        return _slurm_cluster(name, int(jobs[0]) if jobs else _SLURM_JOBS)
    options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": ":0"}
    return LocalCluster(n_workers=int(name), silence_logs=logging.CRITICAL, **options)


def _slurm_cluster(profile: str, jobs: int) -> Any:
    """Jobs as a profile of dask-jobqueue says; one that ends at its time limit is submitted again."""
    from dask import config
    from dask_jobqueue import SLURMCluster

    if shutil.which("sbatch") is None:
        raise ClusterError("--cluster slurm: there is no sbatch here; run the command where jobs are submitted")
    try:
        # the usual is for what the profile does not say; it is asked for again with each job
        config.set({f"jobqueue.{profile}": config.get("jobqueue.slurm") | config.get(f"jobqueue.{profile}")})
        cluster = SLURMCluster(config_name=profile)
    except (KeyError, TypeError, ValueError) as error:
        raise ClusterError(
            f"--cluster slurm:{profile}: no profile jobqueue.{profile} that makes a job in {config.PATH}/*.yaml "
            f"({in_short(repr(error))}); docs/slurm.md shows one"
        ) from error
    cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
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
