"""Tables of scores: a column `pattern` (index in the stack), then one for each checkpoint, as `iteration_000100`."""

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
    """Iterations of the checkpoints in a table of scores, ascending."""
    return sorted(int(name.removeprefix(_COLUMN)) for name in scores.columns if name.startswith(_COLUMN))


def read_scores(path: Path) -> pd.DataFrame:
    """Read a table of scores.

    Parameters
    ----------
    path
        CSV file with a column `pattern`, each pattern once, and scores from 0 to 1 for each checkpoint.

    Returns
    -------
    pandas.DataFrame
        Columns pattern and one for each checkpoint (see `iteration_column`).

    Raises
    ------
    RunFileError
        If the file is damaged, or holds other columns or values.
    """
    scores = read_csv(path, {"pattern": "index"}, error=RunFileError, advice=_ADVICE)
    names = [str(name) for name in scores.columns if name != "pattern"]
    if unknown := [name for name in names if not re.fullmatch(rf"{_COLUMN}[0-9]{{6,9}}", name)]:
        raise RunFileError(f"{path}: has a column {unknown[0]!r}, which is not a checkpoint; {_ADVICE}")
    check_columns(path, scores, dict.fromkeys(names, "fraction"), error=RunFileError, advice=_ADVICE)
    return scores


def scores_at(scores: pd.DataFrame, iterations: Sequence[int]) -> np.ndarray:
    """Scores of some checkpoints.

    Parameters
    ----------
    scores
        Table of scores, from `read_scores`.
    iterations
        Iterations of the wanted checkpoints.

    Returns
    -------
    ndarray (patterns, iterations)
        Scores, 0 to 1.

    Raises
    ------
    MissingStepError
        If a checkpoint has not been scored.
    """
    columns = [iteration_column(iteration) for iteration in iterations]
    missing = [name for name in columns if name not in scores.columns]
    if missing:
        raise MissingStepError(f"the scores hold no {', '.join(missing)}; train and score these checkpoints first")
    return scores[columns].to_numpy()
