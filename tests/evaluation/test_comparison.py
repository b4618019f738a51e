import numpy as np
import pandas as pd
import pytest

from helpers.evaluation import references_of, table_4, table_em, table_intervals, table_published

PATTERNS = pd.DataFrame(
    {
        "set": ["test", "test", "test", "training"],
        "label": [True, False, False, True],
        "truth": [True, True, False, True],
    }
)
SELECTED = np.array([True, True, False, False])


def test_truth_is_a_reference_only_where_it_is_known():
    assert {name: list(values) for name, values in references_of(PATTERNS).items()} == {
        "manual": [True, False, False, True],
        "truth": [True, True, False, True],
    }
    assert list(references_of(PATTERNS.drop(columns="truth"))) == ["manual"]


def test_the_em_table_counts_the_size_range_and_the_test_set():
    table = table_em(SELECTED, PATTERNS).set_index(["patterns", "reference"])
    assert table[["selected", "intersection"]].to_numpy().tolist() == [[1085, 575], [2, 1], [2, 2], [2, 1], [2, 2]]
    assert table.loc[("size range, paper", "manual"), "precision"] == pytest.approx(575 / 1085)
    assert table.loc[("size range", "truth"), "recall"] == pytest.approx(2 / 3)
    assert table.loc[("test set", "truth"), "recall"] == 1


def test_intervals_have_a_row_a_selection_and_reference_and_hold_the_metric():
    rng = np.random.default_rng(1)
    reference = {"manual": rng.random(400) < 0.3}
    selected = reference["manual"] ^ (rng.random(400) < 0.1)
    bounds = table_intervals({"a": selected, "b": ~selected}, reference, seed=3)
    assert list(zip(bounds["family"], bounds["reference"], strict=True)) == [("a", "manual"), ("b", "manual")]
    metrics = table_4({"a": selected, "b": ~selected}, reference)
    for name in ("iou", "accuracy", "precision", "recall", "f1", "mcc"):
        found = metrics[name].head(2).to_numpy()
        assert (bounds[f"{name}_lower"] <= found).all()
        assert (found <= bounds[f"{name}_upper"]).all()
    pd.testing.assert_frame_equal(bounds, table_intervals({"a": selected, "b": ~selected}, reference, seed=3))


def test_the_papers_rows_are_those_that_it_prints_and_ours_stand_beside_the_same_family():
    ours = table_4({"yolov2-jet-linear": SELECTED}, references_of(PATTERNS))
    table = table_published(ours).set_index("family")
    assert table.loc["yolov2-jet-linear", "precision_paper"] == pytest.approx(0.50, abs=0.005)
    assert table.loc["yolov2-jet-linear", "iou_paper"] == pytest.approx(0.38, abs=0.005)
    assert table.loc["yolov2-jet-linear", "precision"] == 0.5
    assert table.drop(index="yolov2-jet-linear")["precision"].isna().all()
