import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.em import EMSettings, PolarGrid
from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.simulation.shots import detector_mask

MASK = detector_mask(AMOX34117)
CENTRE = AMOX34117.centre


def in_band(settings, mask=MASK, centre=CENTRE):
    radius = AMOX34117.pixel_radius(centre)
    return ~mask & (radius >= settings.q_range[0]) & (radius <= settings.q_range[1])


@given(
    rotations=st.integers(1, 40),
    inner=st.integers(16, 40),
    width=st.integers(1, 30),
    friedel=st.booleans(),
    jitter=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_every_photon_of_the_band_is_in_the_cells_once_or_with_friedel_twice(rotations, inner, width, friedel, jitter):
    settings = EMSettings(rotations=rotations, q_range=(inner, inner + width), friedel=friedel)
    centre = tuple(np.add(CENTRE, jitter))
    grid = PolarGrid.of_detector(MASK, centre, settings)
    counts = np.random.default_rng(1).poisson(2.0, (2, *AMOX34117.shape))
    cells = grid.of_patterns(counts)
    times = 2 if friedel else 1
    expected = times * counts[:, in_band(settings, centre=centre)].sum(axis=1)
    np.testing.assert_allclose(cells.sum(axis=(1, 2)), expected)
    assert grid.exposure.sum() == pytest.approx(times * in_band(settings, centre=centre).sum())
    assert grid.shape[1] % rotations == 0
    assert grid.period / grid.shape[1] * settings.q_range[1] <= 1


def test_masked_pixels_and_those_outside_the_band_carry_no_weight():
    settings = EMSettings(rotations=10, q_range=(20, 40))
    grid = PolarGrid.of_detector(MASK, CENTRE, settings)
    counts = np.full((1, *AMOX34117.shape), 3.0)
    counts[0, ~in_band(settings)] = 1e6
    np.testing.assert_allclose(grid.of_patterns(counts)[0], 3 * grid.exposure)


def test_friedel_puts_opposite_pixels_into_the_same_cells():
    settings = EMSettings(rotations=10, q_range=(3, 8))
    grid = PolarGrid.of_detector(np.zeros((21, 21), bool), (10.0, 10.0), settings)
    counts = np.zeros((2, 21, 21))
    counts[0, 14, 7] = counts[1, 6, 13] = 5
    first, second = grid.of_patterns(counts)
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_log_intensity_is_the_logarithm_of_each_pixel_before_the_sum():
    grid = PolarGrid.of_detector(MASK, CENTRE, EMSettings(rotations=10, q_range=(20, 40)))
    counts = np.random.default_rng(1).poisson(1.0, (2, *AMOX34117.shape))
    np.testing.assert_allclose(grid.of_patterns(counts, intensity="log"), grid.of_patterns(np.log1p(counts)))


@pytest.mark.parametrize("friedel", [True, False])
def test_a_turn_of_a_pattern_is_a_shift_of_its_cells(friedel):
    settings = EMSettings(rotations=24, q_range=(10, 30), friedel=friedel)
    grid = PolarGrid.of_detector(np.zeros((71, 71), bool), (35.0, 35.0), settings)
    down, across = np.mgrid[-35:36, -35:36]
    angle = np.arctan2(down, across)
    turned = [1.5 + np.cos(2 * (angle - turn)) for turn in (0, grid.period / 24 * 7)]
    step = 7 * grid.shape[1] // 24
    still, moved = grid.of_patterns(np.array(turned)) / np.where(grid.exposure > 0.3, grid.exposure, np.nan)
    shifted = np.roll(still, step, axis=1)
    seen = np.isfinite(shifted) & np.isfinite(moved)
    assert seen.mean() > 0.7
    assert np.abs(moved - shifted)[seen].max() < 0.15
    assert np.abs(moved - still)[seen].max() > 1  # a shift it is, not the same pattern


def test_a_picture_shows_a_model_as_the_detector_would():
    settings = EMSettings(rotations=10, q_range=(10, 30))
    grid = PolarGrid.of_detector(MASK, CENTRE, settings)
    angle = np.arange(grid.shape[1]) / grid.shape[1] * math.pi
    model = grid.radii[:, None] * (2 + np.cos(2 * angle))
    picture = grid.picture(model)
    down, across = np.mgrid[-30:31, -30:31]
    radius = np.hypot(down, across)
    expected = radius * (2 + np.cos(2 * np.arctan2(down, across)))
    inside = (radius >= 10) & (radius <= 30)
    assert np.isnan(picture[~inside]).all()
    np.testing.assert_allclose(picture[inside], expected[inside], rtol=1e-3)
    np.testing.assert_array_equal(grid.pictures([model])[0], picture)


def test_a_band_without_good_pixels_is_refused():
    with pytest.raises(PatternFileError, match="no good pixel lies 3 to 8 pixels from the beam centre"):
        PolarGrid.of_detector(MASK, CENTRE, EMSettings(q_range=(3, 8)))
