"""New patterns of files that are written by another process: each once, whatever happens to the writer."""

import os
import re
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import h5py
import numpy as np
import pandas as pd
import pytest

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.patterns import Following, ReadOptions, open_stack
from helpers.patterns.growing.following import CHANGING_S, RETRY_S, SETTLED_S, Known
from helpers.patterns.growing.growing_stack import (
    IDS_LATE_S,
    GrowingStack,
    written_patterns,
)
from helpers.patterns.hdf5.unopened import is_locked, is_written_with_swmr
from helpers.patterns.writing import write_stack
from helpers.simulation import beamline

PATIENCE_S = 60


def counts_of(number, first=1, shape=(4, 6)):
    """Patterns that differ: pattern n has n + first photons in one pixel."""
    counts = np.zeros((number, *shape), np.uint16)
    counts[:, 1, 2] = np.arange(number) + first
    return counts


def write_whole(path, counts, ids=None):
    table = pd.DataFrame({"event_id": np.arange(len(counts)) if ids is None else ids})
    given = {"mask": np.zeros(counts.shape[1:], bool), "centre": (0, 3), "experiment": AMOX34117}
    write_stack(path, counts, table=table, **given)
    return path


@contextmanager
def following_patterns(where, most=7, check=lambda stack: None, known=None, **given):
    with closing(Following(where, most=most, check=check, known=known or {}, **given)) as following:
        yield following


def drained(following, wanted):
    """New patterns, each with its file's batch, until there are so many."""
    found, end = [], time.monotonic() + PATIENCE_S
    while len(found) < wanted and time.monotonic() < end:
        new = following.take()
        if new is None:
            time.sleep(following.pause)
            continue
        found += [(new, pattern) for pattern in new.patterns]
    return found


def nothing_new(following, seconds):
    """Look for so long, and find nothing."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert following.take() is None
        time.sleep(following.pause)
    return True


def settled(path, seconds=10.0):
    """A file that was changed some time ago."""
    changed = time.time() - seconds
    os.utime(path, (changed, changed))
    return path


def named(found):
    return [(new.path.name, int(pattern)) for new, pattern in found]


@contextmanager
def other_process(code, *arguments):
    """Python in a process of its own that has said READY."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().strip() == "READY"
        yield process
    finally:
        process.kill()
        process.communicate()


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_every_pattern_of_a_growing_file_is_given_once_with_its_id(twin, tmp_path):
    with open_stack(twin) as stack:
        source = stack.read(slice(None))
    with (
        beamline(twin, tmp_path / "live.cxi", rate=200, shots=150) as writer,
        following_patterns(tmp_path / "live.cxi") as following,
    ):
        found = drained(following, 150)
        assert writer.wait(PATIENCE_S) == 0
        assert following.take() is None
        assert not following.is_live
        assert nothing_new(following, 1.5 * SETTLED_S)
    assert named(found) == [("live.cxi", pattern) for pattern in range(150)]
    batches = list(dict.fromkeys(new for new, _ in found))
    assert [event_id for new in batches for event_id in new.event_ids] == list(map(str, range(150)))
    read = np.concatenate([new.counts for new in batches])
    np.testing.assert_array_equal(read, source[np.arange(150) % len(source)])


def test_the_last_pattern_of_a_writer_that_ends_is_not_waited_for(tmp_path):
    path = tmp_path / "a.cxi"
    with other_process(LATE_IDS, path, "end") as writer, following_patterns(path) as following:
        assert len(drained(following, 2)) == 2
        assert following.take() is None
        writer.communicate("\n")
        began = time.monotonic()
        (last,) = drained(following, 1)
        assert time.monotonic() - began < 0.5 * IDS_LATE_S
        assert last[0].event_ids == [""]


def test_a_writer_that_is_killed_and_comes_back_is_followed_on(twin, tmp_path):
    path = tmp_path / "live.cxi"
    with following_patterns(path) as following:
        with beamline(twin, path, rate=100, shots=10_000) as process:
            before = drained(following, 30)
            process.kill()  # SIGKILL
            process.wait()
        while (new := following.take()) is not None:
            before += [(new, pattern) for pattern in new.patterns]
        assert is_written_with_swmr(path)
        with h5py.File(path, "r", swmr=True, locking=False) as file:
            kept = len(file["entry_1/image_1/event_id"])
        with beamline(twin, path, rate=100, shots=25):
            after = drained(following, kept + 25 - len(before))
    assert named(before + after) == [("live.cxi", pattern) for pattern in range(kept + 25)]


