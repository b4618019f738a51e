"""The log of an online classification: one line a pattern, appended when it is scored, so that a kill loses nothing.

The first line names the model, as JSON after "# "; a CSV table follows. A line that a kill has cut short is deleted
when the log is opened again. Only one process can write it.
"""

import csv
import fcntl
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.errors import LockedError, MissingStepError, PatternFileError
from helpers.evaluation import iteration_column
from helpers.patterns import Known, NewPatterns

_TEXT = {"file": str, "event_id": str, "refused": str}


class ScoreLog:
    """Scores on disk: file, index, event_id, scored_at, lit_pixels, refused, then one column a checkpoint.

    Parameters
    ----------
    path
        The log; made if it is not there.
    model
        What the scores depend on, as plain values: it must be the same when the log is opened again.
    iterations
        The checkpoints.

    Raises
    ------
    PatternFileError
        If the file is not such a log.
    LockedError
        If another process writes it.
    MissingStepError
        If it holds scores of another model.
    """

    def __init__(self, path: Path, *, model: Mapping[str, Any], iterations: Sequence[int]) -> None:
        self.path = path
        self._scores = [iteration_column(iteration) for iteration in iterations]
        columns = ["file", "index", "event_id", "scored_at", "lit_pixels", "refused", *self._scores]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(path, "a+b", buffering=0)  # noqa: SIM115 - open as long as the run
        try:
            self._lock()
            self._begin(f"# {json.dumps(dict(model), sort_keys=True)}\n{','.join(columns)}\n".encode())
        except BaseException:
            self._stream.close()
            raise

    def _lock(self) -> None:
        """Keep other processes out as long as the log is open."""
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"{self.path}: another process is writing this log; stop it, or choose another --output"
            ) from error
        except OSError:  # a file system without locks
            pass

    def _begin(self, head: bytes) -> None:
        """Write the head of a new log; of an earlier one keep the whole lines."""
        self._stream.seek(0)
        written = self._stream.read()
        if written.startswith(head):
            self._stream.truncate(written.rindex(b"\n") + 1)
        elif head.startswith(written):  # new, or killed while the head was written
            self._stream.truncate(0)
            self._stream.write(head)
        elif written.startswith(b"# {"):
            raise MissingStepError(
                f"{self.path}: holds scores of another model; choose another --output, or delete it to score anew"
            )
        else:
            raise PatternFileError(f"{self.path}: is not a log of scores; choose another --output")

    def close(self) -> None:
        """Close the log."""
        self._stream.close()

    def append(self, new: NewPatterns, *, scores: np.ndarray, lit_pixels: np.ndarray, scored_at: float) -> None:
        """Add patterns in one go, one line each.

        Parameters
        ----------
        new
            The patterns.
        scores
            Score of each readable pattern under each checkpoint (readable, checkpoints).
        lit_pixels
            Lit pixels of each readable pattern (readable,).
        scored_at
            Unix time [s].
        """
        file, scored = os.path.abspath(new.path), iter(zip(lit_pixels, scores, strict=True))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for pattern, event_id in zip(new.patterns, new.event_ids, strict=True):
            why = new.refused.get(int(pattern), "")
            lit, values = ("", [""] * scores.shape[1]) if why else next(scored)
            numbers = [value if why else f"{value:.9g}" for value in values]
            writer.writerow([file, pattern, event_id, f"{scored_at:.3f}", lit, why, *numbers])
        self._stream.write(text.getvalue().encode())

    def table(self) -> pd.DataFrame:
        """All lines as a table; text is empty and a number NaN where there is none."""
        return pd.read_csv(
            self.path,
            skiprows=1,
            dtype=_TEXT | dict.fromkeys(self._scores, np.float32),
            keep_default_na=False,  # an event id may be called NA
            na_values={name: [""] for name in ["lit_pixels", *self._scores]},
        )


def known_patterns(table: pd.DataFrame) -> dict[str, Known]:
    """The patterns of each file, by its absolute path, that a log holds.

    Parameters
    ----------
    table
        Of `ScoreLog.table`.
    """
    files = table.groupby("file", sort=False)["event_id"]
    return {file: Known(len(event_ids), event_ids.iloc[-1]) for file, event_ids in files}
