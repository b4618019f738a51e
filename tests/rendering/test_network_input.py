import numpy as np
import pytest

from helpers.experiment import AMOX34117
from helpers.family import Representation
from helpers.rendering import brightest, input_sizes, render, table_rendering, table_resize, written_out
from helpers.rendering.network_input import PAPER_SIZES

PATTERN = np.random.default_rng(2).poisson(3.0, (123, 240)).astype(np.float32)


def test_the_brightest_pattern_has_the_most_photons():
    counts = np.zeros((3, 2, 2))
    counts[1], counts[2, 0, 0] = 1, 3
    np.testing.assert_array_equal(brightest(counts), counts[1])


def test_sizes_are_the_papers_and_those_of_the_profile():
    assert input_sizes({"yolov2": {"size": 96}, "yolov3": {"size": 608}}) == [96, *PAPER_SIZES]


def test_both_ways_agree_to_rounding_in_every_representation():
    table = table_rendering(PATTERN, iter([64, 96]))
    assert len(table) == 4 * 2 * 2
    assert table.drop_duplicates(["representation", "resize", "size"]).shape == table.shape
    assert table["largest_difference"].max() < 1e-6


def test_the_table_tells_of_a_way_that_differs(monkeypatch):
    monkeypatch.setattr("helpers.rendering.network_input.render", lambda *given, **named: 1 - render(*given, **named))
    assert table_rendering(PATTERN, [64])["largest_difference"].min() > 0.1


def test_written_out_is_the_way_of_the_paper():
    jet = Representation("jet", "log")
    image = written_out(PATTERN, jet, 64, "letterbox")
    assert image.shape == (3, 64, 64)
    np.testing.assert_allclose(image, render(PATTERN[None], jet, 64, resize="letterbox")[0], atol=1e-6)


def test_at_the_papers_size_every_pixel_is_read_and_the_detector_is_the_limit():
    table = table_resize((123, 240), [96, 416], AMOX34117).set_index(["resize", "size"])
    paper = table.loc[("stretch", 416)]
    assert (paper["pixels_read"], paper["period_rows"], paper["period_columns"]) == (1, 2, 2)
    # two pixels a period: lambda D / (2 p)
    distance = AMOX34117.wavelength_nm * AMOX34117.distance_m / (2 * AMOX34117.pixel_m)
    assert paper["distance_rows"] == pytest.approx(distance)
    small = table.loc[("stretch", 96)]
    assert small["period_columns"] == pytest.approx(2 * 240 / 96)
    assert small["pixels_read"] < 0.5
