import numpy as np
import pytest

from helpers.errors import ProfileError
from helpers.patterns import open_stack
from helpers.preparation import Crop
from helpers.simulation import CAMERA, shots, simulate_frames
from helpers.simulation.detector_frames import CLOUD_PIXELS, READ_NOISE_ADU, camera_values, draw_shot
from helpers.system import sha256


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "frames.cxi"
    simulate_frames(path, frames=60, seed=2)
    return path


def test_file_says_that_it_is_simulated_and_in_adu(written):
    with open_stack(written) as stack:
        assert stack.title == "simulated detector frames of AMOX34117 camera, seed 2"
        assert stack.dtype == np.int16
        assert stack.shape == (60, *CAMERA.shape)
        frames = stack.read_frames(slice(None))
        mask = stack.mask
    assert not frames[:, mask].any()
    assert (frames < 0).mean() > 0.1
    assert frames.max() <= CAMERA.saturation * CAMERA.adu_per_photon + 10 * READ_NOISE_ADU


def test_same_seed_gives_the_same_bytes_and_another_does_not(written, tmp_path):
    for seed in (2, 3):
        simulate_frames(tmp_path / f"{seed}.cxi", frames=60, seed=seed)
    assert sha256(tmp_path / "2.cxi") == sha256(written)
    with open_stack(tmp_path / "3.cxi") as other, open_stack(written) as stack:
        assert (other.read_frames(slice(0, 5)) != stack.read_frames(slice(0, 5))).any(axis=(1, 2)).all()


def test_blank_frames_have_background_alone_and_truth_adds_up(written):
    with open_stack(written) as stack:
        truth = stack.table()
    blank = truth["species"] == "blank"
    assert 0.2 < blank.mean() < 0.8
    assert not truth.loc[blank, ["truth", "true_size_nm", "signal_photons"]].to_numpy().any()
    assert (truth["truth"] == (truth["species"] == "single")).all()
    expected = truth["signal_photons"] + truth["background_mean"]
    assert np.abs((truth["counted_photons"] - expected) / np.sqrt(expected)).max() < 5
    np.testing.assert_allclose(truth[["true_centre_row", "true_centre_column"]].mean(), CAMERA.centre, atol=0.5)


def test_truth_is_that_of_the_shot_in_the_crop():
    mask = shots.detector_mask(CAMERA)
    # frame 0 of seed 2 is a hit
    shot = draw_shot(np.random.default_rng([2, 0]), CAMERA, scale=shots.photon_scale(CAMERA, mask))
    crop = Crop()
    corner = crop.corner(CAMERA.shape, CAMERA.centre)
    assert crop.cut(shot.signal, corner)[~crop.cut(mask, corner)].sum() < shot.signal[~mask].sum()


def test_charge_is_kept_but_at_the_edges_and_noise_has_the_stated_width():
    photons = np.zeros(CAMERA.shape, int)
    photons[5:-5, 5:-5] = np.random.default_rng(1).poisson(0.3, photons[5:-5, 5:-5].shape)
    adu = camera_values(photons, CAMERA, np.random.default_rng(2)).astype(float)
    noise = READ_NOISE_ADU * np.sqrt(adu.size)
    assert adu.sum() == pytest.approx(photons.sum() * CAMERA.adu_per_photon, abs=4 * noise)
    dark = camera_values(np.zeros((200, 200), int), CAMERA, np.random.default_rng(3))
    assert dark.std() == pytest.approx(READ_NOISE_ADU, rel=0.03)
    assert abs(dark.mean()) < 0.1


def test_a_photon_shares_its_charge_with_the_neighbours_as_a_gaussian_cloud():
    photons = np.zeros((5, 5), int)
    photons[2, 2] = 100
    saturated = camera_values(photons, CAMERA, np.random.default_rng(4), read_noise=0.0)
    share = saturated / saturated.sum()
    np.testing.assert_allclose(share, share.T, atol=0.02)
    # mean overlap of a Gaussian of width s with a unit pixel: 1 - 2 s / sqrt(2 pi) along each axis
    assert share[2, 2] == pytest.approx((1 - 2 * CLOUD_PIXELS / np.sqrt(2 * np.pi)) ** 2, abs=0.03)


def test_bright_pixels_are_clipped_at_the_saturation():
    photons = np.full((4, 4), 1000)
    adu = camera_values(photons, CAMERA, np.random.default_rng(5), read_noise=0.0)
    assert (adu[1:3, 1:3] == CAMERA.saturation * CAMERA.adu_per_photon).all()


def test_no_frames_are_refused_and_leave_no_file(tmp_path):
    with pytest.raises(ProfileError, match="cannot simulate 0 frames"):
        simulate_frames(tmp_path / "none.cxi", frames=0)
    assert not list(tmp_path.iterdir())
