import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest

from helpers.errors import LockedError
from helpers.system import locked
from tests.system.test_processes import eventually, runs

HOLD = """
    import subprocess, sys, time
    from pathlib import Path
    from helpers.system import locked
    folder = Path(sys.argv[1])
    with locked(folder, folder / ".lock"):
        {within}
"""
CHILD = "import time; from helpers.system import share_lock; share_lock(); print('shares', flush=True); time.sleep({})"


@contextmanager
def holding(folder, within, *more):
    """A process that holds the lock of a folder, and its first line; killed at the end, if not before."""
    code = textwrap.dedent(HOLD.format(within=within))
    command = [sys.executable, "-c", code, folder, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            yield holder, holder.stdout.readline().strip()
        finally:
            holder.kill()


def kill(holder):
    holder.kill()
    holder.wait()


WAIT = "print('holds', flush=True); time.sleep(60)"


def test_the_error_names_who_holds_it(tmp_path):
    with holding(tmp_path, WAIT, "more words") as (holder, _), pytest.raises(LockedError) as caught:
        locked(tmp_path, tmp_path / ".lock").__enter__()
    who = rf"process {holder.pid} on \S+ since [-\d]+ [:\d]+ \(-c .*'more words'\)"
    assert re.match(rf"{re.escape(str(tmp_path))} is in use by {who}; wait until", str(caught.value))


def test_a_killed_holder_holds_nothing_and_a_lock_leaves_no_file(tmp_path):
    with holding(tmp_path, WAIT) as (holder, _):
        kill(holder)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".lock.children"}
    with locked(tmp_path, tmp_path / ".lock"):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_a_lock_has_made_stays_only_if_something_came_into_it(tmp_path):
    for name in ("empty", "used"):
        with locked(tmp_path / name, tmp_path / name / ".lock"):
            if name == "used":
                (tmp_path / name / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_who_comes_after_a_killed_holder_waits_for_its_children(tmp_path):
    spawn = f"subprocess.Popen([sys.executable, '-c', {CHILD.format(2)!r}]); time.sleep(60)"
    with holding(tmp_path, spawn) as (holder, line):
        assert line == "shares"
        kill(holder)
        began = time.monotonic()
        with locked(tmp_path, tmp_path / ".lock"):
            assert time.monotonic() - began > 1


def test_children_that_do_not_end_keep_others_out(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.system.lock._SECONDS_FOR_CHILDREN", 0.3)
    spawn = f"print(subprocess.Popen([sys.executable, '-c', {CHILD.format(60)!r}]).pid, flush=True); time.sleep(60)"
    with holding(tmp_path, spawn) as (holder, child):
        assert holder.stdout.readline() == "shares\n"
        kill(holder)
        with pytest.raises(LockedError, match="processes that a killed one has left"):
            locked(tmp_path, tmp_path / ".lock").__enter__()
        os.kill(int(child), signal.SIGKILL)
    assert eventually(lambda: not runs(int(child)))
    with locked(tmp_path, tmp_path / ".lock"):
        pass


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, capsys):
    def refuse(descriptor, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path, tmp_path / ".lock"):
        pass
    assert (
        "has no locks (Operation not supported), so nothing stops a second run; start only one"
        in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())
