from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.signal import argrelmin

from helpers.experiment import AMOX34117
from helpers.preparation import SIZE_RANGE_NM, first_dark_ring, particle_sizes, radial_average, sphere_form_factor
from helpers.preparation.form_factor import relative_intensity
from helpers.preparation.size import fitted_radii, search_range

CENTRE = np.array([AMOX34117.centre])


def sphere_pattern(diameter_nm, centre=AMOX34117.centre):
    return sphere_form_factor(AMOX34117.q(centre), diameter_nm / 2)


def test_first_minimum_of_the_form_factor_is_at_4_4934():
    minimum = brentq(lambda x: np.tan(x) - x, 4.4, 4.6)
    assert minimum == pytest.approx(4.4934, abs=1e-4)
    assert sphere_form_factor(minimum / 30, 30.0) < 1e-20 * sphere_form_factor(0.0, 30.0)


def test_form_factor_at_zero_is_the_squared_volume():
    assert sphere_form_factor(0.0, 30.0) == pytest.approx((4 / 3 * np.pi * 30**3) ** 2)


@pytest.mark.parametrize(("diameter", "pixels"), [(55, 32.9), (70, 25.8), (84, 21.5)])
def test_first_minimum_on_the_detector_is_within_a_pixel_of_theory(diameter, pixels):
    profile = radial_average(sphere_pattern(diameter)[None], np.zeros(AMOX34117.shape, bool), CENTRE)[0]
    found = argrelmin(profile[15:])[0][0] + 15
    expected = 4.4934 / (AMOX34117.q_step * diameter / 2)
    assert first_dark_ring(diameter, AMOX34117) == expected
    assert expected == pytest.approx(pixels, abs=0.05)
    assert abs(found - expected) <= 1


def test_radial_average_by_hand_leaves_out_bad_pixels():
    pattern = np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    mask = np.array([[False, False, False], [False, True, False]])
    # radii from pixel (0, 1): 1 0 1 / 1.41→1 1(bad) 1.41→1
    np.testing.assert_allclose(radial_average(pattern, mask, np.array([[0.0, 1.0]])), [[2.0, (1 + 3 + 4 + 6) / 4]])


def test_radial_average_is_zero_where_no_good_pixel_has_the_radius():
    pattern = np.ones((1, 1, 4))
    mask = np.array([[True, True, False, False]])
    np.testing.assert_array_equal(radial_average(pattern, mask, np.array([[0.0, 0.0]])), [[0, 0, 1, 1]])


def test_each_pattern_is_averaged_about_its_own_centre():
    centres = np.array([[1.5, 119.5], [4.0, 110.0], [1.5, 119.5]])
    patterns = np.stack([sphere_pattern(70, tuple(centre)) for centre in centres])
    mask = AMOX34117.pixel_radius() < 14
    together = radial_average(patterns, mask, centres)
    for pattern, centre, profile in zip(patterns, centres, together, strict=True):
        alone = radial_average(pattern[None], mask, centre[None])[0]
        np.testing.assert_allclose(profile[: alone.size], alone)
        assert abs(np.argmin(profile[20:32]) + 20 - 25.8) <= 1


def test_sizes_of_noise_free_spheres_are_found_within_two_percent():
    diameters = np.array([45.0, 55.0, 60.0, 70.0, 84.0, 100.0])
    patterns = np.stack([sphere_pattern(diameter) for diameter in diameters])
    mask = AMOX34117.pixel_radius() < 14
    sizes, scores = particle_sizes(patterns, mask, np.repeat(CENTRE, 6, axis=0), AMOX34117)
    np.testing.assert_allclose(sizes, diameters, rtol=0.02)
    assert (scores >= 1).all()


def test_size_does_not_depend_on_brightness_or_on_the_other_patterns():
    rng = np.random.default_rng(1)
    faint = rng.poisson(sphere_pattern(66) * (3000 / sphere_pattern(66).sum()))
    patterns = np.concatenate([np.stack([faint, 7 * faint]), rng.poisson(0.1, (70, *AMOX34117.shape))])
    centres = np.repeat(CENTRE, len(patterns), axis=0)
    mask = np.zeros(AMOX34117.shape, bool)
    sizes, _ = particle_sizes(patterns, mask, centres, AMOX34117)
    alone, _ = particle_sizes(patterns[:1], mask, centres[:1], AMOX34117)
    assert sizes[0] == sizes[1] == alone[0]
    assert sizes[0] == pytest.approx(66, abs=2)


def test_pattern_without_photons_has_a_size_that_is_a_number_outside_the_range():
    sizes, scores = particle_sizes(np.zeros((1, *AMOX34117.shape)), np.zeros(AMOX34117.shape, bool), CENTRE, AMOX34117)
    assert np.isfinite(sizes).all()
    assert np.isfinite(scores).all()
    assert not SIZE_RANGE_NM[0] <= sizes[0] <= SIZE_RANGE_NM[1]


def test_radii_beyond_the_largest_are_left_out_and_change_nothing_else():
    patterns = np.random.default_rng(2).poisson(0.3, (5, *AMOX34117.shape))
    mask = AMOX34117.pixel_radius() < 14
    for centres in (np.repeat(CENTRE, 5, axis=0), CENTRE + np.arange(5)[:, None] / 3):
        whole = radial_average(patterns, mask, centres)
        np.testing.assert_array_equal(radial_average(patterns, mask, centres, largest_radius=40), whole[:, :41])


def test_relative_intensity_is_the_form_factor_and_its_growth_the_derivative():
    x = np.concatenate([np.linspace(0, 0.3, 31), np.linspace(0.3, 30, 500)])
    intensity, growth = relative_intensity(x)
    np.testing.assert_allclose(intensity, sphere_form_factor(x, 1.0) / sphere_form_factor(0.0, 1.0), atol=1e-5)
    step = 1e-4
    numeric = (relative_intensity(x[1:] + step)[0] - relative_intensity(x[1:] - step)[0]) / (2 * step)
    np.testing.assert_allclose(growth[1:], numeric * x[1:], atol=1e-4)


def test_radii_and_search_range_follow_from_geometry_and_mask_alone():
    mask = AMOX34117.pixel_radius() < 14
    assert fitted_radii(AMOX34117, mask) == (16, 90)
    smallest, largest = search_range((16, 90), AMOX34117)
    # first dark rings at 45 and at 16 pixels: qR = 4.5
    for size, pixels in ((smallest, 45), (largest, 16)):
        assert AMOX34117.q_step * pixels * size / 2 == pytest.approx(4.5, rel=1e-6)
    farther = replace(AMOX34117, distance_m=2 * AMOX34117.distance_m)
    assert search_range((16, 90), farther) == pytest.approx((2 * smallest, 2 * largest))
