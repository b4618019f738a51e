import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from helpers import evaluation
from helpers.errors import MissingStepError
from helpers.evaluation import Confusion, iterations_of, scores_at
from helpers.evaluation.metrics import intervals

selections = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(
    lambda pairs: tuple(np.array(column) for column in zip(*pairs, strict=True))
)


@given(selections)
def test_metrics_agree_with_scikit_learn(pair):
    selected, reference = pair
    counts = Confusion.from_selection(selected, reference)
    assert counts.accuracy == pytest.approx(metrics.accuracy_score(reference, selected))
    if len({*selected, *reference}) == 2:
        assert counts.mcc == pytest.approx(metrics.matthews_corrcoef(reference, selected))
    else:
        assert counts.mcc == 0
    undefined = {"zero_division": np.nan}
    for ours, theirs in (
        (counts.precision, metrics.precision_score(reference, selected, **undefined)),
        (counts.recall, metrics.recall_score(reference, selected, **undefined)),
        (counts.f1, metrics.f1_score(reference, selected, **undefined)),
        (counts.iou, metrics.jaccard_score(reference, selected, zero_division=0)),
    ):
        if not np.isnan(ours):
            assert ours == pytest.approx(theirs)


@given(selections)
def test_counts_and_selections_give_the_same_confusion(pair):
    selected, reference = pair
    assert Confusion.from_selection(selected, reference) == Confusion.from_counts(
        selected=selected.sum(),
        intersection=(selected & reference).sum(),
        positives=reference.sum(),
        patterns=len(reference),
    )


def test_never_single_has_the_accuracy_of_the_negatives_and_no_skill():
    counts = Confusion.from_counts(selected=0, intersection=0, positives=995, patterns=17_932)
    assert counts.accuracy == pytest.approx(16_937 / 17_932)
    assert np.isnan(counts.precision)
    assert (counts.recall, counts.f1, counts.iou, counts.mcc) == (0, 0, 0, 0)


def test_stable_selection_needs_every_checkpoint():
    scores = np.array([[0.5, 0.5], [0.5, 0.2], [0.1, 0.9], [0.24, 0.9]])
    assert list(evaluation.stable_selection(scores, 0.24)) == [True, False, False, False]


def scores_of(*columns, first=100):
    names = [f"iteration_{first + 100 * k:06d}" for k in range(len(columns))]
    return pd.DataFrame({"pattern": range(len(columns[0])), **dict(zip(names, columns, strict=True))})


def test_table_2_is_the_mean_and_population_deviation_of_the_later_checkpoints():
    labels = np.array([True, True, False, False])
    scores = scores_of([0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0])
    table = evaluation.table_2({"f": evaluation.validation_curve(scores, labels, 0.5)}, first=200, last=400)
    f1 = np.array([2 / 3, 1, 0.8])
    assert table["f1_mean"][0] == pytest.approx(f1.mean())
    assert table["f1_std"][0] == pytest.approx(f1.std())
    assert list(table.columns) == ["family"] + [
        f"{name}_{which}" for name in ("accuracy", "precision", "recall", "f1") for which in ("mean", "std")
    ]


def test_table_2_leaves_an_undefined_precision_out_of_its_mean():
    scores = scores_of([0, 0], [1, 0])
    table = evaluation.table_2(
        {"f": evaluation.validation_curve(scores, np.array([True, False]), 0.5)}, first=100, last=200
    )
    assert table["precision_mean"][0] == 1
    assert table["recall_mean"][0] == 0.5


def test_table_3_counts_each_checkpoint_and_their_common_patterns():
    table = evaluation.table_3({"f": scores_of([1, 1, 0], [1, 0, 1], [1, 1, 1])}, {"f": 0.5}, [100, 200, 300])
    row = table.iloc[0]
    assert [row[f"iteration_{k:06d}"] for k in (100, 200, 300)] == [2, 2, 3]
    assert row["std"] == pytest.approx(np.std([2, 2, 3]))
    assert row["stable"] == 1


def test_table_4_has_a_row_for_each_reference_and_the_never_single_classifier():
    truth = np.array([True, True, True, False])
    manual = np.array([True, False, False, False])
    table = evaluation.table_4({"f": truth}, {"manual": manual, "truth": truth})
    assert list(table["family"]) == ["f", "f", "never-single", "never-single"]
    assert list(table["reference"]) == ["manual", "truth"] * 2
    assert list(table["precision"][:2]) == [1 / 3, 1]
    assert list(table["selected"]) == [3, 3, 0, 0]


def test_scores_of_an_unscored_checkpoint_are_an_error():
    scores = scores_of([1, 0], first=400)
    assert iterations_of(scores) == [400]
    with pytest.raises(MissingStepError, match="iteration_000500"):
        scores_at(scores, [400, 500])


def test_intervals_hold_the_estimate_and_shrink_with_the_test_set():
    small = Confusion.from_counts(selected=60, intersection=30, positives=50, patterns=900)
    large = Confusion.from_counts(selected=6000, intersection=3000, positives=5000, patterns=90_000)
    low, high = intervals(small, seed=1)["f1"]
    low_large, high_large = intervals(large, seed=1)["f1"]
    assert low < small.f1 < high
    assert (high_large - low_large) == pytest.approx((high - low) / 10, rel=0.2)


def test_intervals_of_precision_cover_the_binomial_expectation():
    counts = Confusion.from_counts(selected=400, intersection=200, positives=4000, patterns=100_000)
    low, high = intervals(counts, seed=2, draws=20_000)["precision"]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.25 / 400), rel=0.05)


def test_agreement_is_symmetric_and_one_with_itself():
    a, b = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 1], bool)
    table = evaluation.agreement({"a": a, "b": b})
    assert table.loc["a", "b"] == table.loc["b", "a"] == 0.25
    assert list(np.diag(table)) == [1, 1]


def test_the_f1_of_a_consensus_is_that_of_the_stable_selection():
    table = pd.DataFrame({"iteration_000001": [0.9, 0.9, 0.9, 0.1], "iteration_000002": [0.8, 0.1, 0.7, 0.9]})
    labels = np.array([True, True, False, False])
    assert evaluation.consensus_f1(table, labels, 0.5, [1, 2]) == pytest.approx(0.5)  # one right, one wrong, one missed
    assert evaluation.consensus_f1(table, labels, 0.5, [1]) == pytest.approx(0.8)


def test_chosen_patterns_are_ordered_by_their_score():
    chosen, score = np.array([True, False, True, True, True]), np.array([0.2, 0.9, 0.5, 0.8, 0.5])
    assert evaluation.by_score(chosen, score).tolist() == [3, 2, 4, 0]
    assert evaluation.by_score(chosen, score, most=2).tolist() == [3, 2]
    assert evaluation.by_score(chosen, score, lowest_first=True).tolist() == [0, 4, 2, 3]
