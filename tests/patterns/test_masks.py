"""Masks as programs write them: bits with a meaning, several masks, masks in other groups."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers.patterns import ReadOptions, describe, open_stack
from helpers.patterns.masks import CXI, NEXUS, NONZERO_IS_BAD, TWO_IS_BAD

COUNTS = np.random.default_rng(3).poisson(2, (9, 6, 8)).astype(np.float32)
BAD = np.zeros((6, 8), bool)
BAD[2, 3] = BAD[5, :2] = True
GOOD = np.where(BAD, 0, COUNTS)


def write(path, **values):
    """Counts in image_1, and other data sets by path, / as __."""
    with h5py.File(path, "w") as file:
        file["entry_1/image_1/data"] = COUNTS
        for name, value in values.items():
            file[name.replace("__", "/")] = value
    return path


def read(path, **options):
    with open_stack(path, ReadOptions(**options)) as stack:
        return stack.read(slice(None))


def test_cheetahs_hit_finder_marks_lit_pixels_and_they_stay_good(tmp_path):
    mask = np.where(BAD, 0x80, 0) | np.where(COUNTS >= 1, 0x2000, 0)
    path = write(tmp_path / "a.cxi", entry_1__image_1__mask=mask.astype(np.uint16))
    np.testing.assert_array_equal(read(path), GOOD)
    text = describe(path)
    assert "3 bad pixels (6.2%); entry_1/image_1/mask (bits of CXI), one for each pattern" in text
    assert "0x80 bad: 3 pixels in any of 9 masks" in text
    lit = np.count_nonzero((COUNTS >= 1).any(axis=0))
    assert f"0x2000 lit for the hit finder, not bad: {lit} pixels in any of 9 masks" in text


def test_pynx_marks_the_scan_area_as_has_signal_and_it_stays_good(tmp_path):
    """PyNX (pynx/ptycho, its CXI export): mask = (area > 0) * 0x1000, CXI_PIXEL_HAS_SIGNAL."""
    path = write(tmp_path / "a.cxi", entry_1__image_1__mask=np.where(BAD, 0x1000, 0x1000 | 0x10000))
    np.testing.assert_array_equal(read(path), COUNTS)


@pytest.mark.parametrize("bit", [0x1, 0x2, 0x4, 0x8, 0x10, 0x40, 0x80, 0x200, 0x400, 0x8000, 0x20000, 0x400000])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64])
def test_pixels_are_bad_by_cheetahs_bits_and_by_unknown_ones(bit, kind):
    if kind == np.uint16 and bit > 0xFFFF:
        return
    np.testing.assert_array_equal(CXI.bad_pixels(np.where(BAD, bit | 0x2000, 0x2000).astype(kind)), BAD)


@given(npst.arrays(st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64]), (3, 4)))
def test_a_pixel_is_good_if_it_has_only_bits_that_tell(values):
    told = sum(CXI.told)
    expected = [(int(value) & ~told) != 0 for value in values.ravel()]
    assert CXI.bad_pixels(values).ravel().tolist() == expected
    assert CXI.bad_pixels(values.astype(np.float64)).ravel().tolist() == expected
    np.testing.assert_array_equal(NEXUS.bad_pixels(values), values != 0)


def test_floats_that_are_no_whole_numbers_are_bad():
    assert CXI.bad_pixels(np.array([0.0, 0.5, np.nan, np.inf, 8192.0, -1.0])).tolist() == [
        False, True, True, True, False, True
    ]  # fmt: skip


def test_bits_are_named_each_with_its_pixels_and_a_yes_or_no_has_none():
    values = np.array([[0x80, 0x81, 0x2000], [0, 0x20000, 0x80]], np.uint32)
    assert CXI.bits_found(values) == [
        "0x1 invalid: 1 pixels",
        "0x80 bad: 3 pixels",
        "0x2000 lit for the hit finder, not bad: 1 pixels",
        "0x20000 unknown, bad: 1 pixels",
    ]
    assert [rule.bits_found(np.array([0, 1, 1])) for rule in (CXI, NEXUS, TWO_IS_BAD, NONZERO_IS_BAD)] == [[]] * 4
    assert CXI.in_words(np.array([0, 1, 0x80])) == "not 0 = bad"


def test_a_polarity_that_is_asked_for_knows_no_bits(tmp_path):
    path = write(tmp_path / "a.cxi", entry_1__image_1__mask=np.where(BAD, 0, 0x2000))
    np.testing.assert_array_equal(read(path, mask_polarity="nonzero-good"), GOOD)
    np.testing.assert_array_equal(read(path), COUNTS)
    np.testing.assert_array_equal(read(path, mask_polarity="nonzero-bad"), np.where(BAD, COUNTS, 0))


PLACES = [
    "entry_1__image_1__mask_shared",
    "entry_1__image_1__pixel_mask",
    "entry_1__image_2__mask",
    "entry_1__instrument_1__detector_1__mask_shared",
    "entry_1__data_1__mask",
    "entry_1__instrument__detector__pixel_mask",
    "entry_1__instrument__detector__detectorSpecific__pixel_mask",
    "entry_1__mask",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_mask_is_found_under_its_names_in_the_groups_of_its_entry(tmp_path, place):
    path = write(tmp_path / "a.cxi", **{place: np.where(BAD, 128, 0).astype(np.uint16)})
    np.testing.assert_array_equal(read(path), GOOD)
    assert place.replace("__", "/") in describe(path)


def test_the_detector_of_nexus_is_found_from_its_named_data(tmp_path):
    """nexusformat/definitions#651: pixel_mask in NXdetector, of one frame or of each; bits of its own (8: user)."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data_000001"] = COUNTS
        file["entry/instrument/detector/pixel_mask"] = np.where(BAD, 0x100, 0).astype(np.uint32)
    np.testing.assert_array_equal(read(tmp_path / "a.h5", dataset="entry/data/data_000001"), GOOD)


