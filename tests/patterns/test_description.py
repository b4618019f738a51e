import h5py
import numpy as np
import pytest

from helpers.errors import PatternFileError
from helpers.patterns import ReadOptions, describe, from_dim_to_bright, open_stack
from helpers.patterns.description import character_picture
from tests.patterns import test_layouts as layouts


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_every_layout_is_described(tmp_path, layout):
    write, name, datasets, ids = layouts.LAYOUTS[layout]
    options = write(tmp_path / name)
    text = describe(tmp_path / name, ReadOptions(**options), pictures=True)
    assert f"layout     {layout.partition(',')[0]}" in text
    assert "7 of 5 rows x 6 columns" in text
    assert datasets[0] in text
    assert f"event ids  {'none' if ids is None else f'{ids[0]} to {ids[-1]}'}" in text
    assert "photons    median" in text
    assert text.count("\n  |") == 3 * 3


def test_several_data_sets_and_the_meaning_of_the_mask_are_told(tmp_path):
    layouts.write_cxidb_156(tmp_path / "a.cxi")
    text = describe(tmp_path / "a.cxi")
    assert "2 from entry_2/data_9/data" in text
    assert "2 bad pixels (6.7%); entry_1/instrument_1/detector_1/mask (not 0 = bad), and 2 more" in text
    assert "experiment not told: distance, x_pixel_size, source_1/energy, image_center missing" in text
    text = describe(tmp_path / "a.cxi", ReadOptions(mask_polarity="nonzero-good"))
    assert "28 bad pixels (93.3%); entry_1/instrument_1/detector_1/mask (0 = bad)" in text


def test_the_geometry_of_panels_is_told(tmp_path):
    layouts.write_virtual_cxi(tmp_path / "a.cxi")
    text = describe(tmp_path / "a.cxi")
    assert "one for each pattern, put together by entry_1/instrument_1/detector_1/corner_position" in text
    assert "layout     CXI data (virtual)" in text


def write_adu(path):
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = (layouts.COUNTS * 130 + 0.3).astype("f4")
    return path


def test_frames_in_detector_units_are_shown_and_not_called_photons(tmp_path):
    text = describe(write_adu(tmp_path / "a.cxi"), pictures=True)
    assert "photons    unreadable" in text
    assert "units of the file" in text
    assert text.count("\n  |") == 9
    with open_stack(tmp_path / "a.cxi") as stack:
        assert from_dim_to_bright(stack, 3)[2] == "units of the file"


def test_a_gallery_goes_from_dim_to_bright(tmp_path):
    layouts.write_detector_only(tmp_path / "a.cxi")
    total = layouts.GOOD.sum(axis=(1, 2))
    with open_stack(tmp_path / "a.cxi") as stack:
        values, titles, unit = from_dim_to_bright(stack, 3)
        assert [len(from_dim_to_bright(stack, number)[1]) for number in (1, 7, 50)] == [1, 7, 7]
    assert values.sum(axis=(1, 2)).tolist() == [total.min(), np.sort(total)[3], total.max()]
    assert (titles[-1], unit) == (f"{total.argmax()}: {total.max()}", "photons")


def test_nothing_is_drawn_of_what_cannot_be_decoded(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        data = file.create_dataset("entry_1/data_1/data", data=layouts.COUNTS, chunks=(1, 5, 6), compression="gzip")
        chunk = data.id.get_chunk_info(0)
    damaged = bytearray((tmp_path / "a.cxi").read_bytes())
    damaged[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    (tmp_path / "a.cxi").write_bytes(damaged)
    assert "cannot be decoded" in describe(tmp_path / "a.cxi", pictures=True)
    with open_stack(tmp_path / "a.cxi") as stack, pytest.raises(PatternFileError, match="nothing to draw"):
        from_dim_to_bright(stack, 3)


def test_a_character_stands_for_the_mean_of_a_cell_on_a_logarithmic_scale():
    counts = np.zeros((4, 8))
    counts[:2, :2], counts[:2, 2:4], counts[2:, 6:] = 100, 0.1, [[40, 0], [0, 0]]
    mask = np.zeros((4, 8), bool)
    mask[:2, 4:6] = True
    mask[2, 7] = mask[3, 6:] = True
    assert character_picture(counts, mask, 100, width=8) == ["@@::xx  ", "      %x"]
    assert character_picture(counts, mask, 100, width=4) == ["%. *"]


def test_small_patterns_are_not_enlarged():
    lines = character_picture(np.ones((2, 3)), np.zeros((2, 3), bool), 1.0, width=64)
    assert lines == ["@@@"]
