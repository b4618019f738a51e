"""Real schedulers, workers and clients, some of which are killed; only SLURM is a stand-in that starts processes."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import h5py
import numpy as np
import pandas as pd
import pytest

from helpers.classification.chunks import ChunkFolder
from helpers.classification.cluster import check_cluster, compute_on_cluster
from helpers.errors import ClusterError
from helpers.patterns import open_stack

CHUNKS = 8
SECONDS = 240  # for what takes ten on a machine with nothing else to do

SBATCH = """#!{python}
import subprocess, sys
script = open(sys.argv[-1]).read()
with open({folder!r} + "/submitted", "a") as log:
    log.write(script)
quiet = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
job = subprocess.Popen(["bash", "-c", script], start_new_session=True, **quiet)
print("Submitted batch job", job.pid)
"""
SCANCEL = """#!{python}
import os, signal, sys
with open({folder!r} + "/cancelled", "a") as log:
    log.write(sys.argv[-1] + "\\n")
try:
    os.killpg(int(sys.argv[-1]), signal.SIGKILL)
except ProcessLookupError:
    pass
"""
PROFILE = """jobqueue:
  small:
    cores: 1
    memory: 2GB
    processes: 1
    job-extra-directives: ["--gres=gpu:1"]
    worker-extra-args: ["--no-dashboard"]
    scheduler-options: {dashboard_address: ":0", host: 127.0.0.1}
"""


@pytest.fixture
def environment(tmp_path):
    """Dask writes nothing into the home folder, and no library starts threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "DASK_CONFIG": str(tmp_path / "dask"), "TMPDIR": str(tmp_path)}


