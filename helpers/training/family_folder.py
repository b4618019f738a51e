"""Files of a trained family, which classification and the tables read: one folder a family.

family.json            the family, its settings, threshold, consensus, first weights and training data
checkpoints/*          weights of the checkpoints that the consensus needs (safetensors)
loss.csv               the loss of each iteration
training.log           the same as Darknet prints it
scores_validation.csv  a score for each validation pattern and checkpoint; scores_test.csv likewise
state.safetensors      from where a killed training goes on
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.errors import MissingStepError, RunFileError
from helpers.evaluation import iteration_column, iterations_of, read_scores
from helpers.system import claim_folder, in_short, read_csv, read_json, write_csv, write_text

_LOSS_COLUMNS = ["iteration", "loss", "average_loss", "learning_rate", "images_seen"]


@dataclass(frozen=True)
class FamilyFolder:
    """The files of one family of models.

    Parameters
    ----------
    path
        Folder `results/RUN/families/FAMILY`.
    """

    path: Path

    @property
    def state(self) -> Path:
        """File from which a killed training goes on."""
        return self.path / "state.safetensors"

    def checkpoint(self, iteration: int) -> Path:
        """File of the weights after an iteration."""
        return self.path / "checkpoints" / f"{iteration_column(iteration)}.safetensors"

    def scores_path(self, name: str) -> Path:
        """File of the scores of the set `name`: validation or test."""
        return self.path / f"scores_{name}.csv"

    def claim(self, description: Mapping[str, Any]) -> None:
        """Make the folder for a training; what another training has left there is stale, and moved aside.

        Parameters
        ----------
        description
            All that the artefacts follow from, and the threshold, which nothing is trained anew for: `family.json`.
        """
        claim_folder(self.path, description, written_in="family.json", may_differ=["threshold"])

    def description(self) -> dict[str, Any]:
        """Read `family.json`.

        Raises
        ------
        MissingStepError
            If there is none.
        RunFileError
            If it is damaged.
        """
        try:
            described = self.path / "family.json"
            return read_json(described, "description of a family", error=RunFileError, advice="train the family anew")
        except FileNotFoundError as error:
            raise MissingStepError(
                f"{self.path} holds no family.json; train the family first (workbook run --only 04)"
            ) from error

    def write_history(self, history: list[dict[str, float]]) -> None:
        """Write the loss of each iteration, for programs and as Darknet prints it."""
        write_csv(self.path / "loss.csv", pd.DataFrame(history, columns=[*_LOSS_COLUMNS, "seconds"])[_LOSS_COLUMNS])
        write_text(self.path / "training.log", "".join(darknet_line(row) + "\n" for row in history))

    def add_scores(self, name: str, patterns: np.ndarray, iteration: int, scores: np.ndarray) -> None:
        """Add the scores of a checkpoint as a column; columns of this and later iterations are replaced."""
        path = self.scores_path(name)
        table = read_scores(path) if path.exists() else pd.DataFrame({"pattern": patterns})
        later = [iteration_column(known) for known in iterations_of(table) if known >= iteration]
        write_csv(path, table.drop(columns=later).assign(**{iteration_column(iteration): scores}))

    def scores(self, name: str) -> pd.DataFrame:
        """Read the scores of a set: one row a pattern, one column an iteration.

        Raises
        ------
        MissingStepError
            If the set has not been scored.
        """
        path = self.scores_path(name)
        if not path.exists():
            raise MissingStepError(f"{path} is missing; run the notebook that scores the {name} set first")
        return read_scores(path)

    def loss(self) -> pd.DataFrame:
        """Read iteration, loss, average_loss, learning_rate, images_seen."""
        path = self.path / "loss.csv"
        if not path.exists():
            raise MissingStepError(f"{path} is missing; train the family first (workbook run --only 04)")
        return read_csv(path, dict.fromkeys(_LOSS_COLUMNS, "number"), error=RunFileError, advice="train it anew")


def check_description(path: Path, described: Mapping[str, Any]) -> None:
    """Refuse a `family.json` whose values are of another kind than classification needs.

    Raises
    ------
    RunFileError
        If one is; it is named.
    """
    for name, is_right in _DESCRIBED.items():
        if name in described and not is_right(described[name]):
            raise RunFileError(f"{path}: {name} is {in_short(repr(described[name]))}; train the family anew")


def _are_numbers(values: object) -> bool:
    """True for a list of whole numbers above 0, each once."""
    return (
        isinstance(values, list)
        and all(type(value) is int and 0 < value < 10**9 for value in values)
        and 0 < len(set(values)) == len(values)
    )


_DESCRIBED = {
    "family": lambda value: isinstance(value, str),
    "settings": lambda value: isinstance(value, dict),
    "threshold": lambda value: isinstance(value, float) and 0 < value < 1,
    "consensus": _are_numbers,
    "shape": lambda value: isinstance(value, list) and len(value) == 2 and all(_are_numbers([one]) for one in value),
}


def darknet_line(row: Mapping[str, float]) -> str:
    """The line that Darknet prints after an iteration."""
    return (
        f"{row['iteration']:.0f}: {row['loss']:f}, {row['average_loss']:f} avg, {row['learning_rate']:f} rate, "
        f"{row['seconds']:f} seconds, {row['images_seen']:.0f} images"
    )
