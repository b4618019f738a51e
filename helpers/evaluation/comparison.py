"""Additions to Table 4: bootstrap intervals, the row of EM, and the paper's own numbers."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import Confusion, intervals
from helpers.evaluation.published import EM, TABLE_4, TEST_PATTERNS, TEST_POSITIVES
from helpers.evaluation.tables import table_4_row

_BESIDE_THE_PAPER = ["iou", "precision", "recall", "f1", "mcc"]


def references_of(patterns: pd.DataFrame) -> dict[str, np.ndarray]:
    """References that selections are compared with.

    Parameters
    ----------
    patterns
        Rows of the sets with the columns label and, for simulated patterns, truth (see `annotation.labels_of`).

    Returns
    -------
    dict
        "manual" → the expert's labels and, where it is known, "truth" → the simulation's truth; each bool (patterns,).
    """
    references = {"manual": patterns["label"].to_numpy(bool)}
    if "truth" in patterns:
        references["truth"] = patterns["truth"].to_numpy(bool)
    return references


def table_intervals(
    selections: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray], *, seed: int
) -> pd.DataFrame:
    """Bootstrap confidence intervals of the metrics of Table 4 (see `metrics.intervals`).

    Parameters
    ----------
    selections
        Family → its stable selection, bool (patterns,).
    references
        Name → reference, bool (patterns,), from `references_of`.
    seed
        Seed of the bootstrap samples.

    Returns
    -------
    pandas.DataFrame
        Columns family, reference, then lower and upper end (`_lower`, `_upper`) of each metric.
    """
    rows = []
    for name, selected in selections.items():
        for reference, positive in references.items():
            found = intervals(Confusion.from_selection(selected, positive), seed=seed)
            limits = {
                f"{metric}_{end}": value
                for metric, pair in found.items()
                for end, value in zip(("lower", "upper"), pair, strict=True)
            }
            rows.append({"family": name, "reference": reference, **limits})
    return pd.DataFrame(rows)


def table_em(selected: np.ndarray, classified: pd.DataFrame) -> pd.DataFrame:
    """Selection of EM on the whole size range and on the test set, below the paper's (end of section 3).

    Parameters
    ----------
    selected
        bool (patterns,), True = in a chosen class of EM.
    classified
        Rows of the sets for these patterns, in the same order.

    Returns
    -------
    pandas.DataFrame
        Columns patterns ("size range, paper", "size range" or "test set") and reference, then those of Table 4.
    """
    is_test = (classified["set"] == "test").to_numpy()
    rows = [{"patterns": "size range, paper", "reference": "manual", **table_4_row(Confusion.from_counts(**EM))}]
    for name, chosen in {"size range": np.ones_like(is_test), "test set": is_test}.items():
        for reference, positive in references_of(classified).items():
            counts = Confusion.from_selection(selected[chosen], positive[chosen])
            rows.append({"patterns": name, "reference": reference, **table_4_row(counts)})
    return pd.DataFrame(rows)


def table_published(table_4: pd.DataFrame) -> pd.DataFrame:
    """Table 4 of the paper, recomputed from its printed counts, beside that of this run against the manual selection.

    Parameters
    ----------
    table_4
        Table 4 of this run, from `tables.table_4`.

    Returns
    -------
    pandas.DataFrame
        Columns family, selected and intersection of the paper, its metrics (`_paper`), and those of this run.
    """
    rows = []
    for row in TABLE_4.itertuples():
        counts = Confusion.from_counts(
            selected=row.selected, intersection=row.intersection, positives=TEST_POSITIVES, patterns=TEST_PATTERNS
        )
        metrics = {f"{metric}_paper": getattr(counts, metric) for metric in _BESIDE_THE_PAPER}
        rows.append({"family": row.family, "selected": row.selected, "intersection": row.intersection, **metrics})
    ours = table_4[table_4["reference"] == "manual"].set_index("family")[_BESIDE_THE_PAPER]
    return pd.DataFrame(rows).join(ours, on="family")
