"""A table of scores: column `pattern` (index in the stack), then one column a checkpoint, `iteration_000100`."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import MissingStepError, RunFileError
from helpers.system import check_columns, read_csv

_COLUMN = "iteration_"
_ADVICE = "delete it, and run the notebook that writes it again"


def iteration_column(iteration: int) -> str:
    """Name of the score column of a checkpoint: `iteration_000100`."""
    return f"{_COLUMN}{iteration:06d}"


def iterations_of(scores: pd.DataFrame) -> list[int]:
    """Iterations that a table of scores holds, ascending."""
    return sorted(int(name.removeprefix(_COLUMN)) for name in scores.columns if name.startswith(_COLUMN))


def read_scores(path: Path) -> pd.DataFrame:
    """Read a table of scores: `pattern`, each once, and a score of 0 … 1 for each checkpoint.

    Raises
    ------
    RunFileError
        If the file is damaged, or holds something else.
    """
    scores = read_csv(path, {"pattern": "index"}, error=RunFileError, advice=_ADVICE)
    names = [str(name) for name in scores.columns if name != "pattern"]
    if unknown := [name for name in names if not re.fullmatch(rf"{_COLUMN}[0-9]{{6,9}}", name)]:
        raise RunFileError(f"{path}: has a column {unknown[0]!r}, which is no checkpoint; {_ADVICE}")
    check_columns(path, scores, dict.fromkeys(names, "fraction"), error=RunFileError, advice=_ADVICE)
    return scores


def scores_at(scores: pd.DataFrame, iterations: Sequence[int]) -> np.ndarray:
    """Scores (patterns, iterations) of some checkpoints.

    Raises
    ------
    MissingStepError
        If a checkpoint was not scored.
    """
    columns = [iteration_column(iteration) for iteration in iterations]
    missing = [name for name in columns if name not in scores.columns]
    if missing:
        raise MissingStepError(f"the scores hold no {', '.join(missing)}; train and score these checkpoints first")
    return scores[columns].to_numpy()
