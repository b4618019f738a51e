"""New patterns of files that are written by another process: each once, whatever happens to the writer."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import h5py
import numpy as np
import pandas as pd
import pytest

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.patterns import Following, ReadOptions, open_stack
from helpers.patterns.growing.followed_file import SETTLED_S, FollowedFile
from helpers.patterns.growing.growing_stack import is_locked, is_written_with_swmr, written_patterns
from helpers.patterns.writing import write_stack
from helpers.simulation import beamline

SHAPE = (123, 240)
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


def drained(following, wanted, *, most=7):
    """Patterns as (file name, recording, index) until there are so many."""
    found, end = [], time.monotonic() + PATIENCE_S
    while len(found) < wanted and time.monotonic() < end:
        following.look()
        new = following.take(most)
        if new is None:
            time.sleep(following.pause)
            continue
        found += [(new, index) for index in new.indices]
    return found


def named(found):
    return [(new.path.name, new.recording, int(index)) for new, index in found]


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


def test_every_pattern_of_a_growing_file_is_given_once_with_its_id(twin, tmp_path):
    with open_stack(twin) as stack:
        source = stack.read(slice(None))
    with (
        beamline(twin, tmp_path / "live.cxi", rate=200, shots=150),
        Following(tmp_path / "live.cxi", shape=SHAPE) as following,
    ):
        found = drained(following, 150)
        following.look()
        assert following.take(7) is None
    assert named(found) == [("live.cxi", 0, index) for index in range(150)]
    assert [one for new in dict.fromkeys(new for new, _ in found) for one in new.event_ids] == list(
        map(str, range(150))
    )
    read = np.concatenate([new.counts for new in dict.fromkeys(new for new, _ in found)])
    np.testing.assert_array_equal(read, source[np.arange(150) % len(source)])


def test_a_writer_that_is_killed_and_comes_back_is_followed_on(twin, tmp_path):
    path = tmp_path / "live.cxi"
    with Following(path, shape=SHAPE) as following:
        with beamline(twin, path, rate=100, shots=10_000) as process:
            before = drained(following, 30)
            process.kill()  # SIGKILL
            process.wait()
        while following.waiting:
            before += drained(following, following.waiting)
        following.look()
        assert is_written_with_swmr(path)
        assert following.places[str(path)].done == len(before)
        with h5py.File(path, "r", swmr=True, locking=False) as file:
            kept = len(file["entry_1/image_1/event_id"])
        with beamline(twin, path, rate=100, shots=25):
            after = drained(following, kept + 25 - len(before))
    numbers = [index for _, _, index in named(before + after)]
    assert numbers == list(range(kept + 25))
    assert {recording for _, recording, _ in named(before + after)} == {0}


def test_a_file_that_is_followed_is_never_locked(twin, tmp_path):
    path = tmp_path / "live.cxi"
    with beamline(twin, path, rate=100, shots=20), Following(path, shape=SHAPE) as following:
        drained(following, 20)
        with other_process(
            "import fcntl, sys\nstream = open(sys.argv[1], 'r+b')\n"
            "fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)\nprint('READY', flush=True)\nsys.stdin.read()",
            path,
        ):
            assert is_locked(path)


def test_another_recording_under_the_same_name_is_read_from_its_start(tmp_path):
    path = write_whole(tmp_path / "a.cxi", counts_of(5))
    with Following(path, shape=(4, 6)) as following:
        first = drained(following, 5)
        write_whole(path, counts_of(3, first=100))
        second = drained(following, 3)
        write_whole(path, counts_of(6, first=100))  # the same and more
        more = drained(following, 3)
    assert named(first) == [("a.cxi", 0, index) for index in range(5)]
    assert named(second + more) == [("a.cxi", 1, index) for index in range(6)]


def test_a_copy_that_has_not_reached_the_old_length_is_waited_for(tmp_path):
    path = write_whole(tmp_path / "a.cxi", counts_of(5))
    file = FollowedFile(path, shape=(4, 6))
    for now in (0.0, SETTLED_S):
        file.look(now)
    assert file.take(10).counts.shape == (5, 4, 6)
    write_whole(path, counts_of(2))
    for now in (10.0, 10.0 + SETTLED_S):
        file.look(now)
    assert (file.waiting, file.place.recording) == (0, 0)
    write_whole(path, counts_of(7))
    for now in (20.0, 20.0 + SETTLED_S):
        file.look(now)
    assert list(file.take(10).indices) == [5, 6]


def test_dark_patterns_are_told_apart_by_their_event_ids(tmp_path):
    path = write_whole(tmp_path / "a.cxi", 0 * counts_of(3), ids=[1, 2, 3])
    file = FollowedFile(path, shape=(4, 6))
    for now in (0.0, SETTLED_S):
        file.look(now)
    assert len(file.take(10).indices) == 3
    write_whole(path, 0 * counts_of(3), ids=[4, 5, 6])
    for now in (10.0, 10.0 + SETTLED_S):
        file.look(now)
    assert file.take(10).recording == 1


@pytest.mark.parametrize("where", ["folder", "pattern"])
def test_files_that_appear_one_by_one_are_read_when_they_are_whole(tmp_path, where):
    folder = tmp_path / "run_17"
    folder.mkdir()
    (folder / "notes.txt").write_text("no patterns")
    with Following(folder if where == "folder" else folder / "*.cxi", shape=(4, 6)) as following:
        following.look()
        assert following.take(5) is None
        for number in range(3):
            write_whole(folder / f"b_{2 - number}.cxi", counts_of(4, first=10 * number + 1))
            os.utime(folder / f"b_{2 - number}.cxi", (1000 + number, 1000 + number))
        found = drained(following, 12, most=3)
    assert named(found) == [(f"b_{2 - number}.cxi", 0, index) for number in range(3) for index in range(4)]


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
    process = subprocess.Popen(
        [sys.executable, "-c", HALF_WRITER, path, "locked"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process, Following(tmp_path, shape=(4, 6)) as following:
        assert process.stdout.readline() == "READY\n"
        end = time.monotonic() + 1.5 * SETTLED_S
        while time.monotonic() < end:
            following.look()
            assert following.take(10) is None
            time.sleep(0.05)
        assert following.problems == {str(path): "a writer has it open"}
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "DONE\n"
        found = drained(following, 6)
        assert following.problems == {}
    assert len(found) == 6
    assert found[-1][0].counts[-1].max() == 2


def test_a_file_that_was_cut_short_is_no_end(tmp_path):
    whole = write_whole(tmp_path / "whole.cxi", counts_of(4)).read_bytes()
    path = tmp_path / "arriving.cxi"
    path.write_bytes(whole[: len(whole) // 2])
    file = FollowedFile(path, shape=(4, 6))
    for now in (0.0, SETTLED_S):
        file.look(now)
    assert file.waiting == 0
    assert "not a whole" in file.problem or "truncated" in file.problem
    path.write_bytes(whole)
    for now in (5.0, 5.0 + SETTLED_S):
        file.look(now)
    assert file.waiting == 4
    file.close()


def test_a_bad_pattern_is_named_and_the_others_are_read(tmp_path):
    counts = counts_of(5).astype(np.float32)
    counts[2, 0, 0] = np.nan
    counts[3, 0, 0] = -1
    write_whole(tmp_path / "a.cxi", counts)
    with Following(tmp_path / "a.cxi", shape=(4, 6)) as following:
        (new,) = dict.fromkeys(new for new, _ in drained(following, 5))
    assert list(new.refused) == [2, 3]
    assert "1 NaN or infinite values" in new.refused[2]
    assert "in unmasked pixels of pattern 2" in new.refused[2]
    assert "negative" in new.refused[3]
    np.testing.assert_array_equal(new.counts, counts[[0, 1, 4]])
    with Following(tmp_path / "a.cxi", shape=(4, 6), options=ReadOptions(nan_as_zero=True)) as following:
        (new,) = dict.fromkeys(new for new, _ in drained(following, 5))
    assert list(new.refused) == [3]


def test_patterns_of_another_shape_end_a_single_file_and_are_left_out_of_a_folder(tmp_path):
    write_whole(tmp_path / "a.cxi", counts_of(2, shape=(5, 6)))
    write_whole(tmp_path / "b.cxi", counts_of(2))
    with Following(tmp_path, shape=(4, 6)) as following:
        found = drained(following, 2)
        assert named(found) == [("b.cxi", 0, 0), ("b.cxi", 0, 1)]
        assert "patterns of 5 × 6 pixels" in following.misfits[str(tmp_path / "a.cxi")]
    with Following(tmp_path / "a.cxi", shape=(4, 6)) as following, pytest.raises(PatternFileError, match="5 × 6"):
        drained(following, 2)


def test_chunks_that_are_not_there_yet_are_no_patterns(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (100, 2, 3), np.uint16, chunks=(1, 2, 3))
        assert written_patterns(data, 0) == 0
        data[:37] = 1
        file.flush()
        assert [written_patterns(data, start) for start in (0, 36, 37)] == [37, 37, 37]
        data[99] = 1
        file.flush()
        assert written_patterns(data, 37) == 100


def test_a_live_file_with_a_mask_for_each_pattern_is_refused_with_what_to_do(tmp_path):
    code = (
        "import sys, h5py, numpy as np\nfile = h5py.File(sys.argv[1], 'w', libver='latest')\n"
        "for name in ('data', 'mask'):\n"
        "    file.create_dataset(f'entry_1/image_1/{name}', data=np.zeros((3, 4, 6), np.uint16), chunks=(1, 4, 6))\n"
        "file.swmr_mode = True\nprint('READY', flush=True)\nsys.stdin.read()"
    )
    with other_process(code, tmp_path / "a.cxi"):
        file = FollowedFile(tmp_path / "a.cxi", shape=(4, 6))
        file.look(0.0)
        assert "with one mask for all patterns; name one with --dataset, or follow a folder" in file.problem
        assert file.waiting == 0


def test_event_ids_that_do_not_come_are_not_waited_for(tmp_path):
    code = (
        "import sys, h5py, numpy as np\nfile = h5py.File(sys.argv[1], 'w', libver='latest')\n"
        "image = file.create_group('entry_1/image_1')\n"
        "image.create_dataset('data', data=np.ones((3, 4, 6), np.uint16), maxshape=(None, 4, 6), chunks=(1, 4, 6))\n"
        "image.create_dataset('event_id', (2,), np.int64, maxshape=(None,), chunks=(8,))\n"
        "file.swmr_mode = True\nprint('READY', flush=True)\nsys.stdin.read()"
    )
    with other_process(code, tmp_path / "a.cxi"):
        file = FollowedFile(tmp_path / "a.cxi", shape=(4, 6))
        file.look(0.0)
        assert (file.is_live, file.waiting) == (True, 2)
        file.look(2.0)
        assert file.waiting == 3
        assert file.take(9).event_ids == ["0", "0", ""]
        file.close()


REWRITTEN = """
import sys, h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver="latest", locking=False)
image = file.create_group("entry_1/image_1")
data = image.create_dataset("data", (0, 4, 6), np.uint16, maxshape=(None, 4, 6), chunks=(1, 4, 6))
file.swmr_mode = True
for number in range(int(sys.argv[2])):
    data.resize(number + 1, axis=0)
    data[number] = int(sys.argv[3]) + number
    data.flush()
print("READY", flush=True)
sys.stdin.read()
"""


def test_a_growing_file_that_is_cut_and_written_anew_is_another_recording(tmp_path):
    path = tmp_path / "a.cxi"
    with Following(path, shape=(4, 6)) as following:
        with other_process(REWRITTEN, path, 9, 1):
            first = drained(following, 9)
        inode = path.stat().st_ino
        with other_process(REWRITTEN, path, 4, 50):
            assert path.stat().st_ino == inode
            second = drained(following, 4)
    assert named(first) == [("a.cxi", 0, index) for index in range(9)]
    assert named(second) == [("a.cxi", 1, index) for index in range(4)]
    assert [int(pattern.max()) for pattern in second[-1][0].counts][-1] == 53
