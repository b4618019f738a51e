"""Scores of every pattern of a stack under the checkpoints of a family, and the selection that follows from them.

A pattern is selected as a single hit where every checkpoint of the consensus calls it one (section 3), that is, where
the lowest of its scores is above the threshold: the lowest score is the pattern's score in a selection.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import darknet
from helpers.errors import MissingStepError, PatternFileError, RunFileError
from helpers.evaluation import iteration_column, iterations_of, stable_selection
from helpers.family import Family
from helpers.patterns import PatternStack, write_any_selection
from helpers.system import pick_device, progress, read_ahead, read_csv, write_csv
from helpers.training import (
    FamilyFolder,
    Scorer,
    TrainingSettings,
    is_ultralytics,
    load_network,
    load_ultralytics,
    patterns_a_batch,
    score_counts,
)

_AGAIN = "delete it, and run the notebook that writes it again"


@dataclass(frozen=True)
class TrainedFamily:
    """The checkpoints of a family that vote on a pattern.

    A checkpoint calls a pattern a single hit above the `threshold`; `consensus` are the iterations that vote, `shape`
    is (rows, columns) of the patterns it was trained on, and `scorers` give the scores of images, one a checkpoint.
    """

    family: Family
    settings: TrainingSettings
    threshold: float
    consensus: Sequence[int]
    shape: tuple[int, int]
    scorers: Sequence[Scorer]
    device: torch.device

    def scores(self, counts: np.ndarray) -> np.ndarray:
        """Scores (patterns, checkpoints), float32, of photon counts (patterns, rows, columns)."""
        size, resize = self.settings.size, self.settings.resize
        return score_counts(
            counts, self.scorers, self.family.representation, size=size, resize=resize, device=self.device
        )


def load_family(folder: Path, device: torch.device | None = None) -> TrainedFamily:
    """The trained family in a folder, ready to score patterns.

    Parameters
    ----------
    folder
        Folder of the family, `results/RUN/families/FAMILY`.
    device
        Device to classify on; default: the GPU if there is one.

    Raises
    ------
    MissingStepError, RunFileError, NetworkFileError
        If it was not trained, `family.json` is damaged, or a checkpoint is missing or damaged.
    """
    artefacts = FamilyFolder(folder)
    described = artefacts.checked_description()
    device = device or pick_device()
    family = Family.from_name(described.family)
    return TrainedFamily(
        family=family,
        settings=described.settings,
        threshold=described.threshold,
        consensus=described.consensus,
        shape=described.shape,
        scorers=[_scorer(family, artefacts.checkpoint(k), device) for k in described.consensus],
        device=device,
    )


def _scorer(family: Family, checkpoint: Path, device: torch.device) -> Scorer:
    if is_ultralytics(family):
        return load_ultralytics(checkpoint, device)
    network = darknet.folded(load_network(checkpoint, device))
    return lambda images: darknet.scores(network, images)


def score_stack(stack: PatternStack, trained: TrainedFamily, patterns: np.ndarray | None = None) -> pd.DataFrame:
    """Scores of patterns of a stack under each checkpoint of a family.

    Parameters
    ----------
    stack
        The patterns; they must have the shape of those that the family was trained on.
    trained
        The family.
    patterns
        Numbers of the patterns to score (patterns,), ascending; default: all.

    Returns
    -------
    pandas.DataFrame
        pattern, then one column an iteration.

    Raises
    ------
    PatternFileError
        If the shape differs.
    """
    check_shape(stack, trained)
    patterns = np.arange(len(stack)) if patterns is None else np.asarray(patterns)
    step = patterns_a_batch(trained.settings.size)
    batches = [patterns[start : start + step] for start in range(0, len(patterns), step)]
    with closing(score_batches(stack, trained, batches)) as scores:
        parts = list(progress(scores, label=f"classifying, {trained.family}", total=len(batches)))
    return as_table(patterns, np.concatenate(parts), trained)


def check_shape(stack: PatternStack, trained: TrainedFamily) -> None:
    """Refuse patterns of another shape than those that the family was trained on, with a PatternFileError."""
    if tuple(stack.shape[1:]) != trained.shape:
        raise PatternFileError(
            f"{stack.path}: {stack.dataset} holds patterns of {_times(stack.shape[1:])} pixels, "
            f"{trained.family} was trained on {_times(trained.shape)}; crop them alike, "
            "or train on patterns of this shape (workbook run --data)"
        )


def score_batches(
    stack: PatternStack, trained: TrainedFamily, batches: Iterable[slice | np.ndarray]
) -> Iterator[np.ndarray]:
    """Scores (patterns, checkpoints), float32, of each batch of pattern numbers; `check_shape` has passed the stack.

    The next ones are read meanwhile, and a few batches are in memory at a time.
    """
    with closing(read_ahead(stack.read, batches)) as blocks:
        for counts in blocks:
            yield trained.scores(counts)


def as_table(patterns: np.ndarray, scores: np.ndarray, trained: TrainedFamily) -> pd.DataFrame:
    """Scores (patterns, checkpoints) as a table: pattern, then one column an iteration."""
    table = pd.DataFrame(scores, columns=[iteration_column(iteration) for iteration in trained.consensus])
    table.insert(0, "pattern", patterns)
    return table


def stored_scores(artefacts: FamilyFolder, name: str, stack: PatternStack, patterns: np.ndarray) -> pd.DataFrame:
    """Scores of a set: those in `scores_NAME.csv` if it holds these patterns and checkpoints, else computed and stored.

    Training deletes the file when it starts anew, so what is there belongs to the checkpoints.

    Parameters
    ----------
    artefacts
        Folder of the family.
    name
        Name of the set, for instance "test".
    stack
        Patterns of the data file.
    patterns
        Pattern numbers of the set (patterns,), ascending.

    Returns
    -------
    pandas.DataFrame
        pattern, then one column an iteration.
    """
    consensus = artefacts.description()["consensus"]
    if artefacts.scores_path(name).exists():
        stored = artefacts.scores(name)
        if np.array_equal(stored["pattern"], patterns) and iterations_of(stored) == sorted(consensus):
            return stored
    write_csv(artefacts.scores_path(name), score_stack(stack, load_family(artefacts.path), patterns))
    return artefacts.scores(name)


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def write_stable_selection(
    output: Path, stack: PatternStack, table: pd.DataFrame, threshold: float, *, bin_side: int = 1
) -> np.ndarray:
    """Write the selection of the patterns that all checkpoints call single hits, in the form that the suffix names.

    Parameters
    ----------
    output
        The selection: .csv, .cxi, .h5 or .emc.
    stack
        The patterns.
    table
        Scores of `score_stack`: pattern, then one column an iteration.
    threshold
        Score above which a checkpoint calls a pattern a single hit.
    bin_side
        Pixels along a side of the bins of an .emc.

    Returns
    -------
    numpy.ndarray
        Verdict on each scored pattern (patterns,), bool.
    """
    patterns = table["pattern"].to_numpy()
    scores = table.drop(columns="pattern").to_numpy()
    selected = stable_selection(scores, threshold)
    given = {"scores": scores.min(axis=1), "selected": selected, "bin_side": bin_side}
    write_any_selection(output, stack, patterns=patterns, **given)
    return selected


def stored_selection(path: Path, patterns: np.ndarray) -> np.ndarray | None:
    """The verdicts of a selection that another notebook has written, for instance that of EM.

    Parameters
    ----------
    path
        A list of `write_any_selection` (.csv).
    patterns
        Pattern numbers of the set that it must be for (patterns,), ascending.

    Returns
    -------
    numpy.ndarray or None
        Verdict on each pattern (patterns,), bool; None if there is no such file.

    Raises
    ------
    MissingStepError, RunFileError
        If it is a selection of other patterns; if it is damaged.
    """
    if not path.is_file():
        return None
    table = read_csv(path, {"index": "index", "single": "number"}, error=RunFileError, advice=_AGAIN)
    if not table["single"].isin([0, 1]).all():
        raise RunFileError(f"{path}: the column single holds other values than 0 and 1; {_AGAIN}")
    if not np.array_equal(table["index"], patterns):
        raise MissingStepError(f"{path} is a selection of other patterns; run the notebook that writes it again")
    return table["single"].to_numpy() == 1
