"""The log of an online classification: one line a pattern, appended when it is scored, so that a kill loses nothing.

The first line names the model, as JSON after "# "; a CSV table follows. A line that a kill has cut short is deleted
when the log is opened again. Only one process can write it.
"""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.errors import MissingStepError, PatternFileError
from helpers.evaluation import iteration_column
from helpers.patterns import Known, NewPatterns
from helpers.system import locked

_TEXT = {"file": str, "event_id": str, "refused": str}


class ScoreLog:
    """Scores on disk: file, index, event_id, scored_at, lit_pixels, refused, then one column a checkpoint.

    `model` is what the scores depend on, as plain values. Raises PatternFileError if the file is not such a log,
    LockedError if another process writes it, MissingStepError if it holds scores of another model.
    """

    def __init__(self, path: Path, *, model: Mapping[str, Any], iterations: Sequence[int]) -> None:
        self.path = path
        self._scores = [iteration_column(iteration) for iteration in iterations]
        columns = ["file", "index", "event_id", "scored_at", "lit_pixels", "refused", *self._scores]
        with ExitStack() as opened:
            opened.enter_context(locked(path, path.with_name(f"{path.name}.lock")))
            self._stream = opened.enter_context(open(path, "a+b", buffering=0))
            self._begin(f"# {json.dumps(dict(model), sort_keys=True)}\n{','.join(columns)}\n".encode())
            self._opened = opened.pop_all()

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
        """Close the log, for others to write."""
        self._opened.close()

    def append(self, new: NewPatterns, *, scores: np.ndarray, lit_pixels: np.ndarray, scored_at: float) -> None:
        """Add patterns in one go, one line each, at a Unix time [s].

        `scores` (readable, checkpoints) and `lit_pixels` (readable,) are those of the patterns that are not refused.
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
    """The patterns that a `ScoreLog.table` holds of each file, by its absolute path."""
    files = table.groupby("file", sort=False)["event_id"]
    return {file: Known(len(event_ids), event_ids.iloc[-1]) for file, event_ids in files}
