"""The rows of a loss table, as every trainer writes them."""

import math
from collections.abc import Mapping, Sequence

from helpers.errors import TrainingDivergedError
from helpers.family import Family

RANDOM_WEIGHTS = "random weights"
_MEMORY_OF_AVERAGE_LOSS = 0.9


def check_loss(family: Family, loss: float, iteration: int, rate: float) -> None:
    """Raise TrainingDivergedError if the loss of an iteration is not a number."""
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"{family}: the loss is {loss} at iteration {iteration} (learning rate {rate:g}); "
            "lower learning_rate or lengthen burn_in in the profile"
        )


def history_row(
    history: Sequence[Mapping[str, float]], loss: float, rate: float, batch: int, seconds: float
) -> dict[str, float]:
    """The next row of the loss table; the average is Darknet's, 0.9 of the last and 0.1 of the new loss.

    `loss` is that of an iteration of `batch` images, divided by them; its time [s] goes into `training.log` alone.
    """
    before = history[-1]["average_loss"] if history else loss
    iteration = len(history) + 1
    return {
        "iteration": iteration,
        "loss": loss,
        "average_loss": _MEMORY_OF_AVERAGE_LOSS * before + (1 - _MEMORY_OF_AVERAGE_LOSS) * loss,
        "learning_rate": rate,
        "images_seen": iteration * batch,
        "seconds": seconds,
    }
