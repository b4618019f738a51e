import zlib

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers.errors import PatternFileError
from helpers.patterns import ReadOptions, open_stack
from helpers.patterns.hdf5.values import Chunks, check_stored, values_of
from helpers.patterns.storage import DatasetStorage


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    values=npst.arrays(st.sampled_from(["u1", "<u2", ">u2", "<i4", "<f4", ">f8"]), st.tuples(*[st.integers(1, 5)] * 3)),
    shuffle=st.booleans(),
    patterns=st.integers(1, 3),
    compression=st.sampled_from(["gzip", "lzf", None]),
)
def test_chunks_unpacked_by_us_hold_what_hdf5_reads(tmp_path, values, shuffle, patterns, compression):
    chunks = (min(patterns, len(values)), *values.shape[1:])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("d", data=values, chunks=chunks, shuffle=shuffle, compression=compression)
        storage = DatasetStorage(data)
        read = storage.read(np.arange(len(values))[::-1])
        assert read.dtype == values.dtype
        np.testing.assert_array_equal(read, values[::-1])
        np.testing.assert_array_equal(storage.read(np.arange(len(values))), values)
        np.testing.assert_array_equal(values_of(data), values)


def short_chunk(path, chunks, length):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("entry_1/data_1/data", (4, 30, 40), "u2", chunks=chunks, compression="gzip")
        data[:] = 1
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(length)))


@pytest.mark.parametrize("chunks", [(1, 30, 40), (2, 30, 40), (2, 15, 40)])
@pytest.mark.parametrize("length", [100, 10_000_000])
def test_a_chunk_that_unpacks_to_another_size_is_refused_where_hdf5_would_read_on(tmp_path, chunks, length):
    short_chunk(tmp_path / "a.cxi", chunks, length)
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.read(np.array([3])).min() == 1
        with pytest.raises(
            PatternFileError, match=r"cannot be decoded in patterns 0 to 0 \(\d+ bytes or more in a chunk"
        ):
            stack.read(np.array([0]))


def test_patterns_that_were_never_written_are_no_zeros(tmp_path):
    for name, chunks in (("a.cxi", (1, 3, 4)), ("b.cxi", None)):
        with h5py.File(tmp_path / name, "w") as file:
            data = file.create_dataset("entry_1/data_1/data", (5, 3, 4), "u2", chunks=chunks)
            if chunks:
                data[2] = 7
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.read(np.array([2])).sum() == 84
        with pytest.raises(PatternFileError, match=r"was never written at \(3, 0, 0\).*nan-as-zero"):
            stack.read(np.array([3]))
    with open_stack(tmp_path / "a.cxi", ReadOptions(nan_as_zero=True)) as stack:
        assert stack.read(slice(None)).sum(axis=(1, 2)).tolist() == [0, 0, 84, 0, 0]
    with pytest.raises(PatternFileError, match="was never written"):
        open_stack(tmp_path / "b.cxi")


def test_a_petabyte_is_refused_before_it_is_asked_for(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        huge = file.create_dataset("huge", (10**6, 10**5, 10**4), "f8", chunks=(1, 10, 10))
        with pytest.raises(PatternFileError, match=r"huge has shape .*no part of a pattern file"):
            values_of(huge)
        wide = file.create_dataset("wide", (10, 30_000, 30_000), "u2", chunks=(1, 30_000, 30_000), compression="gzip")
        with pytest.raises(PatternFileError, match=r"1717 MiB.*h5repack -l wide:CHUNK=1x30000x30000"):
            check_stored(wide, holes_allowed=True)


def test_a_filter_that_a_chunk_has_skipped_is_left_to_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("d", (2, 3, 4), "u2", chunks=(1, 3, 4), compression="gzip")
        data[:] = 5
        data.id.write_direct_chunk((1, 0, 0), np.full(12, 9, "u2").tobytes(), filter_mask=1)
        chunks = Chunks(data)
        assert [chunks.pattern(number).sum() for number in (0, 1)] == [60, 108]
