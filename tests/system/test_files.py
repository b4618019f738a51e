import errno
import os
import subprocess

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.system import (
    delete_leftovers,
    explained,
    partial_beside,
    read_exact_csv,
    sha256,
    write_csv,
    write_text,
    written_whole,
)


def test_a_written_file_is_whole_and_its_folder_is_made(tmp_path):
    with written_whole(tmp_path / "deep" / "file.bin") as partial:
        partial.write_bytes(b"12345")
        assert not (tmp_path / "deep" / "file.bin").exists()
    assert (tmp_path / "deep" / "file.bin").read_bytes() == b"12345"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.bin"]


def fail_half_way(path):
    with written_whole(path) as partial:
        partial.write_text("new, but hal")
        raise OSError("disk full")


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="disk full"):
        fail_half_way(path)
    assert [name.name for name in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_text() == "old"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_csv_keeps_every_digit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    write_csv(path, pd.DataFrame({"value": values}))
    back = read_exact_csv(path)["value"]
    assert back.tolist() == values


def test_sha256_of_the_standard_example(tmp_path):
    write_text(tmp_path / "abc", "abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def gone():
    """Number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def test_leftovers_of_ended_processes_are_deleted_and_no_others(tmp_path):
    own = partial_beside(tmp_path / "a.csv").name
    ended, alive = (own.replace(f".{os.getpid()}@", f".{process}@") for process in (gone(), os.getppid()))
    kept = {alive, own, ended.replace("@", "@other-"), ".a.csv.partial", "a.csv.partial", "a.csv", ended[1:]}
    for name in [*kept, ended, f"{ended}.ipynb"]:
        (tmp_path / name).touch()
    delete_leftovers(tmp_path.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_the_first_write_to_a_folder_deletes_what_a_killed_process_has_left_there(tmp_path):
    left = partial_beside(tmp_path / "a.csv")
    left = left.with_name(left.name.replace(f".{os.getpid()}@", f".{gone()}@"))
    left.write_text("hal")
    write_text(tmp_path / "a.csv", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "", "/a"), "/a: No space left on device; make room"),
        (OSError(errno.EROFS, "", b"/a"), "/a: Read-only file system; make it writable"),
        (
            RuntimeError("Can't decrement id ref count (file write failed: errno = 28, error message = 'No space')"),
            None,
        ),
        (OSError("Can't write data (file write failed: errno = 28, ...)"), None),
        (OSError("no number"), None),
        (BrokenPipeError(errno.EPIPE, "", "/a"), None),
    ],
)
def test_what_the_system_refuses_is_a_line(error, told):
    line = explained(error)
    assert (line and line.split(";")[0]) == (told and told.split(";")[0])
    if "errno = 28" in str(error):
        assert explained(error, "/b") == "/b: No space left on device; make room; the same command goes on from there"


def test_an_input_that_is_missing_is_not_taken_for_the_output(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.txt"), written_whole(tmp_path / "a") as partial:
        partial.write_bytes((tmp_path / "none.txt").read_bytes())
