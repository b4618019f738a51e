"""The largest values of integer types are no counts."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import PatternFileError
from helpers.patterns import describe, doubts, open_stack
from helpers.patterns.markers import marker_in_words, markers_of

COUNTS = np.random.default_rng(4).poisson(3, (12, 10, 12))
CASES = [
    ("uint16", 2**16 - 1),
    ("int16", 2**15 - 1),
    ("uint32", 2**32 - 1),
    ("int32", 2**31 - 1),
    ("uint32", 2**16 - 1),
    ("int64", 2**32 - 1),
    ("uint64", 2**64 - 1),
    ("float32", 2**16 - 1),
    ("float64", 2**32 - 1),
    ("uint8", 255),
    ("int8", 127),
]


def write(path, kind, value, patterns, **detector):
    """Counts in which pixel (1, 2) holds a value in some patterns."""
    counts = COUNTS.astype(kind)
    counts[patterns, 1, 2] = value
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = counts
        for name, given in detector.items():
            file[f"entry_1/instrument_1/detector_1/{name}"] = given
    return path


@pytest.mark.parametrize(("kind", "value"), CASES)
def test_a_pixel_that_always_holds_the_largest_value_is_dead(tmp_path, kind, value):
    """biochem-fan/eiger2cbf#2: invalid pixels are 2 ** image_depth - 1; AdvancedPhotonSource/ptychodus#57: MAXINT."""
    path = write(tmp_path / "a.cxi", kind, value, slice(None))
    expected = COUNTS.copy()
    expected[:, 1, 2] = 0
    with open_stack(path) as stack:
        assert np.argwhere(stack.mask).tolist() == [[1, 2]]
        np.testing.assert_array_equal(stack.read(slice(None)), expected)
        (line,) = doubts(stack)
    assert f"a.cxi: entry_1/data_1/data has 1 pixels that always hold {value}, the largest" in line
    assert f"1 pixels that always hold {value}" in describe(path)


@pytest.mark.parametrize(("kind", "value"), CASES[:-2])
@pytest.mark.parametrize("patterns", [[0], [5], slice(1, None)])
def test_one_that_holds_it_now_and_then_is_refused_with_its_pattern(tmp_path, kind, value, patterns):
    with open_stack(write(tmp_path / "a.cxi", kind, value, patterns)) as stack:
        assert not stack.mask.any()
        first = np.arange(12)[patterns][0]
        found = rf"1 values of {value}, .*, in unmasked pixels of pattern {first}; mark those pixels in the mask"
        with pytest.raises(PatternFileError, match=found):
            stack.read(slice(None))


def test_the_end_of_an_8_bit_type_is_a_count_where_a_pixel_has_others(tmp_path):
    with open_stack(write(tmp_path / "a.cxi", "uint8", 255, [3])) as stack:
        assert stack.read(slice(None)).max() == 255


def test_the_end_of_an_8_bit_type_is_a_count_in_a_file_of_few_patterns(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = np.full((2, 3, 4), 255, np.uint8)
    with open_stack(tmp_path / "a.cxi") as stack:
        assert not stack.mask.any()
        assert stack.read(slice(None)).min() == 255


@pytest.mark.parametrize("patterns", [[3], slice(None)])
def test_a_file_may_say_that_its_pixels_count_so_far(tmp_path, patterns):
    with open_stack(write(tmp_path / "a.cxi", "uint16", 65535, patterns, saturation_value=65535)) as stack:
        assert stack.read(slice(None)).max() == 65535
        assert not stack.mask.any()


def test_a_marker_under_the_mask_is_no_doubt(tmp_path):
    path = write(tmp_path / "a.cxi", "uint16", 65535, slice(None), mask=np.eye(10, 12, 1).astype(np.int32))
    with open_stack(path) as stack:
        assert stack.mask.sum() == 10
        assert doubts(stack) == []


@given(st.sampled_from(CASES[:-2]))
def test_a_marker_is_named_as_the_file_holds_it(case):
    kind, value = case
    assert np.float32(value) in markers_of(np.dtype(kind), None)
    assert marker_in_words(np.float32(value)).startswith(f"{value},")
