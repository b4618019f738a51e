import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from helpers.errors import WorkerDiedError
from helpers.system import cores, one_thread_processes


def threads_of_torch():
    import torch

    return torch.get_num_threads()


def mark_and_wait(path):
    """Leave the number of this process in a file, then wait for longer than any test."""
    path.write_text(str(os.getpid()))
    time.sleep(600)


def runs(process):
    """Whether a process is there and not only waiting to be buried."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_results_come_from_other_processes_with_one_thread():
    with one_thread_processes(2) as pool:
        numbers = {pool.submit(os.getpid).result() for _ in range(20)}
        assert os.getpid() not in numbers
        assert pool.submit(threads_of_torch).result() == 1


def own_variable():
    return os.getpid(), os.environ["WORKBOOK_TEST_GPU"]


def speak(name):
    for number in range(200):
        print(name, number)


def test_whole_lines_of_all_are_printed_where_the_parent_prints(capfd):
    with one_thread_processes(2) as pool:
        list(pool.map(speak, ("one", "two")))
    lines = capfd.readouterr().out.splitlines()
    for name in ("one", "two"):
        assert [line for line in lines if line.startswith(name)] == [f"{name} {number}" for number in range(200)]
    assert len(lines) == 400


def test_the_environment_is_as_it_was(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with one_thread_processes(1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


def test_an_error_in_the_block_ends_the_processes_at_once(tmp_path):
    def interrupted():
        with one_thread_processes(1) as pool:
            pool.submit(mark_and_wait, tmp_path / "process")
            assert eventually((tmp_path / "process").exists)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 60


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
def test_processes_do_not_outlive_a_killed_parent(tmp_path):
    code = f"""
        from pathlib import Path
        from helpers.system import one_thread_processes
        from tests.system.test_processes import mark_and_wait
        if __name__ == "__main__":
            with one_thread_processes(1) as pool:
                pool.submit(mark_and_wait, Path({str(tmp_path / "process")!r})).result()
    """
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(code))
    parent = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    mark = tmp_path / "process"
    assert eventually(lambda: mark.exists() and mark.read_text())
    assert runs(child := int(mark.read_text()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert eventually(lambda: not runs(child))


def test_there_is_a_core():
    assert cores() >= 1


def test_each_process_has_an_environment_of_its_own():
    environments = [{"WORKBOOK_TEST_GPU": name} for name in ("3", "GPU-8f")]
    with one_thread_processes(2, environments=environments) as pool:
        found = {pool.submit(own_variable).result() for _ in range(20)}
    assert {name for _, name in found} <= {"3", "GPU-8f"}
    assert len({process for process, _ in found}) == len({name for _, name in found})
    assert "WORKBOOK_TEST_GPU" not in os.environ


def die_while_sending():
    """Send half of the result, then die, as a process does that is killed for want of memory just then."""
    from multiprocessing.connection import Connection

    def half(connection, message, write=None):
        os.write(connection.fileno(), bytes(message[: len(message) // 2]))
        os.kill(os.getpid(), signal.SIGKILL)

    Connection._send = half
    return bytes(1000)


def test_a_process_that_dies_while_it_sends_a_result_is_noticed():
    began = time.monotonic()
    with pytest.raises(WorkerDiedError, match="a worker process was killed"), one_thread_processes(2) as pool:
        pool.submit(die_while_sending).result()
    assert time.monotonic() - began < 30


def test_an_error_while_a_process_dies_sending_is_raised():
    def interrupted():
        with one_thread_processes(1) as pool:
            pool.submit(die_while_sending)
            time.sleep(3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
