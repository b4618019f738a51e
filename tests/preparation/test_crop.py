import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.experiment import AMOX34117
from helpers.preparation import Crop

SIDES = ("down", "up", "left", "right", "both")


@pytest.mark.parametrize("side", ["down", "both"])
def test_the_papers_crop_is_the_default_and_leaves_a_pattern_of_its_own_size_alone(side):
    pattern = np.random.default_rng(1).random(AMOX34117.shape)
    crop = Crop(side)
    centre = AMOX34117.centre if side == "down" else (61.0, 119.5)
    corner = crop.corner(pattern.shape, centre)
    assert corner == (0, 0)
    np.testing.assert_array_equal(crop.cut(pattern, corner), pattern)


@given(
    st.sampled_from(SIDES),
    st.tuples(st.integers(5, 40), st.integers(5, 40)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.data(),
)
def test_a_pixel_goes_where_place_says_or_out_of_the_crop(side, shape, size, data):
    row, column = (data.draw(st.integers(0, length - 1)) for length in shape)
    centre = tuple(data.draw(st.floats(-3, length + 3)) for length in shape)
    frame = np.zeros(shape)
    frame[row, column] = 1
    crop = Crop(side, *size)
    corner = crop.corner(shape, centre)
    cut = crop.cut(frame, corner)
    assert cut.shape == size
    expected = crop.to_crop(np.array([[float(row), float(column)]]), shape, corner)[0]
    inside = (expected >= 0).all() and (expected < size).all()
    assert np.argwhere(cut).tolist() == ([expected.tolist()] if inside else [])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("centre", [(30.2, 41.9), (31.0, 40.5)])
def test_the_beam_comes_to_lie_within_half_a_pixel_of_where_it_should(side, centre):
    crop = Crop(side, rows=20, columns=24)
    placed = crop.to_crop(np.array([centre]), (64, 80), crop.corner((64, 80), centre))[0]
    assert np.abs(placed - crop.wanted_centre).max() <= 0.5
    assert crop.wanted_centre == ((9.5, 11.5) if side == "both" else (1.5, 11.5))


@pytest.mark.parametrize("side", ["down", "up", "left", "right"])
def test_row_0_is_next_to_the_beam_and_rows_go_outwards(side):
    frame = np.hypot(*(np.indices((61, 61)) - 30))
    crop = Crop(side, rows=25, columns=41)
    cut = crop.cut(frame, crop.corner(frame.shape, (30, 30)))
    assert (np.diff(cut[3:, 20]) > 0).all()
    assert cut[:4, 20].min() == 0


@pytest.mark.parametrize("side", ["down", "up", "left", "right"])
def test_a_crop_is_turned_and_not_mirrored(side):
    row, column = np.indices((61, 61)) - 30
    angle = np.arctan2(column, row)
    crop = Crop(side, rows=20, columns=41)
    cut = crop.cut(angle, crop.corner(angle.shape, (30, 30)))
    step = np.angle(np.exp(1j * (cut[10, 25] - cut[10, 15])))
    assert step == pytest.approx(np.angle(np.exp(1j * (angle[40, 35] - angle[40, 25]))), abs=0.1)


def test_outside_the_detector_the_mask_is_bad_and_counts_are_0():
    crop = Crop("down", rows=10, columns=10)
    corner = crop.corner((6, 6), (0, 3))
    mask = crop.cut(np.zeros((6, 6), bool), corner, outside=True)
    counts = crop.cut(np.ones((2, 6, 6), np.uint16), corner)
    np.testing.assert_array_equal(counts, np.broadcast_to(~mask, (2, 10, 10)))
    assert mask.any()


@pytest.mark.parametrize("wrong", [{"side": "inside"}, {"rows": 0}, {"columns": -1}])
def test_impossible_crops_are_refused(wrong):
    with pytest.raises(ValueError, match=r"side must be|is empty"):
        Crop(**wrong)


@given(
    st.sampled_from(SIDES),
    st.tuples(st.integers(5, 40), st.integers(5, 40)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_between_the_centres_named_a_crop_lies_in_the_frame_or_takes_up_all_of_it(side, shape, size):
    crop = Crop(side, *size)
    (row, column), (last_row, last_column) = crop.centres_inside(shape)
    turned = shape if side in ("down", "up", "both") else shape[::-1]
    for centre in ((row, column), (last_row, last_column), ((row + last_row) / 2, (column + last_column) / 2)):
        for first, length, frame in zip(crop.corner(shape, centre), size, turned, strict=True):
            assert 0 <= first <= frame - length or frame - length <= first <= 0
