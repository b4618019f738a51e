"""Tables 2 to 4 of the paper, from scores and selections."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import Confusion
from helpers.evaluation.scores import iteration_column, scores_at

NEVER_SINGLE = "never-single"
"""Name of the row for a classifier that selects nothing: the value of each metric without any skill."""


def table_2(curves: Mapping[str, pd.DataFrame], *, first: int, last: int) -> pd.DataFrame:
    """Table 2: mean and population standard deviation of the metrics over the later checkpoints.

    A checkpoint that selects nothing has no precision; it is left out of the mean precision, but not of the others.

    Parameters
    ----------
    curves
        Family → metrics of its checkpoints, from `metrics.validation_curve`.
    first, last
        First and last iteration of the mean, both included (2000 and 5000 in the paper).

    Returns
    -------
    pandas.DataFrame
        Columns family, then mean and std of accuracy, precision, recall, f1.
    """
    rows = []
    for family, curve in curves.items():
        later = curve[curve["iteration"].between(first, last)]
        row = {"family": family}
        for name in ("accuracy", "precision", "recall", "f1"):
            row[f"{name}_mean"], row[f"{name}_std"] = later[name].mean(), later[name].std(ddof=0)
        rows.append(row)
    return pd.DataFrame(rows)


def table_3(
    scores: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float], iterations: Sequence[int]
) -> pd.DataFrame:
    """Table 3: patterns selected by each checkpoint of the consensus, and by all of them.

    Parameters
    ----------
    scores
        Family → table of scores of the test set.
    thresholds
        Family → score above which its network selects a pattern.
    iterations
        Iterations of the checkpoints of the consensus (4000 … 4400 in the paper).

    Returns
    -------
    pandas.DataFrame
        Columns family, the number of selected patterns at each iteration, their population standard deviation std,
        and the size of the stable selection, stable.
    """
    rows = []
    for family, table in scores.items():
        selected = scores_at(table, iterations) > thresholds[family]
        counts = selected.sum(axis=0)
        at_checkpoints = {iteration_column(k): n for k, n in zip(iterations, counts, strict=True)}
        rows.append({"family": family, **at_checkpoints, "std": counts.std(), "stable": selected.all(axis=1).sum()})
    return pd.DataFrame(rows)


def table_4(selections: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Table 4: each selection of the test set, and a classifier that selects nothing, against each reference.

    Parameters
    ----------
    selections
        Family → its stable selection, bool (patterns,).
    references
        "manual" and, for simulated patterns, "truth" → bool (patterns,), from `comparison.references_of`.

    Returns
    -------
    pandas.DataFrame
        Columns family, reference, selected, intersection, iou, accuracy, precision, recall, f1, mcc.
    """
    patterns = len(next(iter(references.values())))
    rows = [
        {"family": family, "reference": name, **table_4_row(Confusion.from_selection(selected, reference))}
        for family, selected in {**selections, NEVER_SINGLE: np.zeros(patterns, dtype=bool)}.items()
        for name, reference in references.items()
    ]
    return pd.DataFrame(rows)


def table_4_row(counts: Confusion) -> dict[str, float]:
    """Columns of Table 4 after family and reference."""
    return {
        "selected": counts.selected,
        "intersection": counts.true_positive,
        **{name: getattr(counts, name) for name in ("iou", "accuracy", "precision", "recall", "f1", "mcc")},
    }
