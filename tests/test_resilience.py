"""The workbook under attack: killed, interrupted, without room or permission, without its input, twice at once."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from helpers.errors import StorageError, WorkerDiedError
from helpers.experiment import AMOX34117
from helpers.figures import save_picture
from helpers.patterns.writing import write_stack
from helpers.system import one_thread_processes, save_tensors, write_text
from tests.kill_harness import Kill, Watched, attack, differences, leftovers
from tests.system.test_processes import eventually
from tests.workbook.test_runner import OPEN, write_notebook

COMMAND = """
import signal, sys
from pathlib import Path
from helpers.workbook import commands, runner
# a shell's background jobs ignore SIGINT, and so would their children
signal.signal(signal.SIGINT, signal.default_int_handler)
runner.run_workbook.__kwdefaults__["notebooks"] = Path(sys.argv.pop(1))
commands.main()
"""
LOOK = [
    OPEN,
    'import pandas as pd\nrun.save_table(pd.DataFrame({"n": [3]}), "table_look", caption="Sets.")',
]
TRAIN = [
    OPEN,
    """
import pandas as pd, torch
from helpers.annotation import Box
from helpers.patterns import open_stack
from helpers.training import Examples, Plan
from helpers.training import train_families
from helpers.family import Family
from helpers.training import TrainingSettings
""",
    """
settings = TrainingSettings(size=64, width=0.125, iterations=12, checkpoint_every=2, batch=4, learning_rate=0.01)
with open_stack(run.data) as stack:
    sets = pd.DataFrame({"pattern": range(16), "label": stack.table()["label"][:16] != 0, "set": "training"})
    sets.loc[12:, "set"] = "validation"
    examples = Examples.from_stack(stack, sets, Box(0, 80, 60, 180))
plans = {
    run.family(name).path: Plan(
        Family.from_name(name), examples, settings, consensus=[10, 12], threshold=0.24, device=torch.device("cpu")
    )
    for name in ("yolov2-jet-log", "yolov2-gray-linear")
}
trained = train_families(plans, processes=2)
""",
    'run.save_table(pd.concat([family.loss() for family in trained]), "table_losses", caption="Losses.")',
]
WAIT = [OPEN, "print('waiting', flush=True)\nimport time; time.sleep(600)"]

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """Two notebooks: one that is quick, one that trains two families in two worker processes."""
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(folder / "01_look.ipynb", "Look", LOOK, profile=["seed"], writes=["tables/table_look.csv"])
    writes = ["tables/table_losses.csv", "families/*/loss.csv", "families/*/checkpoints/*.safetensors"]
    write_notebook(folder / "02_train.ipynb", "Train", TRAIN, profile=["seed"], writes=writes)
    return folder


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A notebook that waits for ten minutes."""
    folder = tmp_path_factory.mktemp("waiting")
    write_notebook(folder / "01_wait.ipynb", "Wait", WAIT)
    return folder


def command(notebooks, results, data):
    return [sys.executable, "-c", COMMAND, notebooks, "run", "--data", data, "--results", results]


