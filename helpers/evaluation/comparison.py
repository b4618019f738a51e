"""What stands beside Table 4: intervals, the row of EM, and the paper's own numbers."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import Confusion, intervals
from helpers.evaluation.published import EM, TABLE_4, TEST_PATTERNS, TEST_POSITIVES
from helpers.evaluation.tables import table_4_row

_BESIDE_THE_PAPER = ["iou", "precision", "recall", "f1", "mcc"]


def references_of(patterns: pd.DataFrame) -> dict[str, np.ndarray]:
    """What selections are compared with: `manual`, and `truth` where it is known; bool (patterns,).

    Parameters
    ----------
    patterns
        Rows of the sets, with the columns label and, for simulated data, truth (`dataset.labels_of`).
    """
    references = {"manual": patterns["label"].to_numpy(bool)}
    if "truth" in patterns:
        references["truth"] = patterns["truth"].to_numpy(bool)
    return references


def table_intervals(
    selections: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray], *, seed: int
) -> pd.DataFrame:
    """Bootstrap intervals of the metrics of Table 4 (`evaluation.intervals`).

    Parameters
    ----------
    selections
        Family → stable selection, bool (patterns,).
    references
        From `references_of`.
    seed
        Of the draws.

    Returns
    -------
    pandas.DataFrame
        family, reference, then lower and upper end of each metric.
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
    """EM's selection on the whole size range and on the test set, below the paper's (end of section 3).

    Parameters
    ----------
    selected
        bool (patterns,).
    classified
        The patterns: rows of the sets.

    Returns
    -------
    pandas.DataFrame
        patterns, reference, then the columns of Table 4.
    """
    is_test = (classified["set"] == "test").to_numpy()
    rows = [{"patterns": "size range, paper", "reference": "manual", **table_4_row(Confusion.from_counts(**EM))}]
    for place, chosen in {"size range": np.ones_like(is_test), "test set": is_test}.items():
        for reference, positive in references_of(classified).items():
            counts = Confusion.from_selection(selected[chosen], positive[chosen])
            rows.append({"patterns": place, "reference": reference, **table_4_row(counts)})
    return pd.DataFrame(rows)


def table_published(table_4: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table 4, recomputed from its printed counts, beside this run's against the manual selection.

    Parameters
    ----------
    table_4
        From `evaluation.table_4`.

    Returns
    -------
    pandas.DataFrame
        family, selected, intersection, the paper's metrics (`_paper`), and ours.
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
