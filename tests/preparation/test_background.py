import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import curve_fit

from helpers.preparation.background import (
    PixelHistograms,
    blank_rate,
    histogram_peak,
    level_spread,
    remove_photons,
    subtract_peak,
)

SHAPE = (20, 30)
NO_MASK = np.zeros(SHAPE, bool)
CENTRE = (1.5, 14.5)


def histograms(photons):
    filled = PixelHistograms(photons.shape[1:])
    for block in np.array_split(photons, 3):
        filled.add(block)
    return filled


@given(arrays(np.uint16, (7, 3, 4), elements=st.sampled_from([0, 1, 2, 48, 49, 50, 51])))
def test_histograms_count_how_often_each_pixel_had_each_count(photons):
    filled = histograms(photons)
    expected = np.stack([(photons == count).sum(axis=0) for count in range(50)])
    np.testing.assert_array_equal(filled.counts, expected)
    assert filled.frames == 7


def test_published_background_is_the_floor_of_the_peak_and_zero_below_one_photon():
    rng = np.random.default_rng(1)
    level = np.full(SHAPE, 0.2)
    level[:10] = 12.5
    background = histogram_peak(histograms(rng.poisson(level, (400, *SHAPE))).counts)
    assert not background[10:].any()
    assert set(np.unique(background[:10])) <= {11.0, 12.0, 13.0}
    assert background[:10].mean() == pytest.approx(12, abs=0.4)


def test_the_peak_is_that_of_a_gaussian_fitted_by_another_program():
    rng = np.random.default_rng(11)
    counts = histograms(rng.poisson(rng.uniform(3, 20, (12, 12)), (300, 12, 12))).counts
    ours = histogram_peak(counts)
    agree = 0
    for row, column in np.ndindex(12, 12):
        histogram, mode = counts[:, row, column].astype(float), counts[:, row, column].argmax()
        start = (histogram.max(), mode, mode / 5)
        bell, _ = curve_fit(lambda x, h, m, s: h * np.exp(-(((x - m) / s) ** 2) / 2), np.arange(50), histogram, start)
        agree += ours[row, column] == np.floor(bell[1])
    assert agree >= 143  # a mean within rounding of a whole number may fall on either side


def test_a_histogram_of_one_value_has_its_peak_there():
    assert (histogram_peak(histograms(np.full((12, 2, 2), 7)).counts) == 7).all()


def test_published_background_needs_ten_frames():
    with pytest.raises(ValueError, match="at least 10"):
        histogram_peak(histograms(np.ones((9, 2, 2), int)).counts)


def test_the_published_peak_is_subtracted_not_below_zero_and_not_from_overflow():
    photons = np.array([[[0, 3, 5, 70, 71]]], np.uint16)
    background = np.array([[4.0, 4.0, 4.0, 4.0, 4.0]])
    assert subtract_peak(photons, background).ravel().tolist() == [0, 0, 1, 66, 71]


def test_rate_keeps_the_photons_of_each_ring_and_is_positive_however_few_frames():
    rng = np.random.default_rng(2)
    photons = rng.poisson(0.01, (10, *SHAPE))
    mask = NO_MASK.copy()
    mask[:3, 12:18] = True
    photons[:, mask] = 9
    rate = blank_rate(histograms(photons).counts, mask, CENTRE)
    assert (rate[~mask] > 0).all()
    assert not rate[mask].any()
    ring = np.rint(np.hypot(*(np.indices(SHAPE) - np.array(CENTRE)[:, None, None]))).astype(int)
    for radius in np.unique(ring[~mask]):
        members = ~mask & (ring == radius)
        if photons[:, members].any():
            assert rate[members].sum() == pytest.approx(photons[:, members].sum() / 10)


def test_a_hot_pixel_keeps_its_own_rate_and_a_cosmic_ray_does_not_count():
    rng = np.random.default_rng(3)
    photons = rng.poisson(0.05, (400, *SHAPE))
    photons[:, 12, 7] = rng.poisson(3.0, 400)
    photons[5, 15, 15] = 5000
    rate = blank_rate(histograms(photons).counts, NO_MASK, CENTRE)
    assert rate[12, 7] == pytest.approx(3.0, rel=0.1)
    assert rate[15, 15] < 0.15


def test_spread_of_the_level_is_that_of_a_log_normal_without_the_counting_noise():
    rng = np.random.default_rng(4)
    level = np.exp(rng.normal(0, 0.4, 4000))
    assert level_spread(rng.poisson(200 * level)) == pytest.approx(0.4, abs=0.03)
    assert level_spread(rng.poisson(200, 4000)) == pytest.approx(0.05, abs=0.02)
    assert level_spread(np.array([3.0])) == 1.0


def removed(photons, rate, number, profile=(1.0,), centre=(0.0, 0.0)):
    generators = [np.random.default_rng([9, pattern]) for pattern in range(len(photons))]
    given = {"profiles": np.tile(profile, (len(photons), 1)), "centres": np.tile(centre, (len(photons), 1))}
    return remove_photons(photons, rate, number=number, generators=generators, **given)


def test_what_is_removed_is_whole_never_too_much_and_without_a_bias():
    rng = np.random.default_rng(5)
    radius = np.rint(np.hypot(*(np.indices(SHAPE) - np.array(CENTRE)[:, None, None]))).astype(int)
    signal = np.where(radius < 8, 2.0, 0.0)
    rate = np.full(SHAPE, 0.5)
    photons = rng.poisson(signal + rate, (600, *SHAPE)).astype(np.uint16)
    profile = np.where(np.arange(40) < 8, 2.5, 0.5)
    kept = removed(photons, rate, np.full(600, rate.sum()), profile, CENTRE)
    assert kept.dtype == np.uint16
    assert (kept <= photons).all()
    np.testing.assert_array_equal(photons.sum(axis=(1, 2)) - kept.sum(axis=(1, 2)), 300)
    # where a dark region holds fewer background photons than expected, the rest is taken from the bright one
    assert kept[:, radius < 8].mean() == pytest.approx(2.0, rel=0.03)
    assert kept[:, radius >= 8].mean() == pytest.approx(0.0, abs=0.02)
    assert kept.sum(axis=(1, 2)).mean() == pytest.approx(signal.sum(), rel=0.02)


def test_fractions_are_drawn_and_the_same_generators_give_the_same_counts():
    photons = np.full((2000, 2, 2), 3, np.uint16)
    number = np.full(2000, 1.3)
    once, again = (removed(photons, np.ones((2, 2)), number) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert (12 - once.sum(axis=(1, 2))).mean() == pytest.approx(1.3, abs=0.05)


def test_a_pattern_with_fewer_photons_than_the_background_ends_up_dark():
    photons = np.array([[[1, 0], [0, 1]]], np.uint16)
    assert not removed(photons, np.ones((2, 2)), np.array([50.0])).any()