def test_a_file_that_is_followed_is_never_locked(twin, tmp_path):
    path = tmp_path / "live.cxi"
    with beamline(twin, path, rate=100, shots=20), following_patterns(path) as following:
        drained(following, 20)
        with other_process(
            "import fcntl, sys\nstream = open(sys.argv[1], 'r+b')\n"
            "fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)\nprint('READY', flush=True)\nsys.stdin.read()",
            path,
        ):
            assert is_locked(path)


def test_a_finished_file_that_becomes_longer_is_read_on_and_another_recording_is_refused(tmp_path):
    path = settled(write_whole(tmp_path / "a.cxi", counts_of(5)))
    with following_patterns(path) as following:
        assert named(drained(following, 5)) == [("a.cxi", pattern) for pattern in range(5)]
        settled(write_whole(path, counts_of(7)))
        more = drained(following, 2)
        settled(write_whole(path, counts_of(3)))
        assert nothing_new(following, 0.3)
        assert following.problems == {str(path): "holds 3 patterns, and 7 were read before"}
        settled(write_whole(path, counts_of(9, first=50), ids=np.arange(9) + 100))
        assert nothing_new(following, 1.5 * RETRY_S)
        (problem,) = following.problems.values()
        assert "another recording than the one that was read before (pattern 6 is event 106, was 6)" in problem
    assert named(more) == [("a.cxi", 5), ("a.cxi", 6)]


def test_what_an_earlier_run_has_read_is_not_read_again(tmp_path):
    for name in ("a.cxi", "b.cxi"):
        settled(write_whole(tmp_path / name, counts_of(4)))
    known = {str(tmp_path / "a.cxi"): Known(4, "3"), str(tmp_path / "b.cxi"): Known(1, "0")}
    with following_patterns(tmp_path, known=known) as following:
        assert named(drained(following, 3)) == [("b.cxi", pattern) for pattern in (1, 2, 3)]
        assert nothing_new(following, 0.3)


@pytest.mark.parametrize("where", ["folder", "pattern"])
def test_files_that_appear_one_by_one_are_read_when_they_are_finished(tmp_path, where):
    folder = tmp_path / "run_17"
    with following_patterns(folder if where == "folder" else folder / "*.cxi", most=3) as following:
        assert following.take() is None
        folder.mkdir()
        (folder / "notes.txt").write_text("no patterns")
        for number in range(3):
            settled(write_whole(folder / f"b_{2 - number}.cxi", counts_of(4, first=10 * number + 1)), 100 - number)
        write_whole(folder / "c.cxi", counts_of(4))
        assert following.take() is not None
        assert (following.waiting, following.files_waiting) == (1, 2)
        found = drained(following, 13)
    assert named(found) == [("b_2.cxi", 3), *[(f"{file}.cxi", n) for file in ("b_1", "b_0", "c") for n in range(4)]]
    assert min(new.seen.min() for new, _ in found) < time.monotonic() - 90  # the delay counts from the last change


HALF_WRITER = """
import sys, h5py, numpy as np
path = sys.argv[1]
file = h5py.File(path, "w", locking=sys.argv[2] == "locked")
data = file.create_dataset("entry_1/data_1/data", (6, 4, 6), np.uint16, chunks=(1, 4, 6))
data[:3] = 1
file.flush()
print("READY", flush=True)
sys.stdin.readline()
data[3:] = 2
file.close()
print("DONE", flush=True)
"""


def test_a_half_written_file_is_waited_for(tmp_path):
    path = tmp_path / "half.h5"
    with other_process(HALF_WRITER, path, "locked") as writer, following_patterns(tmp_path) as following:
        assert nothing_new(following, 1.5 * SETTLED_S)
        assert following.problems == {
            str(path): "a writer has it open, without SWMR; it is read when that has closed it"
        }
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "DONE\n"
        found = drained(following, 6)
        assert following.problems == {}
    assert found[-1][0].counts[-1].max() == 2


