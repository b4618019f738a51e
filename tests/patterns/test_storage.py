import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.patterns.assembly import in_rows
from helpers.patterns.storage import AssembledStorage, DatasetStorage, JoinedStorage

VALUES = np.arange(9 * 2 * 3, dtype=np.uint16).reshape(9, 2, 3)


class CountingStorage:
    """An array that remembers which patterns were asked of it."""

    def __init__(self, values):
        self.values, self.asked = values, []
        self.shape, self.dtype = values.shape, values.dtype

    def read(self, patterns):
        self.asked += patterns.tolist()
        return self.values[patterns]


@given(order=st.lists(st.integers(0, 8), max_size=12), cuts=st.lists(st.integers(1, 8), max_size=3, unique=True))
def test_joined_parts_read_as_one_and_only_what_is_asked_for(order, cuts):
    parts = [CountingStorage(part) for part in np.split(VALUES, sorted(cuts))]
    joined = JoinedStorage(parts)
    wanted = np.array(order, dtype=int)
    np.testing.assert_array_equal(joined.read(wanted), VALUES[wanted])
    assert (joined.shape, joined.dtype) == (VALUES.shape, VALUES.dtype)
    part, inside = joined.locate(wanted)
    assert [int(parts[p].values[k, 0, 0]) for p, k in zip(part, inside, strict=True)] == [6 * k for k in order]
    assert sorted(k for storage in parts for k in storage.values[storage.asked, 0, 0] // 6) == sorted(order)


def test_parts_of_different_types_read_as_a_type_that_holds_both():
    joined = JoinedStorage([CountingStorage(VALUES), CountingStorage(VALUES.astype("f8") + 0.5)])
    assert joined.dtype == np.float64
    np.testing.assert_array_equal(joined.read(np.array([0, 9]))[:, 0, 0], [0, 0.5])


@pytest.mark.parametrize("wanted", [[], [3], [2, 3, 4], [8, 0, 0], [5, 4]])
def test_a_data_set_is_read_in_any_order(tmp_path, wanted):
    wanted = np.array(wanted, dtype=int)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        storage = DatasetStorage(file.create_dataset("data", data=VALUES, chunks=(1, 2, 3)))
        np.testing.assert_array_equal(storage.read(wanted), VALUES[wanted])
        assembled = AssembledStorage(storage, in_rows((3, 2)))
        assert assembled.shape == (9, 3, 2)
        np.testing.assert_array_equal(assembled.read(wanted), VALUES[wanted].reshape(-1, 3, 2))
