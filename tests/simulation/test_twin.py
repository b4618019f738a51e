import h5py
import numpy as np
import pytest

from helpers.errors import ProfileError
from helpers.experiment import AMOX34117
from helpers.particles import Particle, rotation_matrix
from helpers.patterns import open_stack
from helpers.preparation import SIZE_RANGE_NM
from helpers.simulation import shots, simulate
from helpers.system import sha256

SMALL = {"patterns": 120, "manual_fraction": 0.15, "outside": (2, 20), "seed": 5}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    path = tmp_path_factory.mktemp("twin") / "twin.cxi"
    simulate(path, **SMALL, processes=1)
    return path


@pytest.fixture(scope="module")
def table(twin):
    with open_stack(twin) as stack:
        return stack.table()


def test_quotas_are_met_exactly(table):
    in_range = table["size_nm"].between(*SIZE_RANGE_NM)
    label = table["label"] == 1
    assert len(table) == 142
    assert (in_range & label).sum() == round(0.15 * 120)
    assert (in_range & ~label).sum() == 120 - 18
    assert (~in_range & label).sum() == 2
    assert (~in_range & ~label).sum() == 20


def test_outside_quota_is_scaled_from_the_papers_and_rounded_up(tmp_path):
    simulate(tmp_path / "few.cxi", patterns=10, manual_fraction=0.3, seed=1, processes=1)
    with open_stack(tmp_path / "few.cxi") as stack:
        in_range = stack.table()["size_nm"].between(*SIZE_RANGE_NM)
        label = stack.table()["label"] == 1
    assert (in_range.sum(), (in_range & label).sum()) == (10, 3)
    assert ((~in_range & label).sum(), (~in_range & ~label).sum()) == (1, 1)


def test_same_seed_gives_the_same_bytes_with_one_and_two_processes(twin, tmp_path):
    simulate(tmp_path / "again.cxi", **SMALL, processes=2)
    assert sha256(tmp_path / "again.cxi") == sha256(twin)


def test_another_seed_gives_other_patterns(twin, tmp_path):
    simulate(tmp_path / "other.cxi", patterns=5, manual_fraction=0.0, outside=(0, 0), seed=6, processes=1)
    with open_stack(tmp_path / "other.cxi") as other, open_stack(twin) as stack:
        assert (other.read(slice(0, 5)) != stack.read(slice(0, 5))).any(axis=(1, 2)).all()


def test_candidates_keep_their_order_and_are_not_repeated(table):
    assert (np.diff(table["event_id"]) > 0).all()


def test_file_says_that_it_is_simulated_and_how(twin):
    with open_stack(twin) as stack:
        assert stack.title == "simulated twin of AMOX34117, seed 5"
        assert stack.centre == AMOX34117.centre
        assert stack.dtype == np.uint16
        np.testing.assert_array_equal(stack.mask, shots.detector_mask(AMOX34117))


def test_bad_pixels_are_zero_and_counts_add_up_to_the_photons_of_the_table(twin, table):
    with open_stack(twin) as stack, h5py.File(twin) as file:
        counts = stack.read(slice(None))
        raw = file[stack.dataset][()]
    assert not raw[:, shots.detector_mask(AMOX34117)].any()
    np.testing.assert_array_equal(counts.sum(axis=(1, 2)), table["photons"])
    assert counts.max() <= AMOX34117.saturation


def test_truth_is_single_for_the_species_single_alone(table):
    np.testing.assert_array_equal(table["truth"] == 1, table["species"] == "single")
    assert 0 < table["truth"].sum() < len(table)
    expected = {"single": 1, "double": 2, "triple": 3, "droplet": 1, "debris": 1, "empty": 0}
    for species, particles in expected.items():
        assert (table.loc[table["species"] == species, "particles"] == particles).all()


def test_expert_never_calls_a_non_single_single_but_misses_singles(table):
    assert not (table.loc[table["truth"] == 0, "label"]).any()
    assert 0 < table.loc[table["truth"] == 1, "label"].mean() < 1
    assert shots.expert_probability(False, 1e6) == 0


