"""Comparison of a stored table with the same computed again, cell by cell, as text, so that no digit goes unseen."""

import csv
import io
import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from helpers.system import in_short

_CELLS_NAMED = 5  # one by one; a selection may have thousands
_RELATIVE = 1e-9
_OF_ROUNDING = {"largest_difference": 1e-6}  # column of rounding errors → how far they may differ


def differences(name: str, stored: Path, again: Path, *, with_rounding: bool) -> list[str]:
    """Compare a file that was computed again with the stored one: a line for each difference, but only a few for cells.

    With rounding, numbers of a CSV file may differ by 1e-9 of their value, and rounding errors by 1e-6.
    """
    if not stored.is_file():
        return []  # noted with the checksums
    if not again.is_file():
        return [f"{name} was not written again"]
    if stored.read_bytes() == again.read_bytes():
        return []
    tables = [_cells(path) for path in (stored, again)] if name.endswith(".csv") else []
    if not (tables and all(tables)):
        return [f"{name} is not what the notebook writes"]
    lines = list(cell_differences(name, *tables, with_rounding=with_rounding))
    more = [f"{name}: {len(lines) - _CELLS_NAMED} more such differences"] if len(lines) > _CELLS_NAMED else []
    return lines[:_CELLS_NAMED] + more


def _cells(path: Path) -> list[list[str]]:
    """Rows of a CSV file as text; none if it is damaged."""
    try:
        return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8", "replace"))))
    except csv.Error:
        return []


def cell_differences(
    name: str, stored: list[list[str]], again: list[list[str]], *, with_rounding: bool
) -> Iterator[str]:
    """Compare rows of text, the first with the names of the columns; yields a line for each cell that differs."""
    (head, *rows), (wanted_head, *wanted_rows) = stored, again
    if head != wanted_head:
        yield f"{name}: the columns {_shown(', '.join(head))} are stored, {', '.join(wanted_head)} computed"
        return
    if len(rows) != len(wanted_rows):
        yield f"{name}: {len(rows)} rows are stored, {len(wanted_rows)} computed"
    for number, (row, wanted) in enumerate(zip_longest(rows, wanted_rows, fillvalue=[]), start=1):
        texts = ", ".join(cell for cell in wanted or row if _number(cell) is None)
        title = f"row {number} ({_shown(texts)})" if texts else f"row {number}"
        for column, *pair in zip_longest(head, row, wanted, fillvalue=""):
            # `file` is the path of the pattern file, which may lie elsewhere today
            if column != "file" and not _is_same(*pair, column, with_rounding=with_rounding):
                shown = " computed ".join(_shown(cell) for cell in pair)
                yield f"{name}, {title}, column {column}: stored {shown}"


def _is_same(stored: str, wanted: str, column: str, *, with_rounding: bool) -> bool:
    """Whether a cell holds what it should."""
    numbers = _number(stored), _number(wanted)
    if stored == wanted or None in numbers:
        return stored == wanted
    return with_rounding and math.isclose(*numbers, rel_tol=_RELATIVE, abs_tol=_OF_ROUNDING.get(column, 0.0))


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _shown(cell: str) -> str:
    """A cell as a terminal may show it."""
    return in_short(cell) if cell else "nothing"
