"""The log of an online classification: one line a pattern, appended when it is scored, so that a kill loses nothing.

The first line says under which model, as JSON after "# "; then follows a CSV table. A line that a kill has cut short is
deleted when the log is opened again. Only one process may write it.
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

from helpers.errors import MissingStepError, PatternFileError
from helpers.evaluation import iteration_column
from helpers.patterns import NewPatterns, Place

COLUMNS = ("file", "recording", "index", "event_id", "checksum", "scored_at", "lit_pixels", "refused")
"""Before those of the scores; `scored_at` is Unix time [s]."""

_TEXT = {"file": str, "event_id": str, "checksum": str, "refused": str}


class ScoreLog:
    """Scores on disk, one line a pattern.

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
        If the file is no such log, or another process writes it.
    MissingStepError
        If it holds scores of another model.
    """

    def __init__(self, path: Path, *, model: Mapping[str, Any], iterations: Sequence[int]) -> None:
        self.path = path
        self._columns = [*COLUMNS, *map(iteration_column, iterations)]
        self._head = f"# {json.dumps(dict(model), sort_keys=True)}\n{','.join(self._columns)}\n".encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(path, "a+b", buffering=0)  # noqa: SIM115 - open as long as the run
        try:
            self._begin()
        except BaseException:
            self._stream.close()
            raise

    def _begin(self) -> None:
        """Keep others out, check the head, and cut a line that was not finished."""
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PatternFileError(
                f"{self.path}: another process is writing this log; stop it, or choose another --output"
            ) from error
        except OSError:  # a file system without locks
            pass
        self._stream.seek(0)
        head = self._stream.read(len(self._head))
        if head != self._head and not self._head.startswith(head):
            if not head.startswith(b"# {"):
                raise PatternFileError(f"{self.path}: is not a log of scores; choose another --output")
            raise MissingStepError(
                f"{self.path}: holds scores of another model; choose another --output, or delete it to score anew"
            )
        if head != self._head:
            self._stream.truncate(0)
            self._stream.write(self._head)
        self._cut_unfinished_line()

    def _cut_unfinished_line(self) -> None:
        """Delete what follows the last end of a line."""
        size = self._stream.seek(0, os.SEEK_END)
        block = 1 << 16
        end = size
        while end > 0:
            start = max(0, end - block)
            self._stream.seek(start)
            if (last := self._stream.read(end - start).rfind(b"\n")) >= 0:
                self._stream.truncate(start + last + 1)
                return
            end = start

    def close(self) -> None:
        """Close the log."""
        self._stream.close()

    def append(self, new: NewPatterns, *, scores: np.ndarray, lit_pixels: np.ndarray, scored_at: float) -> None:
        """Add patterns, one line each, at once.

        Parameters
        ----------
        new
            The patterns.
        scores
            (readable, checkpoints)
        lit_pixels
            (readable,)
        scored_at
            Unix time [s].
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        file = os.path.abspath(new.path)
        readable = iter(zip(lit_pixels, scores, strict=True))
        for index, event_id, checksum in zip(new.indices, new.event_ids, new.checksums, strict=True):
            why = new.refused.get(int(index), "")
            lit, row = ("", [""] * scores.shape[1]) if why else next(readable)
            numbers = [value if isinstance(value, str) else f"{value:.9g}" for value in row]
            writer.writerow(
                [file, new.recording, index, event_id, checksum, f"{scored_at:.3f}", lit, why, *numbers],
            )
        self._stream.write(text.getvalue().encode())

    def table(self) -> pd.DataFrame:
        """All lines: the columns `COLUMNS`, then one a checkpoint."""
        scores = self._columns[len(COLUMNS) :]
        return pd.read_csv(
            self.path,
            skiprows=1,
            dtype=_TEXT | dict.fromkeys(scores, np.float32),
            keep_default_na=False,  # an event id may be called NA
            na_values={name: [""] for name in ["lit_pixels", *scores]},
        )


def places(table: pd.DataFrame) -> dict[str, Place]:
    """Where to go on in each file.

    Parameters
    ----------
    table
        Of `ScoreLog.table`.

    Returns
    -------
    dict
        Absolute path → place.
    """
    latest = latest_recordings(table)
    grouped = latest.groupby("file", sort=False)
    return {
        file: Place(int(own["recording"].iloc[-1]), len(own), own["checksum"].iloc[0], own["checksum"].iloc[-1])
        for file, own in grouped
    }


def latest_recordings(table: pd.DataFrame) -> pd.DataFrame:
    """Lines of the patterns that the files hold now: those of the last recording of each name."""
    last = table.groupby("file")["recording"].transform("max")
    return table[table["recording"] == last].reset_index(drop=True)
