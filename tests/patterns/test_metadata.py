import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as npst

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117, Experiment
from helpers.patterns import check_output, describe, open_stack
from helpers.patterns.masks import CXI, TWO_IS_BAD, chosen_rule

COUNTS = np.ones((4, 3, 5), np.uint16)


@given(npst.arrays(np.uint8, (3, 4)))
def test_the_two_polarities_are_opposite_and_the_format_is_one_of_two(values):
    bad = chosen_rule("nonzero-bad", TWO_IS_BAD).bad_pixels(values)
    np.testing.assert_array_equal(bad, ~chosen_rule("nonzero-good", TWO_IS_BAD).bad_pixels(values))
    np.testing.assert_array_equal(bad, values != 0)
    np.testing.assert_array_equal(chosen_rule("format", TWO_IS_BAD).bad_pixels(values), values == 2)
    np.testing.assert_array_equal(chosen_rule("format", CXI).bad_pixels(values), (values & ~np.uint8(0x20)) != 0)


def test_our_files_tell_the_experiment(tmp_path, write_patterns):
    with open_stack(write_patterns(tmp_path / "a.cxi", "run 7")) as stack:
        found = stack.experiment
        assert stack.missing == ()
    assert found.wavelength_nm == pytest.approx(AMOX34117.wavelength_nm)
    assert (found.distance_m, found.pixel_m, found.saturation) == (0.130, 75e-6, 126)
    assert (found.name, found.shape, found.centre, found.adu_per_photon) == ("run 7", (4, 6), (0, 3), 1.0)


def write(path, detector, **others):
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = COUNTS
        file["entry_1/data_1/image_center"] = [2.0, 1.0, 0.0]
        file["entry_1/instrument_1/source_1/energy"] = 2.7e-16
        for name, value in detector.items():
            file[f"entry_1/instrument_1/detector_1/{name}"] = value
        for name, value in others.items():
            file[name.replace("__", "/")] = value
    return path


WHOLE = {"distance": 0.5, "x_pixel_size": 1e-4, "y_pixel_size": 1e-4}


def test_detector_units_of_a_photon_follow_from_counts_per_joule(tmp_path):
    path = write(tmp_path / "a.cxi", {**WHOLE, "counts_per_joule": 130 / 2.7e-16})
    with open_stack(path) as stack:
        assert stack.experiment.adu_per_photon == pytest.approx(130)
        assert stack.experiment.saturation == 65535


@pytest.mark.parametrize(
    ("detector", "missing"),
    [
        ({**WHOLE, "distance": 0.0}, ("distance",)),
        ({**WHOLE, "distance": np.nan}, ("distance",)),
        ({"distance": 0.5}, ("x_pixel_size",)),
        ({**WHOLE, "y_pixel_size": 2e-4}, ("square pixels",)),
        ({**WHOLE, "distance": "far away"}, ("distance",)),
    ],
)
def test_what_is_missing_for_an_experiment_is_named(tmp_path, detector, missing):
    with open_stack(write(tmp_path / "a.cxi", detector)) as stack:
        assert (stack.experiment, stack.missing) == (None, missing)


@pytest.mark.parametrize("place", ["image", "data"])
def test_a_mask_for_each_pattern_of_another_data_set_is_neither_used_nor_refused(tmp_path, place):
    """Found by random files: a group without a mask took that of its neighbour, pattern by pattern."""
    path = tmp_path / "a.cxi"
    masks = np.zeros(COUNTS.shape, np.int32)
    masks[1, 0, 0] = 1
    for length in (3, 4):
        with h5py.File(path, "w") as file:
            file[f"entry_1/{place}_1/data"], file[f"entry_1/{place}_1/mask"] = COUNTS, masks
            file[f"entry_1/{place}_2/data"] = COUNTS[:length]
        with open_stack(path) as stack:
            counts = stack.read(slice(None))
        np.testing.assert_array_equal(counts, np.concatenate([np.where(masks, 0, COUNTS), COUNTS[:length]]))


def test_one_missing_value_does_not_hide_the_others(tmp_path):
    """The row `frames.cxi`: distance, pixel and energy, but no `image_center`, as psocake and EXtra-data write."""
    path = write(tmp_path / "a.cxi", WHOLE)
    with h5py.File(path, "r+") as file:
        del file["entry_1/data_1/image_center"]
    with open_stack(path) as stack:
        assert (stack.experiment, stack.missing) == (None, ("image_center",))
        known = stack.experiment_values
    assert (known["distance_m"], known["pixel_m"]) == (0.5, 1e-4)
    assert known["wavelength_nm"] == pytest.approx(0.7357, rel=1e-3)
    assert "distance 0.5 m, pixel 100 µm; image_center missing" in describe(path)


@pytest.mark.parametrize(("name", "value"), [("photon_energy_eV", 1700.0), ("photon_wavelength_A", 7.2932)])
def test_the_wavelength_may_be_known_to_the_machine_only(tmp_path, name, value):
    """Sibling: Cheetah and psana write the photon energy beside the other values of LCLS, shot by shot."""
    path = write(tmp_path / "a.cxi", WHOLE, **{f"LCLS__{name}": np.full(4, value)})
    with h5py.File(path, "r+") as file:
        del file["entry_1/instrument_1/source_1"]
    with open_stack(path) as stack:
        assert stack.experiment.wavelength_nm == pytest.approx(0.72932, rel=1e-4)


