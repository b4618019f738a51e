import os
import re
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest

from helpers.errors import LockedError
from helpers.system import locked

HOLD = """
    import subprocess, sys, time
    from pathlib import Path
    from helpers.system import locked
    folder = Path(sys.argv[1])
    with locked(folder, folder / ".lock"):
        {within}
"""


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
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".lock.holder"}
    with locked(tmp_path, tmp_path / ".lock"):
        assert str(os.getpid()) in (tmp_path / ".lock.holder").read_text()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_a_lock_has_made_stays_only_if_something_came_into_it(tmp_path):
    for name in ("empty", "used"):
        with locked(tmp_path / name, tmp_path / name / ".lock"):
            if name == "used":
                (tmp_path / name / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_text_of_anybody_is_one_line_in_the_error(tmp_path):
    with holding(tmp_path, WAIT):
        (tmp_path / ".lock.holder").write_bytes(b"me\n\x1b[2J\xff")
        with pytest.raises(LockedError, match=r"is in use by me  \[2J\S; wait until"):
            locked(tmp_path, tmp_path / ".lock").__enter__()
        (tmp_path / ".lock.holder").unlink()
        with pytest.raises(LockedError, match="is in use by another process; wait until"):
            locked(tmp_path, tmp_path / ".lock").__enter__()


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
