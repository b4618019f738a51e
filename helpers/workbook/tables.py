"""Tables for people: rounded, with the paper's words for columns and families, as HTML and LaTeX (booktabs)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from helpers.errors import ProfileError
from helpers.family import Family

_HEADINGS = {"f1": "F₁", "iou": "IoU", "mcc": "MCC", "std": "std"}
_ROWS = {"never-single": "never single", "em": "EM"}
_NOTHING = "–"
_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "₁": "$_1$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "–": "--",
    }
)


def shown(table: pd.DataFrame, percent: Sequence[str] = (), formats: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Format fractions, counts and names as text for `to_html` and `to_latex`.

    Columns in `percent` hold fractions that are shown in percent. `formats` maps columns to formats (for instance
    "{:.1f}"); three decimals where none is given, and whole numbers as they are.
    """
    columns = {}
    for name in table.columns:
        form = (formats or {}).get(name, "{:.1f}" if name in percent else "{:.3f}")
        columns[_heading(name, name in percent)] = [
            _cell(value * 100 if name in percent else value, form) for value in table[name]
        ]
    return pd.DataFrame(columns)


def _cell(value: object, form: str) -> str:
    if isinstance(value, str):
        return row_title(value)
    if pd.isna(value):
        return _NOTHING
    return form.format(value) if isinstance(value, float) else str(value)


def row_title(name: str) -> str:
    """Name of a family or baseline in the paper's words; other text as it is."""
    if name in _ROWS:
        return _ROWS[name]
    try:
        return Family.from_name(name).title
    except ProfileError:
        return name


def _heading(name: str, percent: bool) -> str:
    """Heading of a column: `f1_mean` → F₁ mean (%), `iteration_004000` → 4000."""
    if match := re.fullmatch(r"iteration_(\d+)", name):
        return str(int(match[1]))
    words = " ".join(_HEADINGS.get(word, word) for word in name.split("_"))
    return words + (" (%)" if percent else "")


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def to_html(table: pd.DataFrame, text: pd.DataFrame, caption: str) -> str:
    """HTML of a table whose text is from `shown`; in ASCII, so that the piece can be opened by itself, too."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    page = environment.get_template("table.html").render(
        caption=caption,
        columns=[
            {"heading": heading, "kind": "number" if _is_number(table[name]) else "text"}
            for name, heading in zip(table.columns, text.columns, strict=True)
        ],
        rows=text.to_numpy().tolist(),
    )
    return page.encode("ascii", "xmlcharrefreplace").decode()


def to_latex(table: pd.DataFrame, text: pd.DataFrame, name: str, caption: str) -> str:
    """LaTeX of a table whose text is from `shown`; it needs the package booktabs."""
    escaped = text.map(latex).rename(columns=latex)
    return (
        escaped.style.hide(axis="index")
        .format(None)
        .to_latex(
            hrules=True,
            caption=latex(caption),
            label=f"tab:{name}",
            position_float="centering",
            column_format="".join("r" if _is_number(table[column]) else "l" for column in table.columns),
        )
    )


def latex(text: str) -> str:
    """Escape the special signs of LaTeX."""
    return text.translate(_LATEX)
