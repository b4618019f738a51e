"""Tables 2 to 4 of the paper, from scores and selections."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import Confusion
from helpers.evaluation.scores import iteration_column, scores_at

NEVER_SINGLE = "never-single"
"""The row of a classifier that selects nothing: what a number is worth without any skill."""


def table_2(curves: Mapping[str, pd.DataFrame], *, first: int, last: int) -> pd.DataFrame:
    """Mean and population standard deviation over the later checkpoints (Table 2).

    A checkpoint that selects nothing has no precision; it is left out of that mean alone.

    Parameters
    ----------
    curves
        Family → its `validation_curve`.
    first, last
        Iterations, both included (2000 and 5000 in the paper).

    Returns
    -------
    pandas.DataFrame
        family, then mean and std of accuracy, precision, recall, f1.
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
    """Single hits at each of the consecutive checkpoints, their population standard deviation, the stable selection.

    Parameters
    ----------
    scores
        Family → scores of the test set.
    thresholds
        Family → threshold of its network.
    iterations
        The checkpoints of the consensus (4000 … 4400 in the paper).

    Returns
    -------
    pandas.DataFrame
        family, one column an iteration, std, stable.
    """
    rows = []
    for family, table in scores.items():
        single = scores_at(table, iterations) > thresholds[family]
        counts = single.sum(axis=0)
        at_checkpoints = {iteration_column(k): n for k, n in zip(iterations, counts, strict=True)}
        rows.append({"family": family, **at_checkpoints, "std": counts.std(), "stable": single.all(axis=1).sum()})
    return pd.DataFrame(rows)


def table_4(selections: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Each selection of the test set against each reference, and a classifier that never says single (Table 4).

    Parameters
    ----------
    selections
        Family → stable selection, bool (patterns,).
    references
        `manual`, and `truth` for simulated data → bool (patterns,).

    Returns
    -------
    pandas.DataFrame
        family, reference, selected, intersection, iou, accuracy, precision, recall, f1, mcc.
    """
    patterns = len(next(iter(references.values())))
    rows = []
    for family, selected in {**selections, NEVER_SINGLE: np.zeros(patterns, dtype=bool)}.items():
        for name, reference in references.items():
            rows.append(
                {"family": family, "reference": name, **table_4_row(Confusion.from_selection(selected, reference))}
            )
    return pd.DataFrame(rows)


def table_4_row(counts: Confusion) -> dict[str, float]:
    """The columns of Table 4 after family and reference."""
    return {
        "selected": counts.selected,
        "intersection": counts.true_positive,
        **{name: getattr(counts, name) for name in ("iou", "accuracy", "precision", "recall", "f1", "mcc")},
    }
