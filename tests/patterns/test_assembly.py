import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import PatternFileError
from helpers.patterns.assembly import Assembly, from_positions, in_rows, module_positions

PIXEL = 75e-6


def test_pixels_in_rows_keep_their_places():
    values = np.arange(2 * 12).reshape(2, 12)
    assembly = in_rows((3, 4))
    np.testing.assert_array_equal(assembly.images(values), values.reshape(2, 3, 4))
    assert not assembly.gaps.any()
    assert assembly.images(values).dtype == np.float32


def test_a_detector_with_the_default_basis_vectors_stays_as_it_is_stored():
    corner = np.array([[4 * PIXEL, 2 * PIXEL, 0.13]])
    basis = np.array([[[0, -PIXEL, 0], [-PIXEL, 0, 0]]])
    x, y = module_positions(corner, basis, (5, 7))
    assembly = from_positions(x, y, pixel=(PIXEL, PIXEL), source="here")
    pattern = np.arange(35.0).reshape(1, 5, 7)
    np.testing.assert_array_equal(assembly.images(pattern), pattern)
    assert assembly.centre == pytest.approx((1.5, 3.5))  # the corner is half a pixel from the first pixel's middle


def test_a_module_turned_by_a_quarter_is_turned_back():
    basis = np.array([[[-PIXEL, 0, 0], [0, -PIXEL, 0]]])
    x, y = module_positions(np.zeros((1, 3)), basis, (2, 3))
    assembly = from_positions(x, y, pixel=(PIXEL, PIXEL), source="here")
    pattern = np.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(assembly.images(pattern)[0], pattern[0].T)


@given(gap=st.integers(0, 4), shift=st.floats(-0.4, 0.4), module=st.tuples(st.integers(1, 4), st.integers(1, 5)))
def test_gaps_between_modules_are_bad_and_each_pixel_goes_to_the_nearest_place(gap, shift, module):
    rows, columns = module
    y = -np.arange(rows)[:, None] * PIXEL + np.zeros((2, rows, columns))
    x = -np.arange(columns) * PIXEL + np.zeros((2, rows, columns))
    x[1] -= (columns + gap + shift) * PIXEL
    assembly = from_positions(x, y, pixel=(PIXEL, PIXEL), source="here")
    assert assembly.shape == (rows, 2 * columns + gap)
    between = np.zeros(assembly.shape, bool)
    between[:, columns : columns + gap] = True
    np.testing.assert_array_equal(assembly.gaps, between)
    values = np.arange(1.0, 2 * rows * columns + 1).reshape(1, 2, rows, columns)
    picture = assembly.images(values)[0]
    np.testing.assert_array_equal(picture[:, :columns], values[0, 0])
    np.testing.assert_array_equal(picture[:, columns + gap :], values[0, 1])
    bad = np.zeros((2, rows, columns), bool)
    bad[1, 0, 0] = True
    between[0, columns + gap] = True
    np.testing.assert_array_equal(assembly.mask(bad), between)


def test_photons_of_pixels_that_meet_are_added_and_a_bad_one_spoils_the_place():
    assembly = Assembly(np.array([0, 0, 1]), np.array([0, 0, 1]), (2, 2))
    np.testing.assert_array_equal(
        assembly.images(np.array([[1, 2, 4], [0, 1, 0]])), [[[3, 0], [0, 4]], [[1, 0], [0, 0]]]
    )
    np.testing.assert_array_equal(assembly.mask([False, True, False]), [[True, True], [True, False]])
    np.testing.assert_array_equal(assembly.mask([False] * 3), assembly.gaps)


@pytest.mark.parametrize(("x", "reason"), [([0.0, np.nan], "not finite"), ([0.0, 75.0], "metres")])
def test_impossible_positions_are_refused(x, reason):
    with pytest.raises(PatternFileError, match=rf"geometry\.h5: .*{reason}"):
        from_positions(np.array(x), np.zeros(2), pixel=(PIXEL, PIXEL), source="geometry.h5")
