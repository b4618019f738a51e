"""What to label next: at random, by photons, or where a trained family is least sure or its checkpoints disagree.

A queue is an order of patterns. Some of them come up a second time, without saying so, to see whether the labeller
agrees with themselves; `consistency` counts that.
"""

import bisect
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import pandas as pd

from helpers.errors import LabelsError
from helpers.evaluation import iterations_of, scores_at

_ROUNDING = 1e-6
"""How near to 0 and 1 a score is taken: beyond, its logarithm tells of rounding only."""


@dataclass(frozen=True)
class Queue:
    """Patterns in the order in which they are shown.

    Parameters
    ----------
    patterns
        int64 (positions,): indices in the stack.
    repeats
        bool (positions,): whether the pattern has been shown before.

    Raises
    ------
    LabelsError
        If a pattern comes up twice without being a repeat, or as a repeat before the first time.
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
        """A queue without repeats."""
        return cls(np.asarray(patterns, dtype=np.int64), np.zeros(len(patterns), dtype=bool))


def at_random(patterns: np.ndarray, *, seed: int) -> np.ndarray:
    """Patterns in random order: the only order whose labels tell the share of single hits among all patterns.

    Parameters
    ----------
    patterns
        (n,) indices in the stack.
    seed
        The same seed gives the same order.

    Returns
    -------
    ndarray
        int64 (n,).
    """
    return np.random.default_rng(seed).permutation(np.asarray(patterns, dtype=np.int64))


def by_photons(patterns: np.ndarray, photons: np.ndarray) -> np.ndarray:
    """Patterns with the most photons first: those on which there is something to see.

    Parameters
    ----------
    patterns
        (n,) indices in the stack.
    photons
        (n,) photons of each [photons].

    Returns
    -------
    ndarray
        int64 (n,); equal ones in the order given.
    """
    return np.asarray(patterns, dtype=np.int64)[np.argsort(-np.asarray(photons, dtype=float), kind="stable")]


def least_sure_first(scores: pd.DataFrame, threshold: float) -> np.ndarray:
    """Patterns whose score is nearest to the threshold first.

    Nearness is |logit s - logit threshold|, with the mean of the checkpoints' logits: on the scale of the scores itself
    everything below a small threshold would seem near.

    Parameters
    ----------
    scores
        Column pattern and one column a checkpoint (see `score_table`), for instance `FamilyFolder.scores("test")`.
    threshold
        Score above which the family says single.

    Returns
    -------
    ndarray
        int64 (n,) indices in the stack.

    Raises
    ------
    LabelsError
        If there are no checkpoints, or the threshold is not between 0 and 1.
    """
    return _ordered(scores, _distance(_checkpoints(scores), threshold))


def disputed_first(scores: pd.DataFrame, threshold: float) -> np.ndarray:
    """Patterns on which the checkpoints of a family are most evenly divided first.

    Parameters
    ----------
    scores, threshold
        As in `least_sure_first`.

    Returns
    -------
    ndarray
        int64 (n,) indices in the stack; where as many say single, the least sure comes first.

    Raises
    ------
    LabelsError
        As in `least_sure_first`.
    """
    checkpoints = _checkpoints(scores)
    distance = _distance(checkpoints, threshold)
    return _ordered(scores, np.abs((checkpoints > threshold).mean(axis=1) - 0.5), distance)


def with_repeats(patterns: np.ndarray, *, every: int, apart: int = 30, seed: int) -> Queue:
    """Let some patterns come up twice, so far apart that nobody remembers them.

    After each `every` new patterns one is shown again, drawn at random from those at least `apart` positions ago.

    Parameters
    ----------
    patterns
        (n,) in the order in which they are to be labelled, each once.
    every
        New patterns for one repeat; 0 for no repeats.
    apart
        Smallest number of positions between the two times.
    seed
        The same seed gives the same queue.

    Returns
    -------
    Queue

    Raises
    ------
    LabelsError
        If `every` is negative or `apart` is not positive.
    """
    if every < 0 or apart < 1:
        raise LabelsError(f"repeats need every >= 0 and apart >= 1, got every {every} and apart {apart}")
    order: list[tuple[int, bool]] = []
    waiting: list[tuple[int, int]] = []  # patterns that may come up again, and where they were
    rng = np.random.default_rng(seed)
    for number, pattern in enumerate(np.asarray(patterns).tolist(), start=1):
        waiting.append((pattern, len(order)))
        order.append((pattern, False))
        if every and number % every == 0:
            old = bisect.bisect_right(waiting, len(order) - apart, key=itemgetter(1))
            if old:
                order.append((waiting.pop(rng.integers(old))[0], True))
    shown, repeats = zip(*order, strict=True) if order else ((), ())
    return Queue(np.array(shown, dtype=np.int64), np.array(repeats, dtype=bool))


def _checkpoints(scores: pd.DataFrame) -> np.ndarray:
    """Scores (patterns, checkpoints) of all checkpoints."""
    iterations = iterations_of(scores)
    if not iterations:
        raise LabelsError("the scores hold no checkpoint; train and score the family first (workbook run --only 04)")
    return scores_at(scores, iterations)


def _distance(checkpoints: np.ndarray, threshold: float) -> np.ndarray:
    """|mean logit of the scores - logit of the threshold|, (patterns,)."""
    if not 0 < threshold < 1:
        raise LabelsError(f"the threshold of a family must be between 0 and 1, got {threshold}")
    return np.abs(_logit(checkpoints).mean(axis=1) - _logit(np.array(threshold)))


def _logit(score: np.ndarray) -> np.ndarray:
    clipped = np.clip(score, _ROUNDING, 1 - _ROUNDING)
    return np.log(clipped) - np.log1p(-clipped)


def _ordered(scores: pd.DataFrame, *keys: np.ndarray) -> np.ndarray:
    """Patterns by the first key, then the next; then by their index."""
    patterns = scores["pattern"].to_numpy(dtype=np.int64)
    return patterns[np.lexsort((patterns, *reversed(keys)))]
