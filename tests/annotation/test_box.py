import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from helpers.annotation import Box, held_share, propose_box, read_box, sum_patterns, table_box, write_box
from helpers.errors import BoxError

SHAPE = (123, 240)


@pytest.fixture
def positives():
    """Rings around the centre of the paper's crop, as small spheres scatter."""
    rows, columns = np.mgrid[:123, :240]
    distance = np.hypot(rows + 0.5, columns - 119.5)
    expected = 8 * np.sinc(distance / 25) ** 2 / (1 + distance / 25) ** 2 + 1e-4
    return np.random.default_rng(4).poisson(expected, (5, *SHAPE)).astype(np.uint16)


def test_relative_box_is_what_darknets_label_file_holds():
    assert Box(0, 61, 60, 180).relative((122, 240)) == (0.5, 0.25, 0.5, 0.5)


@pytest.mark.parametrize("edges", [(5, 5, 0, 9), (0, 9, 7, 6), (-1, 9, 0, 9), (0, 9.5, 0, 9), (0, True, 0, 9)])
def test_impossible_boxes_are_refused(edges):
    with pytest.raises(BoxError, match=re.escape(str(edges[1] if edges[1] != 9 else edges[0]))):
        Box(*edges)


def test_box_beyond_the_pattern_is_refused():
    with pytest.raises(BoxError, match="row 124 and column 240, but a pattern has 123 rows and 240 columns"):
        Box(0, 124, 0, 240).relative(SHAPE)


def test_numpy_integers_are_whole_pixels():
    assert Box(*np.array([1, 5, 2, 6])) == Box(1, 5, 2, 6)


def smallest_by_trying_all(counts, share):
    """Area of the smallest rectangle, and the most that one of this area holds."""
    summed = sum_patterns(counts)
    spans = [list(itertools.combinations(range(length + 1), 2)) for length in summed.shape]
    boxes = [Box(*rows, *columns) for rows in spans[0] for columns in spans[1]]
    ranks = [
        ((box.row_stop - box.row_start) * (box.column_stop - box.column_start), -held_share(summed, box))
        for box in boxes
    ]
    return min(rank for rank in ranks if -rank[1] >= share - 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.uint16, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6)), elements=st.integers(0, 9)
    ),
    st.sampled_from([0.1, 0.5, 0.7, 0.9, 1.0]),
)
def test_proposed_box_is_the_smallest_of_all_rectangles(counts, share):
    if counts.sum() == 0:
        with pytest.raises(BoxError, match="without a photon"):
            propose_box(counts, share)
        return
    box = propose_box(counts, share)
    area = (box.row_stop - box.row_start) * (box.column_stop - box.column_start)
    assert (area, -held_share(sum_patterns(counts), box)) == pytest.approx(smallest_by_trying_all(counts, share))


def test_proposed_box_holds_its_share_of_the_paper_sized_patterns(positives):
    box = propose_box(positives, 0.9)
    assert 0.9 <= held_share(sum_patterns(positives), box) < 0.92
    assert box.row_start == 0
    assert abs(box.column_start + box.column_stop - 240) <= 4


def test_proposed_box_of_one_bright_rectangle_is_that_rectangle():
    counts = np.zeros((1, *SHAPE))
    counts[0, 20:31, 100:107] = 0.1
    assert propose_box(counts, 1.0) == Box(20, 31, 100, 107)


@pytest.mark.parametrize("share", [0, -0.5, 1.1, float("nan")])
def test_share_out_of_range_is_refused(positives, share):
    with pytest.raises(BoxError, match=re.escape(str(share))):
        propose_box(positives, share)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_box_comes_back_from_json(tmp_path_factory, data):
    rows, columns = (
        sorted(data.draw(st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True))) for length in SHAPE
    )
    path = tmp_path_factory.mktemp("box") / "new" / "box.json"
    write_box(path, Box(*rows, *columns), shape=SHAPE, source="proposed", share=0.9)
    assert read_box(path, shape=SHAPE) == Box(*rows, *columns)


def test_json_names_its_fields(tmp_path):
    write_box(tmp_path / "box.json", Box(0, 39, 84, 155), shape=SHAPE, source="user", share=0.5)
    assert json.loads((tmp_path / "box.json").read_text()) == {
        "rows": [0, 39],
        "columns": [84, 155],
        "shape": [123, 240],
        "source": "user",
        "share": 0.5,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"rows": [0, 9], "columns": [0, 9]}',
        '{"rows": [0], "columns": [0, 9], "shape": [9, 9]}',
        '{"rows": [0, 10], "columns": [0, 9], "shape": [9, 9]}',
        '{"rows": [0, "9"], "columns": [0, 9], "shape": [9, 9]}',
        '{"rows": [4, 4], "columns": [0, 9], "shape": [9, 9]}',
    ],
)
def test_files_without_a_box_are_named(tmp_path, text):
    (tmp_path / "box.json").write_text(text)
    with pytest.raises(BoxError, match=r"box\.json holds no box.* delete it"):
        read_box(tmp_path / "box.json")


def test_box_for_other_patterns_is_refused(tmp_path):
    write_box(tmp_path / "box.json", Box(0, 5, 0, 5), shape=(10, 10), source="user")
    with pytest.raises(
        BoxError, match=r"box\.json holds a box for patterns of 10 × 10 pixels, but these have 123 × 240"
    ):
        read_box(tmp_path / "box.json", shape=SHAPE)


def test_unknown_source_or_box_outside_is_not_written(tmp_path):
    with pytest.raises(BoxError, match="guess"):
        write_box(tmp_path / "box.json", Box(0, 5, 0, 5), shape=SHAPE, source="guess")
    with pytest.raises(BoxError, match="row 200"):
        write_box(tmp_path / "box.json", Box(0, 200, 0, 5), shape=SHAPE, source="user")
    assert not (tmp_path / "box.json").exists()


def test_boxes_are_read_without_jupyter():
    command = "import sys, helpers.annotation; sys.exit(bool({'anywidget', 'matplotlib', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_the_table_of_boxes_grows_with_the_share(positives):
    table = table_box(positives)
    assert (table["share_held"] >= table["share_asked"]).all()
    assert table["area"].is_monotonic_increasing
    for row in table.itertuples():
        box = Box(row.row_start, row.row_stop, row.column_start, row.column_stop)
        assert box == propose_box(positives, share=row.share_asked)
        assert row.share_held == held_share(sum_patterns(positives), box)