def test_a_mask_for_all_and_one_for_each_are_combined(tmp_path):
    each = np.zeros(COUNTS.shape, np.uint16)
    each[4, 0, 0] = 4
    shared = np.where(BAD, 128, 0).astype(np.uint16)
    path = write(tmp_path / "a.cxi", entry_1__image_1__mask=each, entry_1__image_1__mask_shared=shared)
    expected = GOOD.copy()
    expected[4, 0, 0] = 0
    np.testing.assert_array_equal(read(path), expected)
    path = write(tmp_path / "b.cxi", entry_1__image_1__mask=each, entry_1__instrument_1__detector_1__mask=shared)
    np.testing.assert_array_equal(read(path), expected)


def test_a_nearer_mask_counts_and_one_of_other_data_does_not_disturb(tmp_path):
    given = {"entry_1__image_1__mask": BAD.astype("i4"), "entry_1__image_2__mask": np.ones((6, 8), "i4")}
    np.testing.assert_array_equal(read(write(tmp_path / "a.cxi", **given)), GOOD)
    np.testing.assert_array_equal(read(write(tmp_path / "b.cxi", entry_1__data_2__mask=np.ones((3, 3)))), COUNTS)


def test_masks_of_the_european_xfel_have_bits_of_their_own(tmp_path):
    """European-XFEL/EXtra-data#308 and #146: any bit is a doubt; 8192 is an error of the gain, and no lit pixel."""
    from tests.patterns import test_layouts as layouts

    layouts.write_virtual_cxi(tmp_path / "a.cxi")
    with h5py.File(tmp_path / "CORR-R0001-AGIPD00-S00000.h5", "r+") as file:
        file["INSTRUMENT/SPB_DET_AGIPD1M-1/DET/0CH0:xtdf/image/mask"][:, 1, 1] = 8192
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.mask.sum() == layouts.MASK.sum() + 1