def test_expert_misses_weak_singles_more_often_and_some_bright_ones():
    weak, half, bright = (shots.expert_probability(True, photons) for photons in (300.0, 2200.0, 50_000.0))
    assert weak < 0.01
    assert half == pytest.approx(0.93 / 2)
    assert 0.9 < bright < 0.93
    assert shots.expert_probability(True, 0.0) == 0


def test_mean_photons_are_as_asked_within_one_percent():
    mask = shots.detector_mask(AMOX34117)
    rng = np.random.default_rng(3)
    particle = [Particle(68.0, 1.0)]
    scale = shots.photon_scale(AMOX34117, mask, photons=2500.0)
    expected = scale * shots.scattered(particle, AMOX34117, AMOX34117.centre)
    mean = np.mean([shots.detect(expected, mask, AMOX34117, rng).sum() for _ in range(100)])
    assert mean == pytest.approx(2500.0, rel=0.01)


def test_fluence_has_mean_one():
    rng = np.random.default_rng(4)
    fluence = np.array([shots.draw_fluence(rng) for _ in range(100_000)])
    assert fluence.min() > 0
    assert fluence.mean() == pytest.approx(1.0, rel=0.01)


def test_centre_jitters_by_about_a_pixel_around_the_nominal_one():
    rng = np.random.default_rng(5)
    centres = np.array([shots.draw_centre(rng, AMOX34117) for _ in range(2000)])
    np.testing.assert_allclose(centres.mean(axis=0), AMOX34117.centre, atol=0.1)
    assert ((centres.std(axis=0) > 0.5) & (centres.std(axis=0) < 1.5)).all()


def test_detector_clips_at_saturation_and_counts_as_poisson():
    rng = np.random.default_rng(6)
    mask = np.zeros(AMOX34117.shape, bool)
    mask[0] = True
    assert (shots.detect(np.full(AMOX34117.shape, 1e4), mask, AMOX34117, rng)[1:] == AMOX34117.saturation).all()
    counts = shots.detect(np.full(AMOX34117.shape, 3.0), mask, AMOX34117, rng)
    assert counts.dtype == np.uint16
    assert not counts[0].any()
    assert counts[1:].mean() == pytest.approx(3.0, rel=0.02)
    assert counts[1:].var() == pytest.approx(3.0, rel=0.05)


def test_background_falls_from_the_centre():
    background = shots.draw_background(np.random.default_rng(7), AMOX34117, AMOX34117.centre)
    along = background[1, 120:]
    assert (np.diff(along) < 0).all()
    assert (background > 0).all()


def test_mask_covers_the_beam_and_a_small_share_of_the_rest():
    mask = shots.detector_mask(AMOX34117)
    assert mask[AMOX34117.pixel_radius() < 10].all()
    assert 0.01 < mask.mean() < 0.1
    assert mask.all(axis=0).any()


def test_particles_of_an_aggregate_touch_within_the_focus_and_those_of_a_double_share_it():
    rng = np.random.default_rng(8)
    aggregate = shots.draw_particles("aggregate", rng)
    assert 2 <= len(aggregate) <= 4
    assert np.hypot(*np.subtract(aggregate[0].position_nm, aggregate[1].position_nm)) < 100
    doubles = [shots.draw_particles("double", rng) for _ in range(200)]
    apart = [np.hypot(*np.subtract(one.position_nm, other.position_nm)) for one, other in doubles]
    assert 200 < np.median(apart) < 500
    assert all(0 < particle.brightness < 1 for pair in doubles for particle in pair)


def test_orientations_cover_the_sphere_evenly():
    rng = np.random.default_rng(9)
    beam = np.array([rotation_matrix(shots.draw_particles("single", rng)[0].orientation)[2] for _ in range(2000)])
    np.testing.assert_allclose(beam.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose((beam**2).mean(axis=0), 1 / 3, atol=0.03)


@pytest.mark.parametrize("wrong", [{"patterns": 0}, {"manual_fraction": 1.5}, {"photons": -1.0}, {"outside": (-1, 0)}])
def test_impossible_numbers_are_refused_and_leave_no_file(tmp_path, wrong):
    with pytest.raises(ProfileError, match="cannot simulate"):
        simulate(tmp_path / "none.cxi", **{"patterns": 5} | wrong, processes=1)
    assert not list(tmp_path.iterdir())
