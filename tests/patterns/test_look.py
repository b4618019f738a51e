"""One look at the counts: what is odd is said in a line, and sound files get none."""

import time

import h5py
import numpy as np
import pytest

from helpers.patterns import ReadOptions, describe, doubts, open_stack, print_doubts
from tests.patterns import test_layouts as layouts

RNG = np.random.default_rng(5)
COUNTS = RNG.poisson(0.5, (20, 12, 15)).astype(np.uint16)
GAP = np.zeros((12, 15), bool)
GAP[4:6] = True


def doubts_of(path, counts=COUNTS, *, are_frames=False, options=None, **others):
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = counts
        for name, value in others.items():
            file[name.replace("__", "/")] = value
    with open_stack(path, ReadOptions(**(options or {}))) as stack:
        lines = doubts(stack, are_frames=are_frames)
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_sound_files_of_known_layouts_raise_no_doubt(tmp_path, layout):
    write, name, *_ = layouts.LAYOUTS[layout]
    with open_stack(tmp_path / name, ReadOptions(**write(tmp_path / name))) as stack:
        assert doubts(stack) == []
        assert doubts(stack, are_frames=True) == []


def test_the_twin_raises_no_doubt_and_the_look_is_short(twin):
    with open_stack(twin) as stack:
        began = time.perf_counter()
        assert doubts(stack) == []
        assert time.perf_counter() - began < 2


def test_a_mask_the_wrong_way_round_is_doubted_and_info_shows_the_photons_under_it(tmp_path):
    """silx-kit/pyFAI#443, silx-kit/silx#3217, slac-lcls/smalldata_tools#148: 1 for good pixels."""
    counts = np.where(GAP, 0, COUNTS)
    (line,) = doubts_of(tmp_path / "a.cxi", counts, entry_1__data_1__mask=(~GAP).astype(np.uint8))
    usual = np.median(counts.sum(axis=(1, 2)))
    assert f"holds 0 photons in good pixels and {usual:.0f} in the bad ones (83.3% of all)" in line
    assert "--mask-polarity nonzero-good" in line
    text = describe(tmp_path / "a.cxi")
    assert f"photons    median 0 (5 % below 0, 5 % above 0) in the first 20; {usual:.0f} before the mask" in text
    right = {"mask_polarity": "nonzero-good"}
    assert doubts_of(tmp_path / "b.cxi", counts, options=right, entry_1__data_1__mask=(~GAP).astype("u1")) == []


def test_it_is_doubted_also_where_hot_pixels_shine_in_the_wrong_mask(tmp_path):
    counts = COUNTS.copy()
    counts[:, GAP] = RNG.poisson(40, counts[:, GAP].shape)
    (line,) = doubts_of(tmp_path / "a.cxi", counts, entry_1__data_1__mask=(~GAP).astype(np.uint8))
    assert line.startswith("83.3% of the pixels are bad (entry_1/data_1/mask (not 0 = bad)); if the mask means")


def test_a_mask_of_lit_pixels_read_as_yes_or_no_is_doubted(tmp_path):
    given = {"entry_1__data_1__mask": np.where(COUNTS > 0, 0x2000, 0)}
    assert doubts_of(tmp_path / "a.cxi", **given) == []
    (line,) = doubts_of(tmp_path / "a.cxi", options={"mask_polarity": "nonzero-bad"}, **given)
    assert "holds 0 photons in good pixels" in line


def test_gaps_of_the_geometry_are_no_bad_pixels_of_a_wrong_mask(tmp_path):
    layouts.write_virtual_cxi(tmp_path / "a.cxi")
    with h5py.File(tmp_path / "a.cxi", "r+") as file:
        file["entry_1/instrument_1/detector_1/corner_position"][0, 0] = 40e-4
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.mask.mean() > 0.5
        assert doubts(stack) == []


def test_blank_patterns_are_doubted_and_blank_frames_are_not_if_one_has_light(tmp_path):
    blank = np.where(np.arange(20)[:, None, None] < 12, 0, COUNTS)
    (line,) = doubts_of(tmp_path / "a.cxi", blank)
    assert "the median of 20 patterns looked at holds 0 photons: check that these are the patterns" in line
    assert doubts_of(tmp_path / "a.cxi", blank, are_frames=True) == []
    assert "brightest" in doubts_of(tmp_path / "a.cxi", 0 * blank, are_frames=True)[0]


def test_pixels_that_hold_one_bright_value_are_doubted(tmp_path):
    counts = COUNTS.copy()
    counts[:, 3, 7] = counts[:, 8, 8] = 90
    (line,) = doubts_of(tmp_path / "a.cxi", counts)
    assert "2 pixels hold the same value in all 20 patterns looked at, for instance 90 at row 3, column 7" in line
    assert doubts_of(tmp_path / "b.cxi", counts[:7]) == []


def test_absurdly_bright_patterns_are_doubted(tmp_path):
    """European-XFEL/karabo_data#143: hot pixels that the mask forgot; or whole detector units, 130 a photon."""
    counts = COUNTS.copy()
    counts[:, 5:7, 5:7] = RNG.poisson(900, (20, 2, 2))
    assert [
        "lies in pixels of 8" in line or "lies in pixels of 9" in line for line in doubts_of(tmp_path / "a.cxi", counts)
    ] == [True]
    units = (COUNTS * 130).astype(np.int32)
    assert "`workbook prepare`" in doubts_of(tmp_path / "b.cxi", units)[0]
    assert doubts_of(tmp_path / "b.cxi", units, are_frames=True) == []


def test_what_looks_like_a_mask_and_is_not_used_is_named_with_the_place_for_it(tmp_path):
    """silx-kit/pyFAI#10 and others keep masks under names of their own."""
    mask = GAP.astype(np.uint8)
    (line,) = doubts_of(tmp_path / "a.cxi", entry_1__result_1__bad_pixel_map=mask, calibration__user_mask=mask)
    assert line.startswith("calibration/user_mask, entry_1/result_1/bad_pixel_map looks like a mask")
    assert line.endswith("link or copy it to entry_1/data_1/mask")
    others = {
        "entry_1__result_1__maskingTime": np.zeros(20),
        "calibration__small_mask": np.zeros((3, 4)),
        "entry_1__instrument_1__detector_7__mask": mask,
        "entry_1__instrument_1__detector_7__data": np.zeros((3, 3)),
    }
    assert doubts_of(tmp_path / "b.cxi", entry_1__data_1__mask=mask, **others) == []


def test_doubts_go_to_standard_error_as_warnings(capfd):
    print_doubts(["a.cxi: odd", "b.cxi: odd"])
    assert capfd.readouterr() == ("", "workbook: warning: a.cxi: odd\nworkbook: warning: b.cxi: odd\n")


def test_frames_with_the_largest_value_of_their_type_now_and_then_are_doubted(tmp_path):
    """SWC-Advanced-Microscopy/StitchIt#183: int16 frames that end at 2 ** 15 - 1."""
    frames = (COUNTS * 130).astype(np.int16)
    frames[3, 2, 2] = 32767
    (line,) = doubts_of(tmp_path / "a.cxi", frames, are_frames=True)
    assert line.startswith("the frames looked at hold 1 values of 32767, the largest of an integer type; they count as")
