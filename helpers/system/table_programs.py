"""Tables that people bring, as Excel, LibreOffice, R, pandas and NumPy write them; our own are read by `read_csv`."""

import csv
import io
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from helpers.errors import WorkbookError
from helpers.system.tables_and_json import in_short

_SEPARATORS = (",", ";", "\t", "|", " ")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)[^\r\n]*(?:\r\n?|\n)')  # what Excel wants to be told, and tells
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls
_EMPTY = frozenset(("", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None"))
# TRUE and FALSE of a sheet, in the language of the program too: German, French, Spanish and Italian, Dutch, Portuguese
_TRUE = frozenset(("1", "true", "t", "yes", "y", "wahr", "vrai", "verdadero", "vero", "waar", "verdadeiro"))
_FALSE = frozenset(("0", "false", "f", "no", "n", "falsch", "faux", "falso", "onwaar"))
_ZERO_DECIMALS = re.compile(r"[.,]0{1,2}$")
_THOUSANDS = r"[+-]?\d{1,3}(?:[.,]\d{3})+"


def read_any_csv(path: Path, known: Collection[str], *, error: type[WorkbookError], advice: str) -> pd.DataFrame:
    """Read a table as text, whatever program wrote it: separator, encoding, ends of lines, empty rows and columns.

    Parameters
    ----------
    path
        Text file with the names of the columns in its first line that is not empty, or after Excel's `sep=;`.
    known
        Names of columns that the caller looks for; the separator is the one with which most are found.
    error, advice
        Class of the error to raise, and the next step for the user.

    Returns
    -------
    DataFrame
        Values without white space around them, None where empty; the index, `line`, counts lines of the file from 1.

    Raises
    ------
    WorkbookError
        `error`, if the file cannot be read, or is no table.
    """
    try:
        text = _text(path.read_bytes())
        named = _SEPARATOR_LINE.match(text)
        if named:  # the line goes, but counts
            rows = list(_rows(f"\n{text[named.end() :]}", named[1]))
        else:
            rows = list(_rows(text, _separator(text, known)))
    except (OSError, ValueError, csv.Error, MemoryError) as reason:
        raise error(f"{path}: cannot be read as CSV ({in_short(reason)}); {advice}") from reason
    if not rows:
        return pd.DataFrame()
    (_, names), *rows = rows
    names = [name for name in (names[0].removeprefix("#").strip(), *names[1:]) if name or names[0] != "#"]
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise error(f"{path}: has two columns {in_short(twice[0])!r}; {advice}")
    cells = []
    for line, values in rows:
        if any(values[len(names) :]):
            raise error(f"{path}: line {line} has {len(values)} values for {len(names)} columns; {advice}")
        values = [*values, *[""] * (len(names) - len(values))][: len(names)]
        cells.append([None if value in _EMPTY else value for value in values])
    table = pd.DataFrame(cells, pd.Index([line for line, _ in rows], name="line"), names, dtype=object)
    return table.loc[:, [bool(name) or table.iloc[:, number].notna().any() for number, name in enumerate(names)]]


def numbers(column: pd.Series) -> pd.Series:
    """Numbers of a column of text, NaN where there is none; a comma may be the decimal point.

    1,000 and 1.000 are NaN: a thousand to some programs, and one to others.
    """
    text = column.astype("string")
    text = text.mask(text.str.fullmatch(_THOUSANDS).fillna(False)).str.replace(",", ".", n=1, regex=False)
    return pd.to_numeric(text, errors="coerce").astype(float)


def flags(column: pd.Series) -> pd.Series:
    """1 and 0 of a column of text that says 1, 1.0, TRUE, yes, WAHR …, and their contraries; NaN for anything else."""
    text = without_zero_decimals(column).str.lower()
    return pd.Series(float("nan"), column.index).mask(text.isin(_TRUE), 1.0).mask(text.isin(_FALSE), 0.0)


def without_zero_decimals(column: pd.Series) -> pd.Series:
    """Text of a column with whole numbers as such: 3 for 3.0 and 3,00, digit by digit, however long they are."""
    return column.astype(object).where(column.notna(), None).str.replace(_ZERO_DECIMALS, "", regex=True)


def _text(content: bytes) -> str:
    """Text of a file in UTF-8, in UTF-16 as Excel's "Unicode Text", or else in a code page of Windows."""
    if content.startswith(_WORKBOOKS):
        raise ValueError("it is the workbook of a table program; save the sheet as CSV")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if content[1:2] == b"\0":
        return content.decode("utf-16-le")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _separator(text: str, known: Collection[str]) -> str:
    """Separator with which most known names are in the first line that is not empty."""
    head = next((line for line in text.splitlines() if line.strip()), "")

    def found(separator: str) -> int:
        return len({name.strip("#\"' ") for name in head.split(separator)} & set(known))

    return max(_SEPARATORS, key=found)


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and values of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    for row in reader:
        values = [value.strip() for value in row]
        if any(values):
            yield reader.line_num, values