OPEN_ELSEWHERE = """
import os, sys, h5py, numpy as np
path, how = sys.argv[1:]
file = h5py.File(path, "w", libver=None if how == "plain" else "latest", locking=True)
file.create_dataset("entry_1/data_1/data", data=np.ones((3, 4, 6), np.uint16))
file.flush()
if how == "crash":
    print("READY", flush=True)
    os._exit(1)
print("READY", flush=True)
sys.stdin.readline()
file.close()
print("DONE", flush=True)
"""


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("plain", "a writer has it open, without SWMR; it is read when"),
        ("latest", "a writer has it open, without SWMR; it is read when"),
        ("crash", "was not closed by its writer, .*h5clear -s"),
    ],
)
def test_why_a_file_of_another_program_is_not_read_is_told(tmp_path, how, why):
    """The row of `open_elsewhere.py`: it scored 0 patterns without saying why."""
    path = tmp_path / "a.cxi"
    with other_process(OPEN_ELSEWHERE, path, how) as writer, following_patterns(path) as following:
        if how == "crash":
            writer.wait(PATIENCE_S)
        settled(path)
        assert following.take() is None
        assert re.search(why, following.problems[str(path)])
        if how != "crash":
            writer.stdin.write("\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "DONE\n"
            settled(path)
            assert len(drained(following, 3)) == 3
            assert following.problems == {}


def test_a_file_that_does_not_stop_changing_is_a_problem_until_it_does(tmp_path):
    path, clock = write_whole(tmp_path / "a.cxi", counts_of(4)), Clock()
    with following_patterns(path, clock=clock) as following:
        for waited in (0, CHANGING_S / 2, CHANGING_S):
            clock.now = 100 + waited
            settled(path, seconds=0)
            assert following.take() is None
            problem = following.problems.get(str(path), "")
            assert problem.startswith("is still written, without SWMR") == (waited >= CHANGING_S)
        settled(path)
        assert len(following.take().patterns) == 4
        assert following.problems == {}


def test_a_file_that_was_cut_short_is_opened_again(tmp_path):
    whole = write_whole(tmp_path / "whole", counts_of(4)).read_bytes()
    path = tmp_path / "arriving.cxi"
    path.write_bytes(whole[: len(whole) // 2])
    settled(path)
    clock = Clock()
    with following_patterns(path, clock=clock) as following:
        assert following.take() is None
        (problem,) = following.problems.values()
        assert "cut short" in problem
        path.write_bytes(whole)
        settled(path)
        assert following.take() is None  # it has just failed
        clock.now += RETRY_S
        assert len(following.take().patterns) == 4


def test_a_file_that_cannot_be_read_is_tried_now_and_then(tmp_path, monkeypatch):
    path = tmp_path / "a.cxi"
    path.write_bytes(b"no HDF5")
    settled(path)
    clock, opened = Clock(), []
    monkeypatch.setattr("helpers.patterns.growing.following.GrowingStack", lambda *given: opened.append(given) or 1 / 0)
    monkeypatch.setattr("helpers.patterns.growing.following._UNREADABLE", ArithmeticError)
    with following_patterns(path, clock=clock) as following:
        for _ in range(30):
            following.take()
            clock.now += RETRY_S / 10
    assert len(opened) == 3


def test_a_bad_pattern_is_named_and_the_others_are_read(tmp_path):
    counts = counts_of(5).astype(np.float32)
    counts[2, 0, 0] = np.nan
    counts[3, 0, 0] = -1
    settled(write_whole(tmp_path / "a.cxi", counts))
    with following_patterns(tmp_path / "a.cxi") as following:
        new = following.take()
    assert list(new.refused) == [2, 3]
    assert "1 NaN or infinite values" in new.refused[2]
    assert "in unmasked pixels of pattern 2" in new.refused[2]
    assert "negative" in new.refused[3]
    np.testing.assert_array_equal(new.counts, counts[[0, 1, 4]])
    with following_patterns(tmp_path / "a.cxi", options=ReadOptions(nan_as_zero=True)) as following:
        assert list(following.take().refused) == [3]


def four_rows(stack):
    if stack.shape[1] != 4:
        raise PatternFileError(f"{stack.path}: has {stack.shape[1]} rows")


def test_files_that_do_not_pass_the_check_are_left_out(tmp_path):
    settled(write_whole(tmp_path / "a.cxi", counts_of(2, shape=(5, 6))))
    settled(write_whole(tmp_path / "b.cxi", counts_of(2)))
    with following_patterns(tmp_path, check=four_rows) as following:
        assert named(drained(following, 2)) == [("b.cxi", 0), ("b.cxi", 1)]
        assert following.problems == {str(tmp_path / "a.cxi"): "has 5 rows"}


def test_chunks_that_are_not_there_yet_are_no_patterns(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (100, 2, 3), np.uint16, chunks=(1, 2, 3))
        assert written_patterns(data, 0) == 0
        data[:37] = 1
        file.flush()
        assert [written_patterns(data, known) for known in (0, 36, 37)] == [37, 37, 37]
        data[99] = 1
        file.flush()
        assert written_patterns(data, 37) == 100


MANY_MASKS = """
import sys, h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver="latest")
for name in ("data", "mask"):
    file.create_dataset(f"entry_1/image_1/{name}", data=np.zeros((3, 4, 6), np.uint16), chunks=(1, 4, 6))
file.swmr_mode = True
print("READY", flush=True)
sys.stdin.read()
"""


def test_a_growing_file_with_a_mask_for_each_pattern_or_in_a_folder_is_refused_with_what_to_do(tmp_path):
    with other_process(MANY_MASKS, tmp_path / "a.cxi"):
        with following_patterns(tmp_path / "a.cxi") as following:
            assert following.take() is None
            (problem,) = following.problems.values()
            assert "with one mask for all patterns; name one with --dataset, or follow a folder" in problem
        settled(tmp_path / "a.cxi")
        with following_patterns(tmp_path) as following:
            assert following.take() is None
            assert list(following.problems.values()) == ["is still written with SWMR; follow it by its own name"]


LATE_IDS = """
import sys, h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver="latest")
image = file.create_group("entry_1/image_1")
image.create_dataset("data", data=np.ones((3, 4, 6), np.uint16), maxshape=(None, 4, 6), chunks=(1, 4, 6))
image.create_dataset("event_id", (2,), np.int64, maxshape=(None,), chunks=(8,))
file.swmr_mode = True
print("READY", flush=True)
sys.stdin.readline()
file.close()
"""


def test_event_ids_that_do_not_come_are_not_waited_for(tmp_path):
    clock = Clock()
    with (
        other_process(LATE_IDS, tmp_path / "a.cxi"),
        following_patterns(tmp_path / "a.cxi", most=9, clock=clock) as following,
    ):
        assert following.take().event_ids == ["0", "0"]
        assert following.take() is None
        clock.now += 2 * IDS_LATE_S
        assert following.take().event_ids == [""]
        assert following.is_live


REWRITTEN = """
import sys, h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver="latest", locking=False)
image = file.create_group("entry_1/image_1")
data = image.create_dataset("data", (0, 4, 6), np.uint16, maxshape=(None, 4, 6), chunks=(1, 4, 6))
ids = image.create_dataset("event_id", (0,), np.int64, maxshape=(None,), chunks=(8,))
file.swmr_mode = True
for number in range(int(sys.argv[2])):
    data.resize(number + 1, axis=0)
    data[number] = int(sys.argv[3]) + number
    data.flush()
    ids.resize(number + 1, axis=0)
    ids[number] = int(sys.argv[3]) + number
    ids.flush()
print("READY", flush=True)
sys.stdin.read()
"""


def test_a_growing_file_that_is_cut_and_written_anew_is_not_taken_for_the_same(tmp_path):
    path = tmp_path / "a.cxi"
    with following_patterns(path) as following:
        with other_process(REWRITTEN, path, 9, 1):
            assert len(drained(following, 9)) == 9
        inode = path.stat().st_ino
        with other_process(REWRITTEN, path, 4, 50):
            assert path.stat().st_ino == inode
            assert nothing_new(following, 1.5 * SETTLED_S)
            assert following.problems == {str(path): "holds 4 patterns, and 9 were read before"}
        with other_process(REWRITTEN, path, 12, 50):
            assert nothing_new(following, 1.5 * RETRY_S)
            (problem,) = following.problems.values()
            assert "holds another recording than the one that was read before" in problem


def test_whoever_interrupts_it_may_go_on(tmp_path, monkeypatch):
    path = settled(write_whole(tmp_path / "a.cxi", counts_of(5)))
    with following_patterns(path, most=2) as following:
        assert list(following.take().patterns) == [0, 1]
        with monkeypatch.context() as patched:
            patched.setattr(GrowingStack, "read", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                following.take()
        assert list(following.take().patterns) == [2, 3]
