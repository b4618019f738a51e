"""Labels of a stack's patterns: from a CSV file, from the widget's JSON, or from the pattern file itself."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.annotation.labels_file import SINGLE, UNSURE, LabelsFile
from helpers.errors import LabelsError
from helpers.patterns import PatternStack
from helpers.preparation import SIZE_RANGE_NM
from helpers.system import in_short, parsed


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
        and truth (bool, single or not) where the file has them.

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
    for name in ("single", "truth"):  # files of earlier versions call it single
        if name in table:
            labels["truth"] = table[name].to_numpy()[chosen] != 0
    return labels
