import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.errors import PatternFileError
from helpers.preparation import HitRule, are_hits, lit_pixels, share_found, whole_photons
from helpers.preparation.photons import to_photons, without_impossible
from helpers.simulation import CAMERA
from helpers.simulation.detector_frames import camera_values

NO_MASK = np.zeros((4, 4), bool)

# psana's own example of its algorithm, in photons, but for a pair that adds up to 0.9 exactly
EXAMPLE = np.array([[0.0, 3.5, 0.1, 0.2], [0.2, 0.3, 0.0, 1.2], [0.1, 4.7, 3.4, 0.0], [0.52, 0.4, 0.3, 0.1]])
COUNTED = np.array([[0, 3, 0, 0], [0, 0, 0, 1], [0, 5, 3, 0], [1, 0, 0, 0]])


def test_charge_of_two_neighbours_makes_one_photon_as_in_psana():
    np.testing.assert_array_equal(to_photons(130 * EXAMPLE[None], 130.0)[0], COUNTED)


@pytest.mark.parametrize(
    ("charge", "photons"),
    [
        ([0.5, 0.5], [1, 0]),
        ([0.45, 0.55], [0, 1]),
        ([0.8, 0.05], [0, 0]),
        ([0.95, 0.0], [1, 0]),
        ([0.6, 0.55], [1, 0]),
        ([1.6, 2.35], [2, 2]),
    ],
)
def test_a_pair_makes_at_most_one_photon_more(charge, photons):
    for frame in (np.array([[charge]]), np.array([[[value] for value in charge]])):
        np.testing.assert_array_equal(to_photons(frame, 1.0).ravel(), photons)


def test_neighbours_do_not_reach_around_the_edge_or_into_the_next_frame():
    frames = np.zeros((2, 2, 3))
    frames[0, 0, 0], frames[0, 0, 2], frames[0, 1, 0], frames[1, 0, 1] = 0.0, 0.6, 0.35, 0.35
    assert not to_photons(frames, 1.0).any()


@given(arrays(np.float32, (2, 5, 6), elements=st.floats(0, 50, width=32)))
def test_photons_are_the_whole_part_or_one_more(charge):
    more = to_photons(charge, 1.0).astype(int) - np.floor(charge)
    assert set(np.unique(more)) <= {0, 1}
    np.testing.assert_array_equal(to_photons(charge, 1.0, conversion="round"), np.rint(charge))


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf, 1e6])
def test_values_that_are_no_photons_are_refused(wrong):
    with pytest.raises(ValueError, match="not photon counts"):
        to_photons(np.array([[[0.0, wrong]]]), 1.0)


def test_impossible_values_are_counted_and_become_zero_and_bad_pixels_do_not_count():
    frames = np.full((3, 4, 4), 5.0)
    frames[0, 0, :3] = np.nan, np.inf, -np.inf
    frames[1, 2, 2] = -3.0
    frames[2, 3, 3] = np.inf
    mask = NO_MASK.copy()
    mask[3, 3] = True
    clean, found = without_impossible(frames, mask)
    assert (list(found.nan), list(found.infinite), list(found.negative)) == ([1, 0, 0], [2, 0, 0], [0, 1, 0])
    assert clean[0, 0].tolist() == [0, 0, 0, 5]
    assert clean[1, 2, 2] == 0
    assert not clean[:, 3, 3].any()
    assert np.isnan(frames[0, 0, 0]), "the caller's frames are left alone"


@pytest.mark.parametrize(("value", "message"), [(0.5, "hold 0.5"), (-1.0, "negative values"), (7e4, "over 65535")])
def test_frames_that_hold_no_photon_counts_are_refused_with_the_next_step(value, message):
    frames = np.full((1, 4, 4), 2.0)
    frames[0, 1, 1] = value
    with pytest.raises(PatternFileError, match=f"{message}.*adu-per-photon"):
        whole_photons(frames, NO_MASK, HitRule())


def test_an_unknown_conversion_is_refused():
    with pytest.raises(ValueError, match="pairs, round"):
        HitRule(conversion="floor")


@pytest.mark.parametrize(("conversion", "loss"), [("pairs", 0.088), ("round", 0.032)])
def test_the_share_of_sparse_photons_that_is_lost_is_what_the_docstring_says(conversion, loss):
    rng = np.random.default_rng(1)
    photons = rng.poisson(0.01, (20, *CAMERA.shape))
    adu = np.stack([camera_values(frame, CAMERA, rng) for frame in photons])
    clean, _ = without_impossible(adu, np.zeros(CAMERA.shape, bool))
    counted = to_photons(clean, CAMERA.adu_per_photon, conversion=conversion)
    assert 1 - counted.sum() / photons.sum() == pytest.approx(loss, abs=0.01)


def test_lit_pixels_are_good_ones_over_the_threshold():
    frames = np.array([[[31.0, 30.0], [500.0, 29.0]], [[0.0, 31.0], [31.0, 31.0]]])
    mask = np.array([[False, False], [True, False]])
    assert lit_pixels(frames, mask, above=30).tolist() == [1, 2]


def test_a_hit_has_enough_lit_pixels_and_not_too_many():
    lit = np.array([0, 9, 10, 50, 51])
    assert are_hits(lit, (10, 50)).tolist() == [False, False, True, True, False]
    assert are_hits(lit, (10, None)).tolist() == [False, False, True, True, True]


def test_the_share_of_photons_found_is_that_of_the_crop():
    values = np.zeros((2, *CAMERA.shape), np.float32)
    row, column = (int(place) for place in CAMERA.centre)
    values[:, row + 30, column + 5] = 3 * CAMERA.adu_per_photon
    values[1, row + 40, column] = 0.4 * CAMERA.adu_per_photon  # a photon that has lost most of its charge
    mask = np.zeros(CAMERA.shape, bool)
    assert share_found(values, mask, np.array([3, 4]), CAMERA, "round") == pytest.approx(6 / 7)
