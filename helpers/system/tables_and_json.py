"""JSON and CSV files that people or other programs may have changed: read strictly, or refused with the next step."""

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from helpers.errors import WorkbookError
from helpers.system import files

Kind = Literal["index", "flag", "fraction", "number", "text", "any"]
"""Column kinds: different whole numbers from 0; True or False; 0 … 1; finite; anything that is not empty; anything."""

_LONGEST = 200


def read_json(path: Path, what: str, *, error: type[WorkbookError], advice: str) -> dict[str, Any]:
    """Read a JSON file that holds one mapping; `what` names its content in messages: "description of a family".

    Raises `error`, which ends with the next step `advice`, if the file cannot be read, is not JSON, or holds something
    else; FileNotFoundError if it is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError, MemoryError) as reason:
        raise error(f"{path} holds no {what} ({in_short(reason)}); {advice}") from reason
    if not isinstance(content, dict):
        raise error(f"{path} holds no {what}, but {in_short(repr(content))}; {advice}")
    return content


def read_csv(path: Path, columns: Mapping[str, Kind], *, error: type[WorkbookError], advice: str) -> pd.DataFrame:
    """Read a CSV file that must have certain columns, name → kind; others are kept as they are.

    Raises `error`, which ends with the next step `advice`, if the file is no such table, or a row is longer than its
    head; FileNotFoundError if it is missing.
    """
    try:
        with warnings.catch_warnings(action="error"):
            table = files.read_exact_csv(path, index_col=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, OverflowError, MemoryError, RecursionError, Warning) as reason:
        raise error(f"{path}: cannot be read as CSV ({in_short(reason)}); {advice}") from reason
    names = [str(name).strip() for name in table.columns]
    if twice := [name for name in names if names.count(name) > 1 or (name.endswith(".1") and name[:-2] in names)]:
        raise error(f"{path}: has two columns {in_short(twice[0].removesuffix('.1'))!r}; {advice}")
    check_columns(path, table, columns, error=error, advice=advice)
    return table


def check_columns(
    path: Path, table: pd.DataFrame, columns: Mapping[str, Kind], *, error: type[WorkbookError], advice: str
) -> None:
    """Refuse a table that lacks a column, or has one with other values than it must hold.

    Parameters
    ----------
    path
        File that the table is from, as the message names it.
    table
        Table of any columns.
    columns
        Name → kind of the columns that it must have.
    error, advice
        Class of the error to raise, and the next step for the user.
    """
    for name, kind in columns.items():
        if name not in table:
            raise error(f"{path}: has no column {name}; {advice}")
        if not _CHECKS[kind](table[name]):
            wanted = _WANTED[kind]
            shown = in_short(", ".join(map(str, table[name].tolist()[:8])))
            raise error(f"{path}: the column {name} must hold {wanted}, it holds {shown}; {advice}")


def in_short(reason: object, *, longest: int = _LONGEST) -> str:
    """A message or a value on one line that is not too long."""
    text = " ".join(printable(reason).split()) or type(reason).__name__
    return text if len(text) <= longest else f"{text[:longest]} ..."


def printable(text: object) -> str:
    """Text without line ends, control characters and halves of characters, which could say something to a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text))


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf" and bool(np.isfinite(column.to_numpy(float)).all())


def _is_fraction(column: pd.Series) -> bool:
    return _is_number(column) and bool(column.between(0, 1).all())


def _is_index(column: pd.Series) -> bool:
    return column.dtype.kind in "iu" and column.is_unique and bool((column >= 0).all())


_CHECKS: dict[str, Callable[[pd.Series], bool]] = {
    "index": _is_index,
    "flag": lambda column: column.dtype == bool,
    "fraction": _is_fraction,
    "number": _is_number,
    "text": lambda column: bool(column.notna().all()),
    "any": lambda column: True,
}
_WANTED = {
    "index": "different whole numbers from 0",
    "flag": "True or False in each row",
    "fraction": "numbers from 0 to 1",
    "number": "finite numbers",
    "text": "a value in each row",
    "any": "anything",
}
