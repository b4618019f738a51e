"""Scores of patterns as they are written: rates, delay, backlog, and what was found last.

A hit is a pattern with enough lit pixels (psocake's rule, `preparation.hits`). A single hit is a pattern whose scores
lie above the threshold at every checkpoint of the consensus, whatever its lit pixels. Shares are of the scored
patterns: one that cannot hold photon counts is named, is refused, and counts for neither.

A batch holds what has come since the last one, up to the most that pay. It is small when little
comes, so that the delay is short, and large when patterns wait, so that more of them are scored in a second.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.classification.consensus import TrainedFamily, load_family
from helpers.classification.online.score_log import ScoreLog, latest_recordings, places
from helpers.evaluation import iteration_column, stable_selection
from helpers.patterns import DEFAULTS, Following, NewPatterns, ReadOptions
from helpers.preparation import are_hits, lit_pixels
from helpers.system import sha256, write_csv
from helpers.training import FamilyFolder, patterns_a_batch

WINDOW_S = 10.0
"""Rates, delay and shares of the present are those of the last seconds [s]."""

SCORE_BINS = 50
"""Of the histogram of scores."""

_LATEST = 12
_BATCHES = 20_000
_MOST_ON_A_CPU = 32
"""More at once wait longer, and are hardly scored faster there."""


@dataclass(frozen=True)
class Tally:
    """How many patterns there were.

    Parameters
    ----------
    scored, refused
        Together all that were read.
    hits, single
        Of the scored ones.
    """

    scored: int = 0
    refused: int = 0
    hits: int = 0
    single: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.scored + other.scored,
            self.refused + other.refused,
            self.hits + other.hits,
            self.single + other.single,
        )

    @property
    def hit_share(self) -> float:
        """Hits among the scored patterns; NaN without any."""
        return self.hits / self.scored if self.scored else np.nan

    @property
    def single_share(self) -> float:
        """Single hits among the scored patterns; NaN without any."""
        return self.single / self.scored if self.scored else np.nan


@dataclass(frozen=True, eq=False)
class Batch:
    """What became of the patterns of one batch.

    Parameters
    ----------
    at
        When they were scored, by the clock of the run [s].
    tally
        How many.
    delays
        (n,) from when a pattern was seen first to its score on disk [s].
    waiting
        How many patterns waited after it.
    refused
        File and pattern number → why.
    """

    at: float
    tally: Tally
    delays: np.ndarray
    waiting: int
    refused: dict[tuple[str, int], str]


@dataclass(frozen=True, eq=False)
class SingleHit:
    """A single hit to go back to: its file, pattern number and event id, the lowest of its scores, its counts."""

    file: str
    index: int
    event_id: str
    score: float
    counts: np.ndarray


class OnlineClassification:
    """Follow a file or files, and score every pattern once.

    Parameters
    ----------
    where
        A file, a folder, or a name with * or ?: see `Following`.
    model
        Folder of the family.
    log
        Log of scores; if it is there, the run goes on after its last line.
    threshold
        Score above which a checkpoint says single; the family's own if None.
    clock
        Seconds that do not go back.
    options
        How the files are read.

    Raises
    ------
    WorkbookError
        If the family or the log cannot be used.
    """

    def __init__(
        self,
        where: str | Path,
        model: Path,
        *,
        log: Path,
        threshold: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        options: ReadOptions = DEFAULTS,
    ) -> None:
        self.trained = load_family(model)
        self.threshold = self.trained.threshold if threshold is None else threshold
        self.most = _most_at_once(self.trained)
        """Patterns that are scored at once, at most."""
        self.total = Tally()
        self.batches: deque[Batch] = deque(maxlen=_BATCHES)
        """The last ones."""
        self.latest: deque[SingleHit] = deque(maxlen=_LATEST)
        self.histogram = np.zeros(SCORE_BINS, np.int64)
        """Patterns by their lowest score, in bins from 0 to 1."""
        self.mask: np.ndarray | None = None
        """Bad pixels of the latest patterns, (rows, columns)."""
        self.clock = clock
        self.log = ScoreLog(log, model=_identity(model, self.trained), iterations=self.trained.iterations)
        known = self.log.table()
        self._count_known(known)
        self._began = clock()
        self.following = Following(where, shape=self.trained.shape, places=places(known), options=options)

    def __enter__(self) -> "OnlineClassification":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close files and log."""
        self.following.close()
        self.log.close()

    def step(self) -> Batch | None:
        """Look for new patterns and score a batch of them.

        Returns
        -------
        Batch or None
            None if there are none.
        """
        self.following.look(self.clock())
        new = self.following.take(self.most)
        if new is None:
            return None
        scores = self.trained.scores(new.counts)
        lit = lit_pixels(new.counts, new.mask)
        self.log.append(new, scores=scores, lit_pixels=lit, scored_at=time.time())
        return self._count(new, scores, lit)

    def _count(self, new: NewPatterns, scores: np.ndarray, lit: np.ndarray) -> Batch:
        """Add a batch to what is known."""
        single = stable_selection(scores, self.threshold)
        lowest = scores.min(axis=1, initial=1.0)
        readable = np.array([int(index) not in new.refused for index in new.indices], bool)
        for place in np.flatnonzero(single)[-_LATEST:]:
            at = np.flatnonzero(readable)[place]
            self.latest.append(
                SingleHit(
                    str(new.path), int(new.indices[at]), new.event_ids[at], float(lowest[place]), new.counts[place]
                )
            )
        self.mask = new.mask
        self.histogram += _histogram(lowest)
        tally = Tally(len(scores), len(new.refused), int(are_hits(lit).sum()), int(single.sum()))
        self.total += tally
        now = self.clock()
        refused = {(str(new.path), index): why for index, why in new.refused.items()}
        batch = Batch(now, tally, now - new.seen, self.following.waiting, refused)
        self.batches.append(batch)
        return batch

    def _count_known(self, table: pd.DataFrame) -> None:
        """Take over what an earlier run has scored."""
        scored = table[table["refused"] == ""]
        scores = self._scores_of(scored)
        hits = int(are_hits(scored["lit_pixels"].to_numpy()).sum())
        single = int(stable_selection(scores, self.threshold).sum())
        self.total = Tally(len(scored), len(table) - len(scored), hits, single)
        self.histogram += _histogram(scores.min(axis=1, initial=1.0))

    def _scores_of(self, table: pd.DataFrame) -> np.ndarray:
        columns = [iteration_column(iteration) for iteration in self.trained.iterations]
        return table[columns].to_numpy(np.float32)

    @property
    def window(self) -> float:
        """Length of the present that rates are of: `WINDOW_S`, at the beginning less [s]."""
        return min(WINDOW_S, max(1.0, self.clock() - self._began))

    def recent(self) -> tuple[Tally, float]:
        """What was scored in the last `window`, and the median delay of that [s]; NaN without any."""
        began = self.clock() - self.window
        batches = list(takewhile(lambda one: one.at >= began, reversed(self.batches)))
        tally = sum((batch.tally for batch in batches), start=Tally())
        delays = [batch.delays for batch in batches]
        return tally, float(np.median(np.concatenate(delays))) if delays else np.nan

    def history(self) -> pd.DataFrame:
        """What was scored in each second of this run.

        Returns
        -------
        pandas.DataFrame
            One row a second since the first batch kept: second, scored, hits, single, delay (median) [s], waiting
            (patterns, at its last batch; NaN without a batch).
        """
        columns = ["second", "scored", "hits", "single", "delay", "waiting"]
        if not self.batches:
            return pd.DataFrame(columns=columns)
        second = np.array([int(batch.at - self.batches[0].at) for batch in self.batches])
        rows = []
        for number in range(second[-1] + 1):
            batches = [self.batches[place] for place in np.flatnonzero(second == number)]
            tally = sum((batch.tally for batch in batches), start=Tally())
            delay = np.median(np.concatenate([batch.delays for batch in batches])) if batches else np.nan
            waiting = batches[-1].waiting if batches else np.nan
            rows.append((number, tally.scored, tally.hits, tally.single, delay, waiting))
        return pd.DataFrame(rows, columns=columns)

    def write_selection(self, path: Path) -> Tally:
        """Write the selection: file, index, event_id, score, single (0 or 1), of the patterns that the files hold now.

        The score is the lowest of the checkpoints'. A refused pattern has none, and is not single.

        Returns
        -------
        Tally
            Of what was written.
        """
        table = latest_recordings(self.log.table())
        scores = self._scores_of(table)
        refused = (table["refused"] != "").to_numpy()
        single = stable_selection(scores, self.threshold) & ~refused
        selection = table[["file", "index", "event_id"]].assign(
            score=scores.min(axis=1, initial=np.inf), single=single.astype(int)
        )
        write_csv(path, selection)
        hits = are_hits(table.loc[~refused, "lit_pixels"].to_numpy())
        return Tally(int((~refused).sum()), int(refused.sum()), int(hits.sum()), int(single.sum()))


def _most_at_once(trained: TrainedFamily) -> int:
    most = patterns_a_batch(trained.settings.size)
    return min(most, _MOST_ON_A_CPU) if trained.device.type == "cpu" else most


def _histogram(scores: np.ndarray) -> np.ndarray:
    return np.histogram(scores, SCORE_BINS, (0.0, 1.0))[0]


def _identity(model: Path, trained: TrainedFamily) -> dict[str, str]:
    """What scores depend on: the family and the bytes of its checkpoints."""
    artefacts = FamilyFolder(model)
    digest = hashlib.sha256("".join(sha256(artefacts.checkpoint(k)) for k in trained.iterations).encode())
    return {"family": str(trained.family), "checkpoints": digest.hexdigest()[:16]}
