"""Labels, and the training, validation and test sets of Table 1."""

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass

from helpers.errors import LabelsError
from helpers.evaluation import TABLE_1
from helpers.system import STRICT


@dataclass(config=STRICT, frozen=True)
class SetSizes:
    """How many patterns (positives, negatives) each set takes; the defaults are the paper's (Table 1).

    `outside` is how many of training and validation together come from outside the size range. The paper implies it:
    891 patterns train and validate, and 281 of them are in the range (201 of the 1196 positives, 80 of the negatives).
    """

    training: tuple[NonNegativeInt, NonNegativeInt] = (165, 390)
    validation: tuple[NonNegativeInt, NonNegativeInt] = (53, 283)
    outside: tuple[NonNegativeInt, NonNegativeInt] = (17, 593)

    def __post_init__(self) -> None:
        for kind, training, validation, outside in zip(
            ("positives", "negatives"), self.training, self.validation, self.outside, strict=True
        ):
            if outside > training + validation:
                raise ValueError(
                    f"{outside} {kind} from outside the size range are more than the {training + validation} of "
                    f"training and validation; lower outside"
                )


def split(labels: pd.DataFrame, sizes: SetSizes, *, seed: int, test: np.ndarray | None = None) -> pd.DataFrame:
    """Divide labelled patterns into the sets of Table 1 at random, class by class; the truth is not looked at.

    Training and validation take `sizes.outside` patterns from outside the size range, in proportion to their sizes, or
    as many as there are; all others are in the range. The test set is every pattern in the range that is left, or the
    one that was there before: its patterns never train or validate.

    Parameters
    ----------
    labels
        Columns pattern, label, in_size_range (see `labels_of`).
    sizes
        Wanted numbers.
    seed
        The same seed gives the same sets.
    test
        Patterns of a test set that is kept; what training and validation do not take of the others is unused then.

    Returns
    -------
    DataFrame
        `labels` with the column set: "training", "validation", "test" or, outside the size range, "unused".

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
        beyond = min(sizes.outside[kind], outside.size)
        beyond_training = round(beyond * training / max(training + validation, 1))
        left = 1 if test is None else 0
        _enough(inside.size, training + validation - beyond, left, "positive" if positive else "negative")
        for pool, first, last in (
            (outside, beyond_training, beyond),
            (inside, training - beyond_training, training + validation - beyond),
        ):
            names[pool[:first]] = "training"
            names[pool[first:last]] = "validation"
    return labels.assign(set=names)


def _enough(available: int, asked: int, left: int, kind: str) -> None:
    """Refuse sets that cannot be filled, or that leave nothing of a class for the test."""
    if available < asked + left:
        test = f" and the test for at least {left}" if left else ""
        raise LabelsError(
            f"{available} {kind} patterns are available in the size range, but training and validation ask for {asked}"
            f"{test}; label more patterns or ask for smaller sets"
        )


def table_1(sets: pd.DataFrame) -> pd.DataFrame:
    """Table 1: number of patterns in the sets.

    Parameters
    ----------
    sets
        From `split`.

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
    """Table 1 of a run beside the paper's, whose columns end in `_paper`.

    Parameters
    ----------
    sizes
        From `table_1`.
    """
    return sizes.merge(TABLE_1, on="set", suffixes=("", "_paper"))
