"""Centres: circles on the sum of the hits, and each pattern's own from the sphere fit, against the twin's truth."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.particles import Particle
from helpers.preparation import prepare_file
from helpers.preparation.background import Background
from helpers.preparation.circle_fit import circle_centre, fitted_circle
from helpers.preparation.sphere_fit import CentrePrior, SphereFit, SphereFitter, prior_of
from helpers.simulation import shots

MASK = shots.detector_mask(AMOX34117)
SCALE = shots.photon_scale(AMOX34117, MASK)
RATE = np.where(MASK, 0.0, 0.13 * np.exp(-AMOX34117.pixel_radius() / 22) + 0.002)
NEAR = CentrePrior(AMOX34117.centre, 0.8)


def fitter(prior=NEAR):
    return SphereFitter(MASK, AMOX34117, Background(RATE, 0.4), prior, sizes_nm=(35.0, 130.0), largest_radius=80)


def drawn(species, number, seed, fluence=None):
    """Counts (number, rows, columns), true centres and sizes of simulated shots with over 2000 photons."""
    counts, centres, sizes = [], [], []
    rng = np.random.default_rng(seed)
    while len(counts) < number:
        particles = shots.draw_particles(species, rng) if species != "sphere" else [Particle(68.0, 1.0)]
        centre = shots.draw_centre(rng, AMOX34117)
        brightness = SCALE * (fluence or shots.draw_fluence(rng))
        signal = brightness * shots.scattered(particles, AMOX34117, centre)
        pattern = shots.detect(signal + shots.draw_background(rng, AMOX34117, centre), MASK, AMOX34117, rng)
        if pattern.sum() > 2000:
            counts.append(pattern)
            centres.append(centre)
            sizes.append(particles[0].size_nm)
    return np.stack(counts), np.array(centres), np.array(sizes)


@given(
    st.floats(-20, 20), st.floats(-20, 20), st.floats(2, 50), st.floats(0, 3), st.floats(1.0, 6.2), st.integers(5, 40)
)
def test_a_circle_through_points_of_an_arc_is_found(row, column, radius, start, length, points):
    angle = start + np.linspace(0, length, points)
    found = fitted_circle(row + radius * np.sin(angle), column + radius * np.cos(angle))
    np.testing.assert_allclose(found, (row, column, radius), atol=1e-3)


def test_circle_fit_minimises_the_spread_of_the_distances():
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, np.pi, 200)
    row, column = 50 * np.sin(angle) + rng.normal(0, 1, 200), 50 * np.cos(angle) + rng.normal(0, 1, 200)
    found = np.array(fitted_circle(row, column)[:2])

    def spread(centre):
        return np.hypot(row - centre[0], column - centre[1]).var()

    for step in ((0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
        assert spread(found + step) > spread(found)


@pytest.mark.parametrize("centre", [(1.5, 119.5), (3.2, 116.1), (-4.0, 125.3)])
def test_circles_find_the_centre_of_a_sum_of_half_patterns(centre):
    mask = AMOX34117.pixel_radius(centre) < 14
    expected = sum(shots.scattered([Particle(size, 1.0)], AMOX34117, centre) / size**6 for size in range(60, 76))
    image = np.random.default_rng(2).poisson(expected * (2e6 / expected[~mask].sum()))
    image[mask] = 0
    np.testing.assert_allclose(circle_centre(image, mask), centre, atol=0.6)


def test_a_noisy_sum_of_few_patterns_is_blurred():
    counts, centres, _ = drawn("single", 6, seed=3)
    np.testing.assert_allclose(circle_centre(counts.sum(axis=0), MASK), centres.mean(axis=0), atol=1.5)


@pytest.mark.parametrize("image", [np.zeros((40, 60)), np.tile(np.arange(60.0), (40, 1))])
def test_a_sum_without_circles_is_refused_with_the_next_step(image):
    with pytest.raises(PatternFileError, match="--centre ROW,COLUMN"):
        circle_centre(image, np.zeros(image.shape, bool))


@pytest.fixture(scope="module")
def singles():
    return drawn("single", 250, seed=4)


def test_centres_of_single_hits_are_within_half_a_pixel_for_95_percent(singles):
    counts, centres, _ = singles
    found = fitter().fit(counts)
    assert np.mean(np.hypot(*(found.centres - centres).T) <= 0.5) >= 0.95


def test_sizes_of_the_sphere_fits_are_within_3_nm_for_90_percent(singles):
    counts, _, sizes = singles
    assert np.mean(np.abs(fitter().fit(counts).size_nm - sizes) <= 3) >= 0.9


def test_a_first_estimate_that_is_3_pixels_off_gives_the_same_centres(singles):
    counts = singles[0][:60]
    off = fitter(CentrePrior((AMOX34117.centre_row + 2, AMOX34117.centre_column - 2.5), 5.0)).fit(counts)
    near = fitter(CentrePrior(AMOX34117.centre, 5.0)).fit(counts)
    np.testing.assert_allclose(off.centres, near.centres, atol=0.25)


def test_for_spheres_the_errors_are_those_that_the_fit_tells_and_none_is_smaller():
    counts, centres, _ = drawn("sphere", 200, seed=6, fluence=1.0)
    found = fitter(CentrePrior(AMOX34117.centre, 50.0)).fit(counts)
    ratio = (found.centres - centres).std(axis=0) / np.sqrt((found.errors**2).mean(axis=0))
    np.testing.assert_allclose(ratio, 1, atol=0.15)
    assert np.abs((found.centres - centres).mean(axis=0)).max() < 0.05


def test_fit_does_not_depend_on_the_other_patterns():
    counts, _, _ = drawn("single", 40, seed=7)
    together, alone = fitter().fit(counts), fitter().fit(counts[35:36])
    np.testing.assert_allclose(together.centres[35], alone.centres[0], atol=0.01)
    assert together.size_nm[35] == pytest.approx(alone.size_nm[0], rel=1e-3)


def test_a_dark_pattern_and_one_that_is_no_sphere_give_numbers_near_the_prior():
    patterns = np.zeros((2, *AMOX34117.shape), np.uint16)
    patterns[1, 60:62, 30:200] = 60
    found = fitter().fit(patterns)
    for values in vars(found).values():
        assert np.isfinite(values).all()
    assert np.abs(found.centres - AMOX34117.centre).max() <= 10


def test_the_prior_is_the_median_and_the_jitter_without_the_errors_of_the_fits():
    rng = np.random.default_rng(8)
    centres = rng.normal((5.0, 30.0), np.hypot(0.8, 0.4), (4000, 2))
    centres[:300] += 40
    fit = SphereFit(centres, np.full((4000, 2), 0.4), *np.zeros((3, 4000)))
    prior = prior_of(fit)
    np.testing.assert_allclose(prior.centre, (5, 30), atol=0.15)
    assert prior.jitter == pytest.approx(0.8, abs=0.15)
    assert prior_of(SphereFit(centres[-1:], np.full((1, 2), 0.4), *np.zeros((3, 1)))).jitter == pytest.approx(0.3)


@pytest.mark.parametrize("centre", [(261, 100), (-130, 128), (128, 600), (float("nan"), 128), (1e300, 128)])
def test_a_centre_with_which_the_crop_shows_nothing_is_refused_before_frames_are_read(tmp_path, centre, monkeypatch):
    """silx-kit/pyFAI#1647: a centre far off the detector."""
    frames = np.random.default_rng(1).poisson(0.5, (3, 260, 257)).astype(np.uint16)
    with h5py.File(tmp_path / "frames.cxi", "w") as file:
        file["entry_1/data_1/data"] = frames
    monkeypatch.setattr("helpers.preparation.command.prepare", lambda *_, **__: pytest.fail("frames are read"))
    geometry = {"wavelength": 0.73, "distance": 0.13, "pixel": 75e-6}
    with pytest.raises(PatternFileError) as refused:
        prepare_file(tmp_path / "frames.cxi", tmp_path / "out.cxi", centre=centre, **geometry)
    line = str(refused.value)
    assert "frames.cxi: with the beam at row" in line
    assert "in frames of 260 x 257; it lies in them for rows 1.5 to 138.5 and columns 119.5 to 136.5" in line
    assert "\n" not in line
