"""Every number of Tables 2–4, from stored scores alone: equations (1)–(5), consensus, curves and intervals.

A score is the highest objectness × class probability of a pattern; a pattern is a single hit where its score is above
the threshold of its network (section 2.3). The fractions are fractions, not percent; 0/0 is NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.evaluation.scores import iterations_of, scores_at


@dataclass(frozen=True)
class Confusion:
    """Counts of a selection against a reference (section 2.4); each may be an array, one entry a selection.

    Parameters
    ----------
    true_positive, false_positive, false_negative, true_negative
        Numbers of patterns.
    """

    true_positive: int | np.ndarray
    false_positive: int | np.ndarray
    false_negative: int | np.ndarray
    true_negative: int | np.ndarray

    @classmethod
    def from_selection(cls, selected: np.ndarray, reference: np.ndarray) -> "Confusion":
        """Count over the first axis: `selected` (patterns, …) and `reference` (patterns,), both bool."""
        selected = np.asarray(selected, dtype=bool)
        reference = np.asarray(reference, dtype=bool).reshape(-1, *[1] * (selected.ndim - 1))
        return cls(
            (selected & reference).sum(axis=0),
            (selected & ~reference).sum(axis=0),
            (~selected & reference).sum(axis=0),
            (~selected & ~reference).sum(axis=0),
        )

    @classmethod
    def from_counts(cls, *, selected: int, intersection: int, positives: int, patterns: int) -> "Confusion":
        """Count from what Table 4 prints: selected, common with the reference, reference positives, all patterns."""
        return cls(
            intersection,
            selected - intersection,
            positives - intersection,
            patterns - positives - selected + intersection,
        )

    @property
    def selected(self) -> int | np.ndarray:
        """S₁ of equation (5): patterns that the classifier calls single."""
        return self.true_positive + self.false_positive

    @property
    def accuracy(self) -> float | np.ndarray:
        """Equation (1)."""
        right = self.true_positive + self.true_negative
        return _ratio(right, right + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float | np.ndarray:
        """Equation (2)."""
        return _ratio(self.true_positive, self.selected)

    @property
    def recall(self) -> float | np.ndarray:
        """Equation (3)."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float | np.ndarray:
        """Equation (4), as 2 TP / (2 TP + FP + FN), which is 0 where nothing is selected."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def iou(self) -> float | np.ndarray:
        """Equation (5)."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive + self.false_negative)

    @property
    def mcc(self) -> float | np.ndarray:
        """Matthews' correlation: 0 without skill, whatever the share of single hits; 0 where it is undefined."""
        tp, fp, fn, tn = (
            np.asarray(n, float)
            for n in (self.true_positive, self.false_positive, self.false_negative, self.true_negative)
        )
        scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return np.divide(tp * tn - fp * fn, scale, out=np.zeros_like(scale), where=scale > 0)[()]


def _ratio(numerator: int | np.ndarray, denominator: int | np.ndarray) -> float | np.ndarray:
    denominator = np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)[()]


def stable_selection(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Patterns that every checkpoint calls single (section 3): bool (patterns,) from scores (patterns, checkpoints)."""
    return (scores > threshold).all(axis=1)


def validation_curve(scores: pd.DataFrame, labels: np.ndarray, threshold: float) -> pd.DataFrame:
    """Accuracy, precision, recall and F₁ at each checkpoint (Figures 6 and 7).

    Parameters
    ----------
    scores
        One row a pattern, one column an iteration.
    labels
        Manual labels (patterns,).
    threshold
        Of the network.

    Returns
    -------
    pandas.DataFrame
        iteration, accuracy, precision, recall, f1.
    """
    iterations = iterations_of(scores)
    counts = Confusion.from_selection(scores_at(scores, iterations) > threshold, labels)
    return pd.DataFrame(
        {
            "iteration": iterations,
            "accuracy": counts.accuracy,
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
        }
    )


def precision_recall_curve(score: np.ndarray, reference: np.ndarray) -> pd.DataFrame:
    """Precision and recall at every threshold, so that one default threshold does not decide a comparison.

    Parameters
    ----------
    score
        One score a pattern (patterns,); the consensus' is the lowest of its checkpoints.
    reference
        bool (patterns,).

    Returns
    -------
    pandas.DataFrame
        threshold (selected where score ≥ threshold; falling), selected, precision, recall, f1.
    """
    order = np.argsort(-score, kind="stable")
    last_of_ties = np.flatnonzero(np.diff(score[order], append=-np.inf))
    selected = last_of_ties + 1
    hits = np.cumsum(np.asarray(reference, bool)[order])[last_of_ties]
    counts = Confusion.from_counts(
        selected=selected, intersection=hits, positives=int(np.sum(reference)), patterns=len(score)
    )
    return pd.DataFrame(
        {
            "threshold": score[order][last_of_ties],
            "selected": selected,
            "precision": counts.precision,
            "recall": counts.recall,
            "f1": counts.f1,
        }
    )


def intervals(
    counts: Confusion, *, seed: int, draws: int = 2000, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Bootstrap intervals of the metrics: the patterns drawn anew with replacement, `draws` times.

    The four counts of a redrawn test set are multinomial, so no pattern has to be touched.

    Returns
    -------
    dict
        Metric → (lower, upper) at `level`, percentile method.
    """
    cells = np.array([counts.true_positive, counts.false_positive, counts.false_negative, counts.true_negative])
    redrawn = Confusion(*np.random.default_rng(seed).multinomial(cells.sum(), cells / cells.sum(), size=draws).T)
    tails = [(1 - level) / 2, (1 + level) / 2]
    names = ("iou", "accuracy", "precision", "recall", "f1", "mcc")
    return {name: tuple(np.nanquantile(_finite(getattr(redrawn, name)), tails)) for name in names}


def _finite(values: np.ndarray) -> np.ndarray:
    """Undefined draws count as 0, so that an empty selection has an interval too."""
    return np.nan_to_num(values, nan=0.0)


def agreement(selections: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """IoU of every two selections (equation (5)): a symmetric table, families in rows and columns."""
    names = list(selections)
    table = [[Confusion.from_selection(selections[a], selections[b]).iou for b in names] for a in names]
    return pd.DataFrame(table, index=names, columns=names)
