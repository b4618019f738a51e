"""Files of a trained family, which classification and the tables read: one folder a family.

family.json            the family, its settings, threshold, consensus, first weights and training data
checkpoints/*          weights of the checkpoints that the consensus needs (safetensors)
loss.csv               the loss of each iteration
training.log           the same as Darknet prints it
scores_validation.csv  a score for each validation pattern and checkpoint; scores_test.csv likewise
state.safetensors      from where a killed training goes on

A training with other settings, patterns or code finds the folder stale, and moves it to `stale/` beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from pydantic import Field, PositiveInt

from helpers.errors import MissingStepError, RunFileError
from helpers.evaluation import iteration_column, iterations_of, read_scores
from helpers.system import STRICT, claim_folder, read_csv, read_json, validated, write_csv, write_text
from helpers.training.settings import TrainingSettings

_LOSS_COLUMNS = ["iteration", "loss", "average_loss", "learning_rate", "images_seen"]


@dataclass(frozen=True)
class FamilyFolder:
    """The files of one family of models, in `results/RUN/families/FAMILY`."""

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

        `description` is all that the artefacts follow from, and the threshold, which nothing is trained anew for.
        """
        claim_folder(self.path, description, written_in="family.json", may_differ=["threshold"])

    def description(self) -> dict[str, Any]:
        """Read `family.json`; a MissingStepError if there is none, a RunFileError if it is damaged."""
        try:
            described = self.path / "family.json"
            return read_json(described, "description of a family", error=RunFileError, advice="train the family anew")
        except FileNotFoundError as error:
            raise MissingStepError(
                f"{self.path} holds no family.json; train the family first (workbook run --only 04)"
            ) from error

    def checked_description(self) -> "FamilyDescription":
        """Read `family.json` for classification.

        Raises
        ------
        MissingStepError, RunFileError
            If there is none; if a key is missing, or holds another kind of value than classification needs.
        """
        source = self.path / "family.json"
        given = {"error": RunFileError, "source": source, "advice": "train the family anew"}
        return validated(FamilyDescription, self.description(), **given)

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
        """Read the scores of a set: one row a pattern, one column an iteration; MissingStepError if there are none."""
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


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class FamilyDescription:
    """What a trained family follows from, and what classification needs to know of it: the content of `family.json`.

    `consensus` are the iterations that vote, `shape` is (rows, columns) of the patterns; `start` names the first
    weights (a file, or "random weights"); `examples` and `code` are checksums of the patterns and of the code that
    trained.
    """

    family: str
    settings: TrainingSettings
    threshold: Annotated[float, Field(gt=0, lt=1)]
    consensus: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    shape: tuple[PositiveInt, PositiveInt]
    start: str = ""
    examples: str = ""
    code: str = ""

    def __post_init__(self) -> None:
        if len(set(self.consensus)) < len(self.consensus):
            raise ValueError(f"consensus must name each iteration once, got {list(self.consensus)}")


def darknet_line(row: Mapping[str, float]) -> str:
    """The line that Darknet prints after an iteration."""
    return (
        f"{row['iteration']:.0f}: {row['loss']:f}, {row['average_loss']:f} avg, {row['learning_rate']:f} rate, "
        f"{row['seconds']:f} seconds, {row['images_seen']:.0f} images"
    )