def run(*given):
    return subprocess.run([str(part) for part in command(*given)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, notebooks, twin):
    """The folder of a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    done = run(notebooks, folder, twin)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.whole
@needs_proc
def test_whoever_is_killed_the_same_command_goes_on_to_the_same_bytes(undisturbed, notebooks, twin, tmp_path):
    kills = [Kill("02_train", 0.9, "worker"), Kill("02_train", 0.8, "runner")]
    seconds = {"01_look": 1.0, "02_train": 6.0}
    outcome = attack(command(notebooks, tmp_path / "run", twin), seconds, kills, tmp_path)
    assert outcome.failures == []
    assert outcome.done == {"01_look", "02_train"}
    assert differences(tmp_path / "run", undisturbed) == []
    assert leftovers(tmp_path) == []


def watched(notebooks, results, data):
    """A run that has come to the cell that waits."""
    running = Watched(command(notebooks, results, data), results.parent)
    assert eventually(lambda: "waiting" in running.lines or running.process.poll() is not None)
    assert running.process.poll() is None, running.errors
    return running


@needs_proc
@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_run_within_five_seconds_with_one_line(waiting, twin, tmp_path, number, code, said):
    running = watched(waiting, tmp_path / "run", twin)
    began = time.monotonic()
    running.process.send_signal(number)
    assert running.process.wait(30) == code
    assert time.monotonic() - began < 5
    assert running.seconds_of_orphans() < 5
    running.close()
    assert [line for line in running.errors if line] == [f"workbook: {said}; the same command goes on from here"]
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "run" / ".01_wait.done").exists()


@needs_proc
def test_a_second_run_is_refused_and_names_the_first_which_a_killed_kernel_ends_with_one_line(waiting, twin, tmp_path):
    first = watched(waiting, tmp_path / "run", twin)
    second = run(waiting, tmp_path / "run", twin)
    assert second.returncode == 2
    who = rf"process {first.process.pid} on \S+ since [-\d]+ [:\d]+ \(.*--results.*\)"
    assert re.fullmatch(
        rf"workbook: {re.escape(str(tmp_path / 'run'))} is in use by {who}; wait until it ends, or end it\n",
        second.stderr,
    )
    assert first.process.poll() is None
    assert first.kill("kernel") == "kernel"
    assert first.process.wait(30) == 1
    first.close()
    executed = tmp_path / "run" / "01_wait.ipynb"
    why = f"01_wait failed: its kernel died, perhaps for want of memory. Open {executed}"
    assert first.errors == [f"{why}; the same command continues from here"]


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own: a function that mounts it with a size in MiB, or mounts it anew with other options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options, source="tmpfs"):
        how = ["-t", "tmpfs", "-o", options, source] if not os.path.ismount(place) else ["-o", f"remount,{options}"]
        done = subprocess.run(["mount", *how, place], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        return place

    try:
        mount("size=1m")
    except FileNotFoundError:
        pytest.skip("there is no command mount")
    yield mount
    subprocess.run(["umount", place], check=True)


def write_patterns(path):
    counts = np.random.default_rng(0).integers(0, 60000, (40, 128, 256), dtype=np.uint16)
    mask = np.zeros(counts.shape[1:], bool)
    table = pd.DataFrame({"event_id": np.arange(len(counts))})
    write_stack(path, counts, table=table, mask=mask, centre=(0, 3), experiment=AMOX34117, title="")


def write_tensors(path):
    save_tensors(path, {"weights": torch.rand(1_000_000)})


def draw(path):
    figure = Figure()
    figure.subplots().imshow(np.random.default_rng(0).random((800, 800)), interpolation="none")
    figure.set_size_inches(12, 12)
    save_picture(figure, path)


def write_long_text(path):
    write_text(path, "a" * 2_000_000)


WRITERS = {"a.cxi": write_patterns, "a.safetensors": write_tensors, "a.png": draw, "a.csv": write_long_text}


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_one_line_says_why(disk, name, write):
    path = disk("size=600k") / name
    path.write_text("old")
    with pytest.raises(StorageError) as caught:
        write(path)
    assert str(caught.value) == f"{path}: No space left on device; make room; the same command goes on from there"
    assert [entry.name for entry in path.parent.iterdir()] == [name]
    assert path.read_text() == "old"
    disk("size=20m")
    write(path)
    assert path.stat().st_size > 600_000


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
def test_in_a_read_only_folder_one_line_says_so(disk, name, write):
    path = disk("ro") / name
    with pytest.raises(StorageError) as caught:
        write(path)
    assert str(caught.value) == f"{path}: Read-only file system; make it writable, or choose another folder"


@pytest.mark.whole
def test_a_run_on_a_full_disk_goes_on_when_there_is_room(disk, undisturbed, notebooks, twin):
    folder = disk("size=4m") / "run"
    done = run(notebooks, folder, twin)
    assert done.returncode == 1
    assert "[1/2] 01_look: done in" in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("02_train")]
    assert len(lines) == 1
    assert re.search(r"StorageError: .*: No space left on device; make room", lines[0])
    assert "Traceback" not in done.stderr.replace(lines[0], "")
    assert leftovers(folder) == []
    disk("size=100m")
    done = run(notebooks, folder, twin)
    assert done.returncode == 0, done.stderr
    assert "01_look: up to date" in done.stdout
    assert differences(folder, undisturbed) == []


def test_a_run_that_has_no_room_from_the_start_or_no_permission_is_one_line(disk, notebooks, twin):
    folder = disk("size=64k")
    with pytest.raises(OSError, match="No space"):
        (folder / "filling").write_bytes(bytes(100_000))
    for options, said in (("size=64k", "No space left on device; make room"), ("ro", "Read-only file system; make it")):
        disk(options)
        done = run(notebooks, folder / "run", twin)
        assert done.returncode == 2
        assert re.fullmatch(rf"workbook: {re.escape(str(folder))}/run\S*: {said}.*\n", done.stderr)


@pytest.mark.whole
@needs_proc
def test_an_input_that_vanishes_is_one_line_and_put_back_the_run_goes_on(twin, tmp_path):
    data = tmp_path / twin.name
    data.write_bytes(twin.read_bytes())
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "01_look.ipynb", "Look", LOOK, writes=["tables/table_look.csv"])
    running = Watched(command(tmp_path / "notebooks", tmp_path / "run", data), tmp_path)
    assert running.wait_for(["01_look"])
    data.rename(tmp_path / "away")
    assert running.process.wait(60) in (1, 2)
    running.close()
    assert len([line for line in running.errors if str(data) in line or "no such file" in line]) == 1
    assert not any("Traceback" in line for line in running.errors)
    (tmp_path / "away").rename(data)
    done = run(tmp_path / "notebooks", tmp_path / "run", data)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "tables" / "table_look.csv").read_text() == "n\n3\n"


def test_a_killed_worker_is_one_line():
    with pytest.raises(WorkerDiedError, match="a worker process was killed"), one_thread_processes(1) as pool:
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()


SIMULATE = [sys.executable, "-m", "helpers", "simulate", "out.cxi", "--patterns", "3000"]


MOMENTS = np.linspace(0.05, 3.0, 60).round(2)
"""After the file was begun [s]: the workers start, then patterns are written."""


@needs_proc
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("pause", [0.5, 1.4])
def test_a_signal_to_all_that_simulate_is_one_line_and_leaves_nothing(tmp_path, number, code, pause):
    check_signal(tmp_path, number, code, pause)


@needs_proc
@pytest.mark.whole
@pytest.mark.parametrize("pause", MOMENTS)
def test_sigterm_to_all_that_simulate_is_one_line_at_any_moment(tmp_path, pause):
    check_signal(tmp_path, signal.SIGTERM, 143, pause)


def check_signal(tmp_path, number, code, pause):
    process = subprocess.Popen(SIMULATE, cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0)
    assert eventually(lambda: list(tmp_path.glob(".out.cxi.*.partial")))
    time.sleep(pause)
    began = time.monotonic()
    os.killpg(process.pid, number)  # as a terminal does
    _, error = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == code
    assert len(error.split("\n")) == 3
    assert "the same command goes on from here" in error
    assert list(tmp_path.iterdir()) == []
