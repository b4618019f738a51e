"""Metrics of Tables 2–4, from stored scores alone: equations (1)–(5), consensus, validation curves and intervals.

The score of a pattern is its highest objectness × class probability; a pattern is selected as a single hit if its score
exceeds the threshold of the network (section 2.3). All metrics are fractions, not percent; 0/0 is NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.evaluation.scores import iterations_of, scores_at


@dataclass(frozen=True)
class Confusion:
    """Confusion counts of a selection against a reference (section 2.4).

    Parameters
    ----------
    true_positive, false_positive, false_negative, true_negative
        Numbers of patterns; arrays of one shape for several selections at once.
    """

    true_positive: int | np.ndarray
    false_positive: int | np.ndarray
    false_negative: int | np.ndarray
    true_negative: int | np.ndarray

    @classmethod
    def from_selection(cls, selected: np.ndarray, reference: np.ndarray) -> "Confusion":
        """Confusion of selections with a reference.

        Parameters
        ----------
        selected
            bool (patterns, …), True = selected; further axes are further selections.
        reference
            bool (patterns,), True = single hit by the reference.

        Returns
        -------
        Confusion
            Counts over the patterns, of the shape of the further axes.
        """
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
        """Confusion from the numbers that Table 4 prints.

        Parameters
        ----------
        selected
            Number of selected patterns, S₁ of equation (5).
        intersection
            Number of selected patterns that are positives of the reference.
        positives
            Number of positives of the reference.
        patterns
            Number of all patterns.

        Returns
        -------
        Confusion
            The four counts.
        """
        return cls(
            intersection,
            selected - intersection,
            positives - intersection,
            patterns - positives - selected + intersection,
        )

    @property
    def selected(self) -> int | np.ndarray:
        """Number of selected patterns, S₁ of equation (5)."""
        return self.true_positive + self.false_positive

    @property
    def accuracy(self) -> float | np.ndarray:
        """Accuracy, equation (1): (TP + TN) / all patterns."""
        correct = self.true_positive + self.true_negative
        return _ratio(correct, correct + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float | np.ndarray:
        """Precision, equation (2): TP / (TP + FP)."""
        return _ratio(self.true_positive, self.selected)

    @property
    def recall(self) -> float | np.ndarray:
        """Recall, equation (3): TP / (TP + FN)."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float | np.ndarray:
        """F₁-score, equation (4), as 2 TP / (2 TP + FP + FN), which is 0 if nothing is selected."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def iou(self) -> float | np.ndarray:
        """Intersection over union, equation (5): TP / (TP + FP + FN)."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive + self.false_negative)

    @property
    def mcc(self) -> float | np.ndarray:
        """Matthews correlation coefficient: 0 without skill, whatever the share of single hits, and if undefined."""
        tp, fp, fn, tn = (
            np.asarray(n, float)
            for n in (self.true_positive, self.false_positive, self.false_negative, self.true_negative)
        )
        scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return np.divide(tp * tn - fp * fn, scale, out=np.zeros_like(scale), where=scale > 0)[()]


def _ratio(numerator: int | np.ndarray, denominator: int | np.ndarray) -> float | np.ndarray:
    """Quotient, NaN for 0/0."""
    denominator = np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)[()]


def stable_selection(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Stable selection: the patterns that every checkpoint selects (section 3).

    Parameters
    ----------
    scores
        (patterns, checkpoints) scores, 0 to 1.
    threshold
        Score above which a checkpoint selects a pattern.

    Returns
    -------
    ndarray (patterns,)
        bool, True = selected.
    """
    return (scores > threshold).all(axis=1)


def consensus_f1(scores: pd.DataFrame, labels: np.ndarray, threshold: float, iterations: Sequence[int]) -> float:
    """F₁ of the stable selection of some checkpoints.

    Parameters
    ----------
    scores
        One row a pattern, one column an iteration.
    labels
        bool (patterns,): the manual labels.
    threshold
        Score above which a checkpoint calls a pattern a single hit.
    iterations
        The checkpoints that must agree.

    Returns
    -------
    float
        0..1.
    """
    selected = stable_selection(scores_at(scores, iterations), threshold)
    return float(Confusion.from_selection(selected, labels).f1)


def by_score(chosen: np.ndarray, score: np.ndarray, *, lowest_first: bool = False, most: int = 12) -> np.ndarray:
    """Positions of chosen patterns in the order of their scores, the first few.

    Parameters
    ----------
    chosen
        bool (patterns,).
    score
        (patterns,).
    lowest_first
        Begin with the lowest score instead of the highest.
    most
        At most so many.

    Returns
    -------
    ndarray
        int64 (n,).
    """
    order = np.argsort(-np.asarray(score), kind="stable")
    order = order[::-1] if lowest_first else order
    return order[np.asarray(chosen, bool)[order]][:most]


def validation_curve(scores: pd.DataFrame, labels: np.ndarray, threshold: float) -> pd.DataFrame:
    """Accuracy, precision, recall and F₁ of each checkpoint on the validation set (Figures 6 and 7).

    Parameters
    ----------
    scores
        Table of scores with a row for each pattern and a column for each checkpoint (see `evaluation.scores`).
    labels
        bool (patterns,) labels of the expert, True = single hit.
    threshold
        Score above which the network selects a pattern.

    Returns
    -------
    pandas.DataFrame
        One row for each checkpoint with the columns iteration, accuracy, precision, recall, f1.
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


def intervals(
    counts: Confusion, *, seed: int, draws: int = 2000, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Bootstrap confidence intervals of the metrics (percentile method).

    Parameters
    ----------
    counts
        Confusion of one selection.
    seed
        Seed of the random draws.
    draws
        Number of bootstrap samples.
    level
        Confidence level, 0 to 1.

    Returns
    -------
    dict
        Metric → (lower, upper) end of its interval.
    """
    # patterns drawn with replacement have multinomial counts, so no pattern has to be drawn one by one
    cells = np.array([counts.true_positive, counts.false_positive, counts.false_negative, counts.true_negative])
    redrawn = Confusion(*np.random.default_rng(seed).multinomial(cells.sum(), cells / cells.sum(), size=draws).T)
    tails = [(1 - level) / 2, (1 + level) / 2]
    names = ("iou", "accuracy", "precision", "recall", "f1", "mcc")
    return {name: tuple(np.nanquantile(_finite(getattr(redrawn, name)), tails)) for name in names}


def _finite(values: np.ndarray) -> np.ndarray:
    """Metrics with 0 in place of NaN, so that an empty selection has an interval, too."""
    return np.nan_to_num(values, nan=0.0)


def agreement(selections: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Intersection over union of every two selections, equation (5).

    Parameters
    ----------
    selections
        Family → its stable selection, bool (patterns,).

    Returns
    -------
    pandas.DataFrame
        Symmetric table of fractions, families in rows and columns.
    """
    names = list(selections)
    table = [[Confusion.from_selection(selections[a], selections[b]).iou for b in names] for a in names]
    return pd.DataFrame(table, index=names, columns=names)
