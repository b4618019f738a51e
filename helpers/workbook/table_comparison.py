"""A stored table against the same table recomputed, cell by cell, as text: so that no digit and no type goes unseen."""

import csv
import io
import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pandas as pd

_RELATIVE = 1e-9
_OF_ROUNDING = {"largest_difference": 1e-6}
"""Columns that hold rounding errors → how far they may differ."""


def read_cells(path: Path) -> list[list[str]]:
    """Rows of a CSV file as text, whatever is in it."""
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8", "replace"))))


def differences(
    name: str, stored: list[list[str]], table: pd.DataFrame, *, with_rounding: bool, in_part: bool = False
) -> Iterator[str]:
    """One line for each cell that differs: table, row, column, stored, recomputed.

    Parameters
    ----------
    name
        Of the table.
    stored
        From `read_cells`.
    table
        The same, recomputed.
    with_rounding
        Numbers may differ by 1e-9 of the value, and rounding errors by 1e-6.
    in_part
        Only some columns were recomputed.
    """
    head, *rows = csv.reader(io.StringIO(table.to_csv(index=False, lineterminator="\n")))
    stored_head, *stored_rows = stored or [[]]
    if missing := [column for column in head if column not in stored_head]:
        yield f"{name}: column {_quoted(missing[0])} is not there"
    if twice := [column for place, column in enumerate(stored_head) if column in stored_head[:place]]:
        yield f"{name}: column {_quoted(twice[0])} is there twice"
    if not in_part and (added := [column for column in stored_head if column not in head]):
        yield f"{name}: column {_quoted(added[0])} should not be there"
    if len(rows) != len(stored_rows):
        yield f"{name}: {len(stored_rows)} rows are stored, {len(rows)} recomputed"
    keys = [column for column in head if not pd.api.types.is_numeric_dtype(table[column])] or head[:1]
    for number, (row, stored_row) in enumerate(zip_longest(rows, stored_rows, fillvalue=[]), start=1):
        there, expected = dict(zip(stored_head, stored_row, strict=False)), dict(zip(head, row, strict=False))
        title = ", ".join(expected.get(column, "") or "nothing" for column in keys)
        for column in head:
            pair = there.get(column), expected.get(column)
            if not _same(*pair, column, with_rounding=with_rounding):
                shown, wanted = (_quoted(text) for text in pair)
                yield f"{name}, row {number} ({title}), column {column}: stored {shown}, recomputed {wanted}"
        if len(stored_row) > len(stored_head):
            yield f"{name}, row {number} ({title}): has {len(stored_row)} cells under {len(stored_head)} headings"


def _same(stored: str | None, expected: str | None, column: str, *, with_rounding: bool) -> bool:
    """Whether a cell holds what it should."""
    if stored == expected:
        return True
    try:
        numbers = float(stored), float(expected)
    except (TypeError, ValueError):
        return False
    return with_rounding and math.isclose(*numbers, rel_tol=_RELATIVE, abs_tol=_OF_ROUNDING.get(column, 0.0))


def _quoted(text: str | None) -> str:
    """A cell as a terminal may show it."""
    if text is None or text == "":
        return "nothing"
    return text if text.isprintable() else repr(text)