@pytest.fixture
def started(environment):
    """Start processes; those that still run are killed at the end."""
    processes = []

    def start(*arguments, **options):
        command = [sys.executable, *map(str, arguments)]
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True, **options}
        processes.append(subprocess.Popen(command, env=environment, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(path, model, output, cluster):
    return [
        "-W",
        "error",
        "-m",
        "helpers",
        "classify",
        path,
        "--model",
        model,
        "--output",
        output,
        "--cluster",
        cluster,
    ]


def eventually(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def finished(output):
    return [path for path in ChunkFolder.beside(output).path.glob("*.npz") if not path.name.startswith(".")]


@contextmanager
def at_least_done(output, process, chunks):
    """When so many chunks are there, and the client still runs, do the block."""
    eventually(lambda: len(finished(output)) >= chunks or process.poll() is not None)
    assert process.poll() is None
    yield


@pytest.mark.whole
def test_a_killed_worker_and_a_killed_scheduler_lose_and_double_no_pattern(started, many, model, plain, tmp_path):
    output, port = tmp_path / "selection.csv", free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    worker = ["-m", "distributed.cli.dask_worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    first_scheduler = started(*scheduler)
    workers = [started(*worker), started(*worker)]
    client = started(*command(many, model, output, address), **piped)
    with at_least_done(output, client, 1):
        workers[0].send_signal(signal.SIGKILL)
    before = len(finished(output))
    with at_least_done(output, client, before + 1):
        first_scheduler.send_signal(signal.SIGKILL)
        first_scheduler.wait()
    _, errors = client.communicate(timeout=SECONDS)
    again = "the scheduler is lost; start it anew, and run the same command again: chunks that are done stay done"
    assert (client.returncode, errors) == (2, f"workbook: {address}: {again}\n")
    eventually(lambda: workers[1].poll() is not None)  # without its scheduler, a worker ends
    done = {path: path.read_bytes() for path in finished(output)}
    assert 2 <= len(done) < CHUNKS
    started(*scheduler)
    started(*worker)
    client = started(*command(many, model, output, address), **piped)
    said, errors = client.communicate(timeout=SECONDS)
    assert client.returncode == 0, errors
    assert f"{len(done)} of {CHUNKS} chunks are there; going on with the others" in said
    assert f"{CHUNKS - len(done)} chunks on {address}" in said
    table = pd.read_csv(output)
    assert table["index"].tolist() == list(range(CHUNKS * 256))
    pd.testing.assert_frame_equal(table, plain, check_exact=True)
    assert not ChunkFolder.beside(output).path.exists()


@pytest.mark.whole
def test_processes_of_this_machine_give_the_same_scores_and_an_error_of_theirs_is_one_line(
    started, many, model, plain, twin, tmp_path
):
    output = tmp_path / "selection.csv"
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    client = started(*command(many, model, output, "local:2"), **piped)
    said, errors = client.communicate(timeout=SECONDS)
    assert client.returncode == 0, errors
    assert "8 chunks on local:2" in said
    pd.testing.assert_frame_equal(pd.read_csv(output), plain, check_exact=True)

    with open_stack(twin) as stack:
        counts = stack.read(slice(None))
    counts[30, 100, 200] = np.nan
    with h5py.File(tmp_path / "bad.cxi", "w") as file:
        file["entry_1/data_1/data"] = counts
    client = started(*command(tmp_path / "bad.cxi", model, tmp_path / "bad.csv", "local:1"), **piped)
    _, errors = client.communicate(timeout=SECONDS)
    assert client.returncode == 2
    assert errors.startswith("workbook: ")
    assert errors.count("\n") == 1
    assert "entry_1/data_1/data has 1 NaN or infinite values" in errors
    assert not (tmp_path / "bad.csv").exists()


def test_slurm_jobs_are_submitted_as_the_profile_says_and_cancelled(started, environment, model, twin, tmp_path):
    """The stand-in for SLURM runs the script that it is given, which is that of dask-jobqueue."""
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text.format(python=sys.executable, folder=str(tmp_path)))
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "jobqueue.yaml").write_text(PROFILE)
    environment["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    client = started(*command(twin, model, tmp_path / "a.csv", "slurm:small:1"), **piped)
    said, errors = client.communicate(timeout=SECONDS)
    assert client.returncode == 0, errors
    assert "44 patterns" in said
    assert len(pd.read_csv(tmp_path / "a.csv")) == 44
    submitted = (tmp_path / "submitted").read_text()
    assert "#SBATCH --gres=gpu:1" in submitted
    assert "--no-dashboard" in submitted
    assert (tmp_path / "cancelled").read_text().strip().isdecimal()
    client = started(*command(twin, model, tmp_path / "b.csv", "slurm:large"), **piped)
    _, errors = client.communicate(timeout=SECONDS)
    assert client.returncode == 2
    assert "no profile jobqueue.large" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "specification", ["", "local", "local:0", "local:x", "slurm:", "slurm:a:0", "tcp://host", "host:1", "dask"]
)
def test_what_is_no_cluster_is_refused(specification):
    with pytest.raises(ClusterError, match=r"is not local:4, slurm:PROFILE\[:JOBS\] or tcp://HOST:PORT"):
        check_cluster(specification)


@pytest.mark.parametrize(
    ("specification", "missing"), [("local:2", "distributed"), ("slurm:gpu", "dask_jobqueue"), ("tcp://a:1", "dask")]
)
def test_without_dask_one_line_says_what_to_install(monkeypatch, specification, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    for name in [name for name in sys.modules if name.split(".")[0] == "distributed" != missing]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ClusterError, match=re.escape('pip install "single-hit-workbook[cluster]"')):
        check_cluster(specification)


def test_a_scheduler_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr("helpers.classification.cluster._SECONDS_FOR_A_SCHEDULER", 0.5)
    with pytest.raises(ClusterError, match=r"no scheduler answers within 0 s; start it") as error:
        compute_on_cluster(f"tcp://127.0.0.1:{free_port()}", print, lambda: [("never",)], label="printing")
    assert "\n" not in str(error.value)


def nothing(path):
    """A task that does not store its result where the client looks for it."""
    shutil.copy(path, path.with_name("elsewhere"))


def test_results_that_do_not_arrive_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr("helpers.classification.cluster._SECONDS_TO_BE_SEEN", 0.1)
    (tmp_path / "a").touch()
    with pytest.raises(ClusterError, match="finished, but 1 chunks are not here"):
        compute_on_cluster("local:1", nothing, lambda: [(tmp_path / "a",)], label="copying")
    assert (tmp_path / "elsewhere").exists()


def end(_):
    os._exit(1)


def test_tasks_that_end_their_workers_are_told(tmp_path):
    with pytest.raises(ClusterError, match="4 workers ended while they had the same chunk"):
        compute_on_cluster("local:1", end, lambda: [(1,)], label="ending")
