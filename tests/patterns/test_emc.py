import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers.errors import PatternFileError
from helpers.patterns import ReadOptions, open_stack
from helpers.patterns.dragonfly.emc import write_emc

TWO_ROWS = ReadOptions(frame_shape=(2, 3))
COUNTS = np.array([[[0, 1, 2], [1, 0, 300]], [[0, 0, 0], [0, 0, 0]], [[5, 0, 0], [0, 1, 1]]])

stacks = npst.arrays(
    st.sampled_from([np.uint8, np.int32, np.float32]),
    npst.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.integers(0, 200) | st.sampled_from([0, 1]),
)


def write_hdf5(path, counts):
    """Dragonfly's HDF5 form of counts, list by list."""
    flat = counts.reshape(len(counts), -1)
    several = [np.flatnonzero(pattern > 1) for pattern in flat]
    lists = {
        "place_ones": [np.flatnonzero(pattern == 1) for pattern in flat],
        "place_multi": several,
        "count_multi": [pattern[places] for pattern, places in zip(flat, several, strict=True)],
    }
    with h5py.File(path, "w") as file:
        file["num_pix"] = np.array([flat.shape[1]], "i4")
        for name, values in lists.items():
            data = file.create_dataset(name, (len(flat),), h5py.vlen_dtype("i4"))
            for number, value in enumerate(values):
                data[number] = value.astype("i4")


@pytest.mark.parametrize("name", ["photons.emc", "photons.h5"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=stacks, block=st.integers(1, 4), data=st.data())
def test_any_counts_survive_a_round_trip(tmp_path, name, counts, block, data):
    path = tmp_path / name
    if path.suffix == ".h5":
        write_hdf5(path, counts)
    else:
        blocks = (counts[start : start + block] for start in range(0, len(counts), block))
        write_emc(path, blocks, pixels=counts[0].size)
    order = np.array(data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=8)), dtype=int)
    with open_stack(path, ReadOptions(frame_shape=counts.shape[1:])) as stack:
        np.testing.assert_array_equal(stack.read(slice(None)), counts)
        np.testing.assert_array_equal(stack.read(order), counts[order])
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_the_bytes_are_those_of_the_format(tmp_path):
    write_emc(tmp_path / "a.emc", [COUNTS], pixels=6)
    numbers = np.frombuffer((tmp_path / "a.emc").read_bytes(), "<i4")
    assert list(numbers[:3]) == [3, 6, 0]
    assert not numbers[3:256].any()
    ones, several = [2, 0, 2], [2, 0, 1]
    assert list(numbers[256:]) == [*ones, *several, 1, 3, 4, 5, 2, 5, 0, 2, 300, 5]


@pytest.mark.parametrize(
    ("counts", "reason"),
    [(COUNTS + 0.5, "fractions"), (COUNTS - 1, "no photons"), (COUNTS * 2.0**31, "no photons")],
)
def test_what_a_sparse_file_cannot_hold_is_refused_and_nothing_is_left(tmp_path, counts, reason):
    with pytest.raises(PatternFileError, match=reason):
        write_emc(tmp_path / "a.emc", [counts], pixels=6)
    assert not list(tmp_path.iterdir())


def test_patterns_of_another_number_of_pixels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="6 pixels"):
        write_emc(tmp_path / "a.emc", [COUNTS], pixels=7)
    assert not list(tmp_path.iterdir())


def damaged(path, place, value):
    numbers = np.frombuffer(path.read_bytes(), "<i4").copy()
    numbers[256 + place] = value
    path.write_bytes(numbers.tobytes())


@pytest.mark.parametrize(("place", "value"), [(6, 6), (7, -1), (10, 1000)])
def test_photons_outside_the_pattern_are_refused_when_they_are_read(tmp_path, place, value):
    write_emc(tmp_path / "a.emc", [COUNTS], pixels=6)
    damaged(tmp_path / "a.emc", place, value)
    with open_stack(tmp_path / "a.emc", TWO_ROWS) as stack:
        assert not stack.read(np.array([1])).any()
        with pytest.raises(PatternFileError, match=r"a\.emc: pattern 0 has photons outside its 6 pixels"):
            stack.read(np.array([0]))


def test_negative_numbers_of_pixels_and_negative_counts_are_refused(tmp_path):
    write_emc(tmp_path / "a.emc", [COUNTS], pixels=6)
    damaged(tmp_path / "a.emc", 13, -300)
    with (
        open_stack(tmp_path / "a.emc", TWO_ROWS) as stack,
        pytest.raises(PatternFileError, match="negative"),
    ):
        stack.read(slice(None))
    damaged(tmp_path / "a.emc", 0, -2)
    with pytest.raises(PatternFileError, match="negative number of lit pixels"):
        open_stack(tmp_path / "a.emc", TWO_ROWS)


def test_the_lists_of_the_hdf5_form_must_belong_together(tmp_path):
    write_hdf5(tmp_path / "a.h5", COUNTS)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["count_multi"][0] = np.array([2], "i4")
    with (
        open_stack(tmp_path / "a.h5", TWO_ROWS) as stack,
        pytest.raises(PatternFileError, match="without a"),
    ):
        stack.read(slice(None))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["count_multi"]
        file["count_multi"] = np.arange(3)
    with pytest.raises(PatternFileError, match="must hold one list of integers for each pattern"):
        open_stack(tmp_path / "a.h5", TWO_ROWS)
