"""Pixels and squares of a sphere fit: the same photons, the same area, the same background."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.preparation.sphere_fit_pixels import fitted_pixels

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
MASKS = SHAPES.flatmap(lambda shape: arrays(bool, shape))


@given(MASKS, st.integers(0, 2**32 - 1))
def test_each_good_pixel_is_in_one_square(good, seed):
    rng = np.random.default_rng(seed)
    rate = rng.uniform(0.1, 2, good.shape)
    counts = rng.poisson(3, (2, *good.shape)).astype(np.float32)
    pixels = fitted_pixels(good, rate)
    squares = pixels.squares()
    chosen = counts.reshape(2, -1)[:, pixels.flat]
    tall, wide = -(-good.shape[0] // 2), -(-good.shape[1] // 2)
    padded = np.zeros((2, 2 * tall, 2 * wide))
    padded[:, : good.shape[0], : good.shape[1]] = counts * good
    filled = np.zeros((2 * tall, 2 * wide))
    filled[: good.shape[0], : good.shape[1]] = good
    sums = padded.reshape(2, tall, 2, wide, 2).sum(axis=(2, 4))
    area = filled.reshape(tall, 2, wide, 2).sum(axis=(1, 3))
    np.testing.assert_array_equal(squares.area, area[area > 0])
    np.testing.assert_array_equal(pixels.in_squares(chosen), sums[:, area > 0])
    np.testing.assert_allclose(squares.rate.sum(), rate[good].sum(), rtol=1e-5)


def test_a_square_lies_at_the_mean_of_its_good_pixels():
    good = np.array([[True, True, False], [True, False, False], [False, False, True]])
    squares = fitted_pixels(good, np.ones(good.shape)).squares()
    np.testing.assert_allclose(squares.row, [1 / 3, 2])
    np.testing.assert_allclose(squares.column, [1 / 3, 2])
    np.testing.assert_array_equal(squares.area, [3, 1])
