"""Scores of patterns as they are written: rates, delay, backlog, and what was found last.

A hit has enough lit pixels (psocake's rule, `preparation.hits`). A pattern is selected as a single hit where its scores
lie above the threshold at every checkpoint of the consensus, whatever its lit pixels. Shares are of the scored
patterns; one that cannot hold photon counts is refused. A batch holds what has come since the last one, up to the most
that pay: small when little comes (short delay), large when patterns wait (more of them a second).
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import astuple, dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.classification.consensus import TrainedFamily, check_shape, load_family
from helpers.classification.online.score_log import ScoreLog, known_patterns
from helpers.evaluation import iteration_column, stable_selection
from helpers.patterns import DEFAULTS, Following, NewPatterns, PatternStack, ReadOptions, doubts, print_doubts
from helpers.preparation import are_hits, lit_pixels
from helpers.system import sha256, write_csv
from helpers.training import FamilyFolder, patterns_a_batch

_FEWEST = 8  # patterns of a file that is still written, from which something can be told

WINDOW_S = 10.0
"""Rates, delay and shares of the present are those of this time until now [s]."""

SCORE_BINS = 50
"""Bins of the histogram of scores."""

_LATEST = 12
_BATCHES = 20_000
_MOST_ON_A_CPU = 32
"""More at once wait longer, and are hardly scored faster there."""


@dataclass(frozen=True)
class Tally:
    """Numbers of patterns: scored, refused because they hold no photon counts; among the scored: hits, and selected."""

    scored: int = 0
    refused: int = 0
    hits: int = 0
    selected: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def read(self) -> int:
        """Patterns that were read, scored or not."""
        return self.scored + self.refused

    @property
    def hit_share(self) -> float:
        """Share of hits among the scored patterns; NaN without any."""
        return self.hits / self.scored if self.scored else np.nan

    @property
    def selected_share(self) -> float:
        """Share of selected patterns among the scored ones; NaN without any."""
        return self.selected / self.scored if self.scored else np.nan


@dataclass(frozen=True, eq=False)
class Batch:
    """Patterns of the file `path` that were scored together, `at` a time of the run's clock [s].

    The delay of each pattern (n,) is from the last time at which it was not there to its score on disk [s]; `refused`
    is pattern number → why it was not scored.
    """

    at: float
    tally: Tally
    delays: np.ndarray
    refused: dict[int, str]
    path: Path


@dataclass(frozen=True, eq=False)
class SingleHit:
    """A selected pattern to go back to: file, pattern number, event id, lowest score, counts (rows, columns)."""

    file: str
    pattern: int
    event_id: str
    score: float
    counts: np.ndarray


class OnlineClassification:
    """Follow a file or files, and score every pattern once.

    Parameters
    ----------
    where
        A file, a folder, or a name with * or ?, as `patterns.Following` takes it.
    model
        Folder of the family, `results/RUN/families/FAMILY`.
    log
        Log of scores; if it is there, the run goes on after its last line.
    threshold
        Score above which a checkpoint calls a pattern a single hit; default: the family's own.
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
        self.batches: deque[Batch] = deque(maxlen=_BATCHES)
        """The latest batches."""
        self.latest: deque[SingleHit] = deque(maxlen=_LATEST)
        """The latest selected patterns."""
        self.mask: np.ndarray | None = None
        """Bad pixels of the latest patterns, (rows, columns)."""
        self.clock = clock
        self.log = ScoreLog(log, model=_identity(model, self.trained), iterations=self.trained.consensus)
        logged = self.log.table()
        self.total, lowest = self._tally(logged)
        """All patterns of the log, those of earlier runs included."""
        self.histogram = _histogram(lowest)
        """Scored patterns by their lowest score, in bins from 0 to 1."""
        self._is_looked_at = False
        self._began = clock()
        self.following = Following(
            where,
            most=_most_at_once(self.trained),
            check=self._check,
            known=known_patterns(logged),
            clock=clock,
            options=options,
        )

    def _check(self, stack: PatternStack) -> None:
        """Refuse patterns that do not fit the family; warn, once, of doubts about the counts."""
        check_shape(stack, self.trained)
        is_begun = stack.origin.file is not None and stack.origin.file.swmr_mode and len(stack) < _FEWEST
        if not self._is_looked_at and not is_begun:
            self._is_looked_at = True
            print_doubts(doubts(stack))

    def __enter__(self) -> "OnlineClassification":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close files and log."""
        self.following.close()
        self.log.close()

    def step(self) -> Batch | None:
        """Look for new patterns and score a batch of them; None if there are none."""
        new = self.following.take()
        if new is None:
            return None
        scores = self.trained.scores(new.counts)
        lit = lit_pixels(new.counts, new.mask)
        self.log.append(new, scores=scores, lit_pixels=lit, scored_at=time.time())
        return self._count(new, scores, lit)

    def _count(self, new: NewPatterns, scores: np.ndarray, lit: np.ndarray) -> Batch:
        """Add a batch to what is known."""
        selected = stable_selection(scores, self.threshold)
        lowest = scores.min(axis=1, initial=1.0)
        readable = np.flatnonzero([int(pattern) not in new.refused for pattern in new.patterns])
        for row in np.flatnonzero(selected)[-_LATEST:]:
            pattern, event_id = int(new.patterns[readable[row]]), new.event_ids[readable[row]]
            self.latest.append(SingleHit(str(new.path), pattern, event_id, float(lowest[row]), new.counts[row]))
        self.mask = new.mask
        self.histogram += _histogram(lowest)
        tally = Tally(len(scores), len(new.refused), int(are_hits(lit).sum()), int(selected.sum()))
        self.total += tally
        now = self.clock()
        self.batches.append(Batch(now, tally, now - new.seen, new.refused, new.path))
        return self.batches[-1]

    def _tally(self, table: pd.DataFrame) -> tuple[Tally, np.ndarray]:
        """Numbers of patterns of a log, and the lowest score of each scored one (scored,)."""
        scored = table[table["refused"] == ""]
        scores = self._scores_of(scored)
        hits = int(are_hits(scored["lit_pixels"].to_numpy()).sum())
        selected = int(stable_selection(scores, self.threshold).sum())
        return Tally(len(scored), len(table) - len(scored), hits, selected), scores.min(axis=1, initial=1.0)

    def _scores_of(self, table: pd.DataFrame) -> np.ndarray:
        return table[[iteration_column(iteration) for iteration in self.trained.consensus]].to_numpy(np.float32)

    @property
    def window(self) -> float:
        """Length of the present that rates are of: `WINDOW_S`, at the beginning less [s]."""
        return min(WINDOW_S, max(1.0, self.clock() - self._began))

    def recent(self) -> tuple[Tally, float]:
        """Numbers of patterns of the last `window`, and their median delay [s]; NaN without any."""
        began = self.clock() - self.window
        batches = list(takewhile(lambda batch: batch.at >= began, reversed(self.batches)))
        tally = sum((batch.tally for batch in batches), start=Tally())
        return tally, float(np.median(np.concatenate([batch.delays for batch in batches]))) if batches else np.nan

    def history(self) -> pd.DataFrame:
        """One row a second since the first batch kept: second, scored, hits, selected (patterns), median delay [s]."""
        seconds = np.array([int(batch.at - self.batches[0].at) for batch in self.batches], int)
        tallies = pd.DataFrame([batch.tally for batch in self.batches], columns=list(Tally.__dataclass_fields__))
        every = pd.RangeIndex(seconds.max(initial=-1) + 1, name="second")
        numbers = tallies.groupby(seconds).sum().reindex(every, fill_value=0)
        delays = pd.Series([delay for batch in self.batches for delay in batch.delays], dtype=float)
        of = np.repeat(seconds, [len(batch.delays) for batch in self.batches])
        delay = delays.groupby(of).median().reindex(every)
        return numbers[["scored", "hits", "selected"]].assign(delay=delay).reset_index()

    def write_selection(self, path: Path) -> Tally:
        """Write the selection: file, index, event_id, score, single (0 or 1), one line a pattern of the log.

        The score is the lowest of the checkpoints'. A refused pattern has none, and is not selected. Returns what was
        written.
        """
        table = self.log.table()
        scores = self._scores_of(table)
        selected = stable_selection(scores, self.threshold) & (table["refused"] == "").to_numpy()
        selection = table[["file", "index", "event_id"]].assign(
            score=scores.min(axis=1, initial=np.inf), single=selected.astype(int)
        )
        write_csv(path, selection)
        return self._tally(table)[0]


def _most_at_once(trained: TrainedFamily) -> int:
    most = patterns_a_batch(trained.settings.size)
    return min(most, _MOST_ON_A_CPU) if trained.device.type == "cpu" else most


def _histogram(scores: np.ndarray) -> np.ndarray:
    return np.histogram(scores, SCORE_BINS, (0.0, 1.0))[0]


def _identity(model: Path, trained: TrainedFamily) -> dict[str, str]:
    """What scores depend on: the family and the bytes of its checkpoints."""
    artefacts = FamilyFolder(model)
    digest = hashlib.sha256("".join(sha256(artefacts.checkpoint(k)) for k in trained.consensus).encode())
    return {"family": str(trained.family), "checkpoints": digest.hexdigest()[:16]}
