"""Training, validation and test sets of Table 1, drawn from labelled patterns."""

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from helpers.errors import LabelsError
from helpers.evaluation import TABLE_1
from helpers.system import STRICT


@dataclass(config=STRICT, frozen=True)
class SetSizes:
    """Numbers of patterns (positives, negatives) in each set; the defaults are those of the paper (Table 1).

    Raises
    ------
    ValueError
        If a number is negative, or `outside` exceeds training and validation together.
    """

    training: tuple[NonNegativeInt, NonNegativeInt] = (165, 390)
    """Positives and negatives of the training set."""

    validation: tuple[NonNegativeInt, NonNegativeInt] = (53, 283)
    """Positives and negatives of the validation set."""

    outside: tuple[NonNegativeInt, NonNegativeInt] = (17, 593)
    """Positives and negatives of both sets that come from outside the size range. The paper implies the default: 891
    patterns train and validate, and 281 of them are in the range (201 of the 1196 positives, 80 of the negatives)."""

    def __post_init__(self) -> None:
        for kind, training, validation, outside in zip(
            ("positives", "negatives"), self.training, self.validation, self.outside, strict=True
        ):
            if outside > training + validation:
                raise ValueError(
                    f"{outside} {kind} from outside the size range are more than the {training + validation} of "
                    f"training and validation together; lower outside"
                )


def split(labels: pd.DataFrame, sizes: SetSizes, *, seed: int, test: np.ndarray | None = None) -> pd.DataFrame:
    """Divide labelled patterns at random into the sets of Table 1, class by class; the truth is not used.

    Training and validation take `sizes.outside` patterns from outside the size range, in proportion to their sizes, or
    as many as there are; all others come from the range. The test set is every remaining pattern in the range, or a
    given test set, whose patterns never train or validate.

    Parameters
    ----------
    labels
        Table with the columns pattern, label and in_size_range, from `labels.labels_of`.
    sizes
        Wanted numbers of positives and negatives in each set.
    seed
        Seed of the division; the same seed gives the same sets.
    test
        Patterns of an existing test set to keep; the other patterns that training and validation do not take are then
        unused.

    Returns
    -------
    DataFrame
        `labels` with the column set: "training", "validation", "test" or "unused".

    Raises
    ------
    LabelsError
        If a class has too few patterns to fill training and validation and leave one for the test.
    """
    in_range = labels["in_size_range"].to_numpy(bool)
    kept = np.zeros(len(labels), bool) if test is None else labels["pattern"].isin(test).to_numpy()
    names = np.where(in_range if test is None else kept, "test", "unused").astype(object)
    rng = np.random.default_rng(seed)
    for kind, positive in enumerate((True, False)):
        members = (labels["label"].to_numpy(bool) == positive) & ~kept
        inside = rng.permutation(np.flatnonzero(members & in_range))
        outside = rng.permutation(np.flatnonzero(members & ~in_range))
        training, validation = sizes.training[kind], sizes.validation[kind]
        # patterns from outside, divided between training and validation in proportion to their sizes
        from_outside = min(sizes.outside[kind], outside.size)
        training_outside = round(from_outside * training / max(training + validation, 1))
        left = 1 if test is None else 0
        _check_enough(inside.size, training + validation - from_outside, left, "positive" if positive else "negative")
        # each pool in random order: first the training set, then the validation set
        for pool, first, last in (
            (outside, training_outside, from_outside),
            (inside, training - training_outside, training + validation - from_outside),
        ):
            names[pool[:first]] = "training"
            names[pool[first:last]] = "validation"
    return labels.assign(set=names)


def _check_enough(available: int, asked: int, left: int, kind: str) -> None:
    """Raise an error if a class cannot fill the sets, or would leave nothing for the test set."""
    if available < asked + left:
        test = f" and the test for at least {left}" if left else ""
        raise LabelsError(
            f"{available} {kind} patterns are available in the size range, but training and validation ask for {asked}"
            f"{test}; label more patterns or ask for smaller sets"
        )


def table_1(sets: pd.DataFrame) -> pd.DataFrame:
    """Table 1: numbers of patterns in the sets.

    Parameters
    ----------
    sets
        Table of the sets, from `split`.

    Returns
    -------
    DataFrame
        Columns set, patterns, positive, negative, in_size_range; rows "size range", "training", "validation", "test".
    """
    parts = {"size range": sets[sets["in_size_range"]]}
    parts |= {name: sets[sets["set"] == name] for name in ("training", "validation", "test")}
    rows = [
        (name, len(part), int(part["label"].sum()), int((~part["label"]).sum()), int(part["in_size_range"].sum()))
        for name, part in parts.items()
    ]
    return pd.DataFrame(rows, columns=["set", "patterns", "positive", "negative", "in_size_range"])


def beside_published(sizes: pd.DataFrame) -> pd.DataFrame:
    """Table 1 of a run beside that of the paper.

    Parameters
    ----------
    sizes
        Table 1 of the run, from `table_1`.

    Returns
    -------
    DataFrame
        `sizes` with the paper's numbers in columns that end in `_paper`.
    """
    return sizes.merge(TABLE_1, on="set", suffixes=("", "_paper"))
