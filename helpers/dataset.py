"""Labels, and the training, validation and test sets of Table 1."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.cxi import PatternStack
from helpers.errors import LabelsError
from helpers.labels_file import SINGLE, UNSURE, LabelsFile
from helpers.preparation import SIZE_RANGE_NM
from helpers.published import TABLE_1
from helpers.text_files import in_short, parsed


@dataclass(frozen=True)
class SetSizes:
    """How many patterns (positives, negatives) each set takes; the defaults are the paper's (Table 1).

    `outside` is how many of training and validation together come from outside the size range. The paper implies it:
    891 patterns train and validate, and 281 of them are in the range (201 of the 1196 positives, 80 of the negatives).
    """

    training: tuple[int, int] = (165, 390)
    validation: tuple[int, int] = (53, 283)
    outside: tuple[int, int] = (17, 593)

    def __post_init__(self) -> None:
        for name in ("training", "validation", "outside"):
            sizes = getattr(self, name)
            if len(sizes) != 2 or min(sizes) < 0:
                raise LabelsError(f"{name} must be (positives, negatives), two whole numbers from 0, got {sizes}")
        for kind, training, validation, outside in zip(
            ("positives", "negatives"), self.training, self.validation, self.outside, strict=True
        ):
            if outside > training + validation:
                raise LabelsError(
                    f"{outside} {kind} from outside the size range are more than the {training + validation} of "
                    f"training and validation; lower outside"
                )


def read_labels(path: str | os.PathLike, stack: PatternStack) -> pd.DataFrame:
    """Read labels from a CSV file with `single` (0 or 1) and `index` or `event_id`, or from the widget's JSON.

    A selection that this workbook wrote is such a CSV file. Where both are there, `index` counts and `event_id` must
    agree. In the JSON file (`labels_file`) the patterns on which somebody is unsure do not count.

    Parameters
    ----------
    path
        The file; patterns that it does not name stay unlabelled.
    stack
        The patterns that it labels.

    Returns
    -------
    DataFrame
        Columns pattern (index in the stack), label (bool), in the order of the patterns.

    Raises
    ------
    LabelsError
        If the file or a column is missing, or a row names no pattern, a pattern twice, or another label than 0 and 1.
    """
    path = Path(path)
    if path.suffix == ".json":
        return _from_annotation(path, stack)
    rows = _read_csv(path)
    patterns = _from_indices(rows, path, stack) if "index" in rows else _from_event_ids(rows, path, stack)
    single = pd.to_numeric(rows["single"], errors="coerce")
    _refuse(path, rows["single"], ~single.isin([0, 1]), "single must be 0 or 1; correct")
    _refuse(path, patterns, patterns.duplicated(), "a pattern is labelled twice; keep one row of")
    labels = pd.DataFrame({"pattern": patterns.astype(np.int64), "label": single == 1})
    return labels.sort_values("pattern", ignore_index=True)


def _from_annotation(path: Path, stack: PatternStack) -> pd.DataFrame:
    """Labels that people have given in the annotation widget."""
    said = LabelsFile(path, stack).labels
    decided = sorted(pattern for pattern in said if said[pattern].label != UNSURE)
    if not decided:
        raise LabelsError(f"{path}: calls no pattern single or not single; label some in notebook 03 first")
    single = [said[pattern].label == SINGLE for pattern in decided]
    return pd.DataFrame({"pattern": np.array(decided, dtype=np.int64), "label": np.array(single, dtype=bool)})


def _read_csv(path: Path) -> pd.DataFrame:
    """The rows of a label file as text."""
    advice = "give a file with the columns index,single"
    try:
        rows = parsed(
            lambda: pd.read_csv(path, dtype=str, skipinitialspace=True, index_col=False),
            path,
            error=LabelsError,
            advice=advice,
        )
    except FileNotFoundError as error:
        raise LabelsError(f"{path}: cannot be read as CSV ({error}); {advice}") from error
    rows.columns = rows.columns.str.strip()
    if "single" not in rows or not {"index", "event_id"} & set(rows):
        raise LabelsError(
            f"{path}: has the columns {in_short(', '.join(rows)) or 'none'}; it needs single, and index or event_id: "
            "rename them"
        )
    if rows.empty:
        raise LabelsError(f"{path}: has no rows; label at least one pattern of each class")
    return rows


def _refuse(path: Path, values: pd.Series, wrong: pd.Series, reason: str) -> None:
    """Raise if any row is wrong, with the first such line of the file."""
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        found = in_short(repr(values.iloc[first]))
        raise LabelsError(f"{path}: {reason} {found} in line {first + 2} ({int(wrong.sum())} such rows)")


def _from_indices(rows: pd.DataFrame, path: Path, stack: PatternStack) -> pd.Series:
    """Patterns of the column `index`; a column `event_id` beside it must not contradict."""
    patterns = pd.to_numeric(rows["index"], errors="coerce")
    known = patterns.between(0, len(stack) - 1) & (patterns % 1 == 0)
    _refuse(path, rows["index"], ~known, f"{stack.path} has the patterns 0 to {len(stack) - 1}; correct index")
    patterns = patterns.astype(np.int64)
    if "event_id" in rows and rows["event_id"].notna().any() and stack.event_ids is not None:
        stored = pd.Series(stack.event_ids).astype(str).iloc[patterns].set_axis(rows.index)
        differs = rows["event_id"].notna() & (rows["event_id"].str.strip() != stored)
        _refuse(path, rows["event_id"], differs, f"index and event_id disagree for {stack.path}; correct event_id")
    return patterns


def _from_event_ids(rows: pd.DataFrame, path: Path, stack: PatternStack) -> pd.Series:
    """Patterns of the column `event_id`."""
    if stack.event_ids is None:
        raise LabelsError(f"{path}: labels by event_id, but {stack.path} has no event ids; use a column index")
    stored = pd.Series(stack.event_ids).astype(str)
    if stored.duplicated().any():
        twice = stored[stored.duplicated()].iloc[0]
        raise LabelsError(f"{stack.path}: event id {twice} belongs to several patterns; label by a column index")
    patterns = rows["event_id"].str.strip().map(pd.Series(stored.index, index=stored))
    _refuse(path, rows["event_id"], patterns.isna(), f"not an event id of {stack.path}; correct")
    return patterns


def labels_of(stack: PatternStack, labels_csv: str | os.PathLike | None = None) -> pd.DataFrame:
    """Labels of the patterns, and what else the sets need to know of them.

    Parameters
    ----------
    stack
        The patterns, with the column `manual` (non-zero = single hit) if there is no `labels_csv`.
    labels_csv
        A file as in `read_labels`; then only the patterns that it names are in the result.

    Returns
    -------
    DataFrame
        Columns pattern, label (bool), in_size_range (bool: 55–84 nm; True where the file has no `size_nm`), event_id
        and single (bool, the truth) where the file has them.

    Raises
    ------
    LabelsError
        If there are no labels, or the file does not fit.
    """
    table = stack.table()
    if labels_csv is not None:
        labels = read_labels(labels_csv, stack)
    elif "manual" in table:
        labels = pd.DataFrame({"pattern": np.arange(len(stack)), "label": table["manual"].to_numpy() != 0})
    else:
        raise LabelsError(
            f"{stack.path}: has no labels (column manual); give a CSV file with the columns index,single, "
            "or label patterns in notebook 03"
        )
    chosen = labels["pattern"].to_numpy()
    labels["in_size_range"] = (
        table["size_nm"].between(*SIZE_RANGE_NM).to_numpy()[chosen] if "size_nm" in table else True
    )
    if stack.event_ids is not None:
        labels["event_id"] = stack.event_ids[chosen]
    if "single" in table:
        labels["single"] = table["single"].to_numpy()[chosen] != 0
    return labels


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
