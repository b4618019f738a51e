"""Order in which patterns are labelled: random, by photons, or by the uncertainty of a trained family.

Some patterns of a queue are shown a second time, without notice, to measure the intra-annotator agreement (see
`agreement`).
"""

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import pandas as pd

from helpers.errors import LabelsError
from helpers.evaluation import iterations_of, scores_at
from helpers.patterns import PatternStack

_ROUNDING = 1e-6
"""Smallest distance of a score from 0 and 1: beyond it, a logarithm would show only rounding errors."""

_BATCH = 256
"""Patterns that are read at a time."""


@dataclass(frozen=True)
class Queue:
    """Patterns in the order in which they are shown: indices int64 (positions,) and repeats bool (positions,).

    Raises LabelsError unless each pattern occurs once, and then at most once as a repeat.
    """

    patterns: np.ndarray
    repeats: np.ndarray

    def __post_init__(self) -> None:
        seen: dict[int, int] = {}
        for pattern, repeat in zip(self.patterns.tolist(), self.repeats.tolist(), strict=True):
            if seen.get(pattern, 0) != int(repeat):
                raise LabelsError(f"pattern {pattern} must be in the queue once, and then at most once as a repeat")
            seen[pattern] = seen.get(pattern, 0) + 1

    def __len__(self) -> int:
        return len(self.patterns)

    @classmethod
    def of(cls, patterns: np.ndarray) -> "Queue":
        """Queue of these patterns without repeats."""
        return cls(np.asarray(patterns, dtype=np.int64), np.zeros(len(patterns), dtype=bool))


def at_random(patterns: np.ndarray, *, seed: int) -> np.ndarray:
    """Patterns (n,) in random order, the only one whose labels estimate the share of single hits among all patterns."""
    return np.random.default_rng(seed).permutation(np.asarray(patterns, dtype=np.int64))


def by_photons(patterns: np.ndarray, photons: np.ndarray) -> np.ndarray:
    """Patterns (n,) with the most photons (n,) first, on which there is most to see; equal ones in their order."""
    return np.asarray(patterns, dtype=np.int64)[np.argsort(-np.asarray(photons, dtype=float), kind="stable")]


def least_sure_first(scores: pd.DataFrame, threshold: float) -> np.ndarray:
    """Patterns (n,) of a table of scores (see `evaluation.scores`) whose score is nearest to the threshold first.

    The distance is |mean logit of the checkpoints' scores − logit of the threshold|: on the scale of the scores
    themselves everything below a small threshold would seem near. Raises LabelsError without checkpoints.
    """
    return _ordered(scores, _distance(_checkpoints(scores), threshold))


def disputed_first(scores: pd.DataFrame, threshold: float) -> np.ndarray:
    """Patterns (n,) of a table of scores on which the checkpoints of a family are most evenly divided first.

    Among equally divided ones the least sure comes first. Raises LabelsError without checkpoints.
    """
    checkpoints = _checkpoints(scores)
    distance = _distance(checkpoints, threshold)
    return _ordered(scores, np.abs((checkpoints > threshold).mean(axis=1) - 0.5), distance)


def in_order(
    order: str,
    stack: PatternStack,
    candidates: np.ndarray,
    *,
    seed: int,
    scored: Callable[[], tuple[pd.DataFrame, float]] | None = None,
) -> np.ndarray:
    """Patterns in the order in which they are to be labelled.

    Parameters
    ----------
    order
        "random", "photons", "least sure" or "disputed".
    stack
        The patterns; read whole for "photons" only.
    candidates
        (n,) patterns that may be labelled, ascending.
    seed
        Of the random order.
    scored
        Gives the scores of the candidates and the threshold of a trained family; called for the last two orders only.

    Returns
    -------
    ndarray
        int64 (n,).

    Raises
    ------
    LabelsError
        If there is no such order, or none without a family.
    """
    if order == "random":
        return at_random(candidates, seed=seed)
    if order == "photons":
        photons = np.concatenate([counts.sum(axis=(1, 2)) for _, counts in stack.batches(_BATCH)])
        return by_photons(candidates, photons[candidates])
    by_scores = {"least sure": least_sure_first, "disputed": disputed_first}
    if order not in by_scores or scored is None:
        known = ", ".join(["random", "photons", *by_scores])
        raise LabelsError(f"order is one of {known} (the last two with a trained family), got {order!r}")
    return by_scores[order](*scored())


def with_repeats(patterns: np.ndarray, *, every: int, apart: int = 30, seed: int) -> Queue:
    """Queue in which some patterns occur twice, so far apart that nobody remembers them.

    After every `every` new patterns one is shown again, drawn at random from those at least `apart` positions ago.

    Parameters
    ----------
    patterns
        (n,) indices of the patterns in the order in which they are to be labelled, each once.
    every
        Number of new patterns between two repeats; 0 for no repeats.
    apart
        Smallest number of positions between the two times, at least 1.
    seed
        Seed of the choice; the same seed gives the same queue.

    Raises
    ------
    LabelsError
        If `every` is negative or `apart` is less than 1.
    """
    if every < 0 or apart < 1:
        raise LabelsError(f"repeats need every >= 0 and apart >= 1, got every {every} and apart {apart}")
    order: list[tuple[int, bool]] = []
    waiting: list[tuple[int, int]] = []  # patterns that may be repeated, and their positions
    rng = np.random.default_rng(seed)
    for number, pattern in enumerate(np.asarray(patterns).tolist(), start=1):
        waiting.append((pattern, len(order)))
        order.append((pattern, False))
        if every and number % every == 0:
            # the first `old` of the waiting ones are at least `apart` positions ago
            old = bisect.bisect_right(waiting, len(order) - apart, key=itemgetter(1))
            if old:
                order.append((waiting.pop(rng.integers(old))[0], True))
    shown, repeats = zip(*order, strict=True) if order else ((), ())
    return Queue(np.array(shown, dtype=np.int64), np.array(repeats, dtype=bool))


def _checkpoints(scores: pd.DataFrame) -> np.ndarray:
    """Scores (patterns, checkpoints) of a table of scores."""
    iterations = iterations_of(scores)
    if not iterations:
        raise LabelsError("the scores hold no checkpoint; train and score the family first (workbook run --only 04)")
    return scores_at(scores, iterations)


def _distance(checkpoints: np.ndarray, threshold: float) -> np.ndarray:
    """Distance (patterns,) from the threshold, |mean logit of the scores − logit of the threshold|."""
    if not 0 < threshold < 1:
        raise LabelsError(f"the threshold of a family must be between 0 and 1, got {threshold}")
    return np.abs(_logit(checkpoints).mean(axis=1) - _logit(np.array(threshold)))


def _logit(score: np.ndarray) -> np.ndarray:
    """Logarithm of s / (1 − s), with s kept away from 0 and 1."""
    clipped = np.clip(score, _ROUNDING, 1 - _ROUNDING)
    return np.log(clipped) - np.log1p(-clipped)


def _ordered(scores: pd.DataFrame, *keys: np.ndarray) -> np.ndarray:
    """Patterns sorted by the first key, then by the next, then by their index."""
    patterns = scores["pattern"].to_numpy(dtype=np.int64)
    return patterns[np.lexsort((patterns, *reversed(keys)))]