EACH = np.tile([2.0, 1.0, 0.0], (4, 1))


@pytest.mark.parametrize(
    "centre",
    [
        EACH,
        EACH[:, :2],
        EACH[:1],
        EACH.astype(np.float32),
        EACH.astype(int),
        np.where(EACH[:, :1] * [[1], [0], [0], [0]], np.nan, EACH),
    ],
)
def test_a_centre_for_each_pattern_is_the_centre_where_all_are_alike(tmp_path, centre):
    """The row `centre_per_pattern.cxi`."""
    path = write(tmp_path / "a.cxi", WHOLE)
    with h5py.File(path, "r+") as file:
        del file["entry_1/data_1/image_center"]
        file["entry_1/data_1/image_center"] = centre
    with open_stack(path) as stack:
        assert stack.centre == (1.0, 2.0)
        assert stack.experiment.centre == (1.0, 2.0)


def test_centres_that_differ_are_told_and_leave_the_experiment_without_one(tmp_path):
    """Sibling: a jet that moves (Bobkov's spi_refine_center stores a centre for each pattern)."""
    path = write(tmp_path / "a.cxi", WHOLE)
    with h5py.File(path, "r+") as file:
        del file["entry_1/data_1/image_center"]
        file["entry_1/data_1/image_center"] = EACH + np.arange(4)[:, None]
    with open_stack(path) as stack:
        assert (stack.centre, stack.experiment) == (None, None)
        assert stack.missing == ("one image_center for all patterns",)
        assert stack.read(slice(None)).sum() == 60
        with pytest.raises(PatternFileError, match=r"does not tell one image_center for all patterns, .*add what is"):
            check_output(tmp_path / "b.emc", stack)
    assert "centre     differs between the patterns: rows 1 to 4, columns 2 to 5" in describe(path)


@pytest.mark.parametrize("centre", [np.ones((3, 3)), np.ones((4, 4)), np.full((4, 3), np.nan), [b"here"] * 4, 2.0])
def test_centres_of_another_number_or_kind_are_refused(tmp_path, centre):
    path = write(tmp_path / "a.cxi", WHOLE)
    with h5py.File(path, "r+") as file:
        del file["entry_1/data_1/image_center"]
        file["entry_1/data_1/image_center"] = centre
    with pytest.raises(PatternFileError, match=r"image_center is .*write \(x, y, z\) in pixels or remove it"):
        open_stack(path)


def test_values_shot_by_shot_count_with_their_median(tmp_path):
    path = write(tmp_path / "a.cxi", {**WHOLE, "distance": [0.5, 0.0, 0.7, 0.6]})
    with open_stack(path) as stack:
        assert stack.experiment.distance_m == 0.6


def test_data_sets_with_different_experiments_have_none(tmp_path):
    path = write(tmp_path / "a.cxi", WHOLE)
    with h5py.File(path, "a") as file:
        file.copy("entry_1", "entry_2")
    with open_stack(path) as stack:
        assert isinstance(stack.experiment, Experiment)
    with h5py.File(path, "a") as file:
        file["entry_2/instrument_1/detector_1/distance"][()] = 0.7
    with open_stack(path) as stack:
        assert (stack.experiment, stack.missing) == (None, ("one experiment for all data sets",))
        assert stack.centre == (1.0, 2.0)
    with h5py.File(path, "a") as file:
        file["entry_2/data_1/image_center"][0] = 3
    with open_stack(path) as stack:
        assert (stack.centre, stack.experiment) == (None, None)


def test_masks_of_several_data_sets_are_joined(tmp_path):
    masks = np.zeros((2, 3, 5), np.int32)
    masks[0, 0, 0] = masks[1, 2, 2] = 1
    path = write(tmp_path / "a.cxi", {}, entry_1__data_1__mask=masks[0], entry_2__data_1__data=COUNTS)
    with h5py.File(path, "a") as file:
        file["entry_2/data_1/mask"] = masks[1]
    with open_stack(path) as stack:
        np.testing.assert_array_equal(stack.mask, masks.any(axis=0))
        assert stack.read(slice(None)).sum() == 8 * 13


def test_a_mask_for_each_pattern_is_followed_pattern_by_pattern(tmp_path):
    masks = np.zeros(COUNTS.shape, np.uint32)
    masks[:, 0, 0] = masks[2, 1, 1] = 4
    with open_stack(write(tmp_path / "a.cxi", {}, entry_1__data_1__mask=masks)) as stack:
        assert np.argwhere(stack.mask).tolist() == [[0, 0]]
        np.testing.assert_array_equal(stack.read(slice(None)), masks == 0)
        np.testing.assert_array_equal(stack.read(np.array([2, 0])), masks[[2, 0]] == 0)


@pytest.mark.parametrize("place", ["entry_1__data_1__mask", "entry_1__instrument_1__detector_1__mask"])
@pytest.mark.parametrize("mask", [np.zeros((5, 3)), np.zeros((3, 3, 5)), np.zeros(15), np.full((3, 5), "good", "S4")])
def test_a_mask_of_another_shape_or_of_text_is_refused(tmp_path, place, mask):
    with pytest.raises(PatternFileError, match=r"a\.cxi: mask entry_1/.*/mask has shape .*; store one mask"):
        open_stack(write(tmp_path / "a.cxi", {}, **{place: mask}))
