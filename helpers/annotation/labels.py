"""Labels of the patterns of a stack: from a CSV file, from the widget's JSON, or from the pattern file itself."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.annotation.labels_file import SINGLE, UNSURE, LabelsFile
from helpers.errors import LabelsError
from helpers.patterns import PatternStack
from helpers.preparation import SIZE_RANGE_NM
from helpers.system import flags, in_short, numbers, read_any_csv, without_zero_decimals

_KNOWN = ("index", "event_id", "single")
_COLUMNS = {"label": ("label", "manual"), "truth": ("truth", "single")}
"""Columns of a pattern file with the expert's label and the simulation's truth: today's name, then the older one."""


def read_labels(path: str | os.PathLike, stack: PatternStack) -> pd.DataFrame:
    """Labels from CSV with `single` (0, 1) and `index` or `event_id`, or from the widget's JSON without "unsure".

    A selection of this workbook is such a CSV file: `index` names the pattern, and `event_id` must agree. Returns the
    columns pattern (index in the stack) and label (bool), ordered by pattern; raises LabelsError for a missing file or
    column, an unknown pattern, a pattern named twice, or a label other than 0 and 1.
    """
    path = Path(path)
    if path.suffix == ".json":
        return _from_annotation(path, stack)
    rows = _read_csv(path)
    patterns = _from_indices(rows, path, stack) if "index" in rows else _from_event_ids(rows, path, stack)
    single = flags(rows["single"])
    _refuse(path, rows["single"], single.isna(), "the column single must hold 0 or 1; correct")
    patterns = patterns.astype(np.int64)
    _refuse(path, patterns, patterns.duplicated(), "a pattern is labelled twice; keep only one row for")
    labels = pd.DataFrame({"pattern": patterns, "label": single == 1})
    return labels.sort_values("pattern", ignore_index=True)


def _from_annotation(path: Path, stack: PatternStack) -> pd.DataFrame:
    """Labels from the JSON file of the annotation widget."""
    judgements = LabelsFile(path, stack).labels
    decided = sorted(pattern for pattern in judgements if judgements[pattern].label != UNSURE)
    if not decided:
        raise LabelsError(f"{path}: labels no pattern as single or not single; label some in notebook 03 first")
    label = [judgements[pattern].label == SINGLE for pattern in decided]
    return pd.DataFrame({"pattern": np.array(decided, dtype=np.int64), "label": np.array(label, dtype=bool)})


def _read_csv(path: Path) -> pd.DataFrame:
    """The rows of a label file as text."""
    rows = read_any_csv(path, _KNOWN, error=LabelsError, advice="give a file with the columns index,single")
    if "single" not in rows or not {"index", "event_id"} & set(rows):
        raise LabelsError(
            f"{path}: has the columns {in_short(', '.join(rows)) or 'none'}, but needs single, and index or event_id; "
            "rename them"
        )
    if rows.empty:
        raise LabelsError(f"{path}: has no rows; label at least one pattern of each class")
    return rows


def _refuse(path: Path, values: pd.Series, wrong: pd.Series, reason: str) -> None:
    """Raise if any row is wrong, naming the first such line of the file."""
    if wrong.any():
        line, value = next(values[wrong].items())
        raise LabelsError(f"{path}: {reason} {in_short(repr(value))} in line {line} ({int(wrong.sum())} such rows)")


def _from_indices(rows: pd.DataFrame, path: Path, stack: PatternStack) -> pd.Series:
    """Patterns named by the column `index`, which a column `event_id` must not contradict."""
    patterns = numbers(rows["index"])
    known = patterns.between(0, len(stack) - 1) & (patterns % 1 == 0)
    _refuse(path, rows["index"], ~known, f"{stack.path} has the patterns 0 to {len(stack) - 1}; correct index")
    patterns = patterns.astype(np.int64)
    if "event_id" in rows and rows["event_id"].notna().any() and stack.event_ids is not None:
        stored = pd.Series(stack.event_ids).astype(str).iloc[patterns].set_axis(rows.index)
        differs = rows["event_id"].notna() & (_event_ids(rows, stack) != stored)
        _refuse(path, rows["event_id"], differs, f"index and event_id disagree for {stack.path}; correct event_id")
    return patterns


