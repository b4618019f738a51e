"""A table of scores: column `pattern` (index in the stack), then one column a checkpoint, `iteration_000100`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.errors import MissingStepError

_COLUMN = "iteration_"


def iteration_column(iteration: int) -> str:
    """Name of the score column of a checkpoint: `iteration_000100`."""
    return f"{_COLUMN}{iteration:06d}"


def iterations_of(scores: pd.DataFrame) -> list[int]:
    """Iterations that a table of scores holds, ascending."""
    return sorted(int(name.removeprefix(_COLUMN)) for name in scores.columns if name.startswith(_COLUMN))


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
