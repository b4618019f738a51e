import os
import signal
import time

import h5py
import numpy as np
import pandas as pd
import pytest

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.patterns import ReadOptions, open_stack, probe
from helpers.patterns.writing import write_stack

COUNTS = np.ones((4, 3, 5), np.uint16)


def lists_without_end(path):
    """Dragonfly's photons in HDF5 whose heap has a free place without a length, from which HDF5 never comes back."""
    with h5py.File(path, "w") as file:
        file["num_pix"] = [15]
        for name in ("place_ones", "place_multi", "count_multi"):
            data = file.create_dataset(name, (4,), h5py.vlen_dtype(np.int32))
            for pattern in range(4):
                data[pattern] = np.arange(pattern + 1, dtype="i4")
    content = bytearray(path.read_bytes())
    heap = content.find(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)
    path.write_bytes(content)


def test_a_sound_file_passes_and_what_is_looked_at_comes_back(tmp_path, write_patterns):
    write_patterns(tmp_path / "a.cxi", "a title")
    assert probe(tmp_path / "a.cxi") is None
    assert probe(tmp_path / "a.cxi", look=lambda stack: [len(stack), stack.title]) == [3, "a title"]


def test_what_is_wrong_is_said_as_if_the_file_were_opened_here(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = COUNTS[0]
    with pytest.raises(PatternFileError) as opened:
        open_stack(tmp_path / "a.cxi")
    with pytest.raises(PatternFileError) as probed:
        probe(tmp_path / "a.cxi")
    assert str(probed.value) == str(opened.value)


def test_options_reach_the_child(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"], file["entry_2/data_1/data"] = COUNTS, COUNTS[:, :2]
    with pytest.raises(PatternFileError, match="different shapes"):
        probe(tmp_path / "a.cxi")
    assert probe(tmp_path / "a.cxi", ReadOptions(dataset="entry_2/data_1/data"), look=len) == 4


def test_a_file_that_hdf5_hangs_in_is_one_line_after_the_limit(tmp_path):
    lists_without_end(tmp_path / "a.h5")
    began = time.monotonic()
    with pytest.raises(PatternFileError, match=r"a\.h5: HDF5 comes to no end with it in 1 s; the file is damaged"):
        probe(tmp_path / "a.h5", ReadOptions(frame_shape=(3, 5)), limit_s=1)
    assert 1 <= time.monotonic() - began < 5


def test_a_link_to_a_pipe_is_one_line_after_the_limit(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/image_1"] = h5py.ExternalLink("pipe.h5", "/entry_1/image_1")
    with pytest.raises(PatternFileError, match="a link in it leads to a pipe"):
        probe(tmp_path / "a.cxi", limit_s=1)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_of_the_child_is_one_line(tmp_path, write_patterns, number):
    path = write_patterns(tmp_path / "a.cxi")
    with pytest.raises(PatternFileError, match=r"a\.cxi: HDF5 crashes while it reads it; the file is damaged, copy"):
        probe(path, look=lambda _: os.kill(os.getpid(), number))


def test_no_child_is_left_and_none_prints(tmp_path, write_patterns, capfd):
    path = write_patterns(tmp_path / "a.cxi")
    child = probe(path, look=lambda _: print("not to be seen", flush=True) or os.getpid())
    assert child != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_while_the_child_reads_ends_it(tmp_path, write_patterns):
    path = write_patterns(tmp_path / "a.cxi")
    children = tmp_path / "child"

    def look(_):
        children.write_text(str(os.getpid()))
        time.sleep(30)

    def interrupt(*_):
        if not children.exists() or not children.read_text():
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            return
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            probe(path, look=look)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(children.read_text()), 0)


def test_columns_and_masks_are_read_there_and_a_damaged_column_is_no_error_yet(tmp_path, write_patterns):
    path = write_patterns(tmp_path / "a.cxi")
    with h5py.File(path, "r+") as file:
        file["entry_1/image_1"].create_dataset("never", (3,), "f4")
    assert probe(path, look=len) == 3
    with open_stack(path) as stack, pytest.raises(PatternFileError, match=r"a\.cxi: .*never.* was never written"):
        stack.table()


def test_chunks_that_are_damaged_are_left_to_the_reader(tmp_path):
    path = tmp_path / "a.cxi"
    given = {"mask": np.zeros((3, 5), bool), "centre": (0, 0), "experiment": AMOX34117}
    write_stack(path, COUNTS, table=pd.DataFrame(index=range(4)), **given)
    with h5py.File(path, "r+") as file:
        file["entry_1/image_1/data"].id.write_direct_chunk((0, 0, 0), b"no gzip")
    assert probe(path, look=len) == 4