def _from_event_ids(rows: pd.DataFrame, path: Path, stack: PatternStack) -> pd.Series:
    """Patterns named by the column `event_id`."""
    if stack.event_ids is None:
        raise LabelsError(f"{path}: names patterns by event_id, but {stack.path} has no event ids; use a column index")
    stored = pd.Series(stack.event_ids).astype(str)
    if stored.duplicated().any():
        twice = stored[stored.duplicated()].iloc[0]
        raise LabelsError(f"{stack.path}: event id {twice} belongs to several patterns; use a column index instead")
    patterns = _event_ids(rows, stack).map(pd.Series(stored.index, index=stored))
    _refuse(path, rows["event_id"], patterns.isna(), f"not an event id of {stack.path}; correct")
    return patterns


def _event_ids(rows: pd.DataFrame, stack: PatternStack) -> pd.Series:
    """Event ids of the rows as text, as `str` writes those of the stack."""
    return without_zero_decimals(rows["event_id"]) if stack.event_ids.dtype.kind in "iu" else rows["event_id"]


def labels_of(stack: PatternStack, labels_csv: str | os.PathLike | None = None) -> pd.DataFrame:
    """Labels of the patterns with the columns that `sets.split` needs.

    Parameters
    ----------
    stack
        Open stack of the patterns. Without `labels_csv` its file must hold the column `label` (`manual` in older
        files), non-zero for a single hit.
    labels_csv
        CSV or JSON file of labels (see `read_labels`); the result then has only the patterns that it names.

    Returns
    -------
    DataFrame
        Columns pattern, label (bool, the expert's), in_size_range (bool: 55–84 nm; True if the file has no `size_nm`),
        and, where the file has them, event_id and truth (bool, the simulation's).

    Raises
    ------
    LabelsError
        If there are no labels, or the file of labels does not fit the patterns.
    """
    table = stack.table()
    if labels_csv is not None:
        labels = read_labels(labels_csv, stack)
    else:
        label = _stored(stack, table, "label")
        if label is None:
            raise LabelsError(
                f"{stack.path}: has no labels (no column label); give a CSV file with the columns index,single, "
                "or label patterns in notebook 03"
            )
        labels = pd.DataFrame({"pattern": np.arange(len(stack)), "label": label})
    chosen = labels["pattern"].to_numpy()
    labels["in_size_range"] = (
        table["size_nm"].between(*SIZE_RANGE_NM).to_numpy()[chosen] if "size_nm" in table else True
    )
    if stack.event_ids is not None:
        labels["event_id"] = stack.event_ids[chosen]
    truth = _stored(stack, table, "truth")
    if truth is not None:
        labels["truth"] = truth[chosen]
    return labels


def _stored(stack: PatternStack, table: pd.DataFrame, name: str) -> np.ndarray | None:
    """Label or truth (patterns,) as bool from the pattern file, under its name today or the older one; None without."""
    column = next((column for column in _COLUMNS[name] if column in table), None)
    if column is None:
        return None
    if not pd.api.types.is_numeric_dtype(table[column]):
        raise LabelsError(f"{stack.path}: the column {column} must hold numbers, 0 or 1; rename it, or give a CSV file")
    return table[column].to_numpy() != 0


def kinds_of(stack: PatternStack, labels: pd.DataFrame) -> pd.Series:
    """Kind of each pattern, in words: its species where the file knows it, as in simulated data, else its label.

    Parameters
    ----------
    stack
        The patterns.
    labels
        Columns pattern and label, from `labels_of`.

    Returns
    -------
    pandas.Series
        One text a pattern of the stack.
    """
    if "species" in stack.column_names:
        return stack.table()["species"].rename("kind")
    kinds = pd.Series("without a label", index=range(len(stack)), name="kind")
    kinds[labels["pattern"]] = np.where(labels["label"], "labelled single", "labelled not single")
    return kinds
