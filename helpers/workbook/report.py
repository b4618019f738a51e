"""Page of a run: tables, figures, notebooks and provenance in one HTML file that needs no network."""

import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from helpers.errors import RunFileError
from helpers.evaluation import NEVER_SINGLE
from helpers.system import Kind, in_short, read_csv, read_json, write_text
from helpers.workbook.record import read_record, written_by
from helpers.workbook.tables import row_title

PAGE = "index.html"
_HERE = Path(__file__).parent
_PNG_SIZE = slice(16, 24)
_AGAIN = "delete it, and run the notebook that writes it again"
_COLUMNS: dict[str, dict[str, Kind]] = {
    "table_1": {"set": "text", "patterns": "number"},
    "table_3": {},
    "table_4": {"family": "text", "reference": "text", "f1": "any"},
}
_TWO_COLUMNS = 1000
_OF_THE_PAPER = {"table": 4, "figure": 7}
_BASELINES = (NEVER_SINGLE, "em")


def write_report(folder: Path) -> Path:
    """Write `index.html` of a run from what is in its folder; a run that is half done has a page, too."""
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    record = read_record(folder)
    figures = [_figure(path) for path in _ordered((folder / "figures").glob("*.png"))]
    page = environment.get_template("page.html").render(
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        record=record,
        simulated=record.get("data", {}).get("simulated", False),
        summary=_summary(folder, record),
        tables=_split([_table(path) for path in _ordered((folder / "tables").glob("*.html"))]),
        figures={part: _placed(items) for part, items in _split(figures).items()},
        notebooks=[_notebook(path, record) for path in sorted(folder.glob("[0-9]*.ipynb"))],
        selections=[path.stem for path in sorted((folder / "selections").glob("*.csv"))],
        total=_duration(_seconds(record)),
        origins=_origins(record),
        duration=_duration,
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _ordered(paths: Iterable[Path]) -> list[Path]:
    """Paths in the order of the page: `figure_2` before `figure_10`, numbered ones before the others."""
    return sorted(paths, key=lambda path: (_number(path.stem) or 10**6, path.stem))


def _number(name: str) -> int | None:
    match = re.match(r"(?:table|figure)_(\d+)", name)
    return int(match[1]) if match else None


def _heading(name: str) -> str:
    """Heading of a table or figure: `figure_6_yolov2` → Figure 6; `figure_false_positives` → False positives."""
    kind, _, rest = name.partition("_")
    number = _number(name)
    if number:
        return f"{kind.capitalize()} {number}"
    return (rest if kind in _OF_THE_PAPER else name).replace("_", " ").capitalize()


def _split(items: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Items in two parts: those that the paper has, and the others."""
    paper = [item for item in items if _is_of_the_paper(item["name"])]
    return {"paper": paper, "further": [item for item in items if item not in paper]}


def _is_of_the_paper(name: str) -> bool:
    return (_number(name) or 10**6) <= _OF_THE_PAPER.get(name.split("_")[0], 0)


def _placed(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Figures with their place in the layout: two narrow ones in a row, one without a neighbour in the middle."""
    place = 0
    while place < len(figures):
        pair = figures[place : place + 2]
        if [figure["place"] for figure in pair] == ["", ""]:
            place += 1
        elif not pair[0]["place"]:
            pair[0]["place"] = "alone"
        place += 1
    return figures


def _table(path: Path) -> dict[str, Any]:
    return {"name": path.stem, "heading": _heading(path.stem), "html": Markup(path.read_text(encoding="utf-8"))}


def _figure(path: Path) -> dict[str, Any]:
    described = path.with_suffix(".json")
    caption = ""
    if described.is_file():
        caption = str(read_json(described, "caption", error=RunFileError, advice=_AGAIN).get("caption", ""))
    size = path.read_bytes()[_PNG_SIZE]
    if len(size) < _PNG_SIZE.stop - _PNG_SIZE.start:
        raise RunFileError(f"{path}: is no whole picture; {_AGAIN}")
    width, height = struct.unpack(">II", size)
    return {
        "name": path.stem,
        "heading": _heading(path.stem),
        "caption": caption,
        "width": width,
        "height": height,
        "place": "wide" if width > _TWO_COLUMNS else "",
        "pdf": path.with_suffix(".pdf").is_file(),
    }


def _notebook(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Entry of an executed notebook: link, title and time."""
    cells = read_json(path, "notebook", error=RunFileError, advice=_AGAIN).get("cells")
    try:
        prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    except (LookupError, TypeError) as error:
        raise RunFileError(f"{path} is not a notebook ({in_short(error)}); {_AGAIN}") from error
    title = re.search(r"^# (.+)$", prose, re.MULTILINE)
    step = record.get("steps", {}).get(path.stem)
    return {
        "name": path.stem,
        "title": title[1].strip() if title else path.stem,
        "page": path.with_suffix(".html").is_file(),
        "time": _duration(step["seconds"]) if step else "",
    }


def _origins(record: dict[str, Any]) -> list[dict[str, str]]:
    """Origins of the tables (as CSV, from which the others are made) and figures: step and checksum."""
    shown = {
        Path(file): author
        for file, author in written_by(record).items()
        if file.startswith(("tables/", "figures/")) and file.endswith((".csv", ".png"))
    }
    ordered = [path for part in ("tables", "figures") for path in _ordered(p for p in shown if p.parts[0] == part)]
    return [
        {"heading": _heading(path.stem), "name": path.stem, "file": str(path), "step": step, "sha256": checksum}
        for path in ordered
        for step, checksum in [shown[path]]
    ]


def _summary(folder: Path, record: dict[str, Any]) -> list[dict[str, str]]:
    """Numbers at the top of the page, each from a table that is there."""
    tiles = []
    if (sets := _read(folder, "table_1")) is not None:
        patterns = sets.set_index("set")["patterns"]
        if not {"size range", "test"} <= set(patterns.index) or not patterns.index.is_unique:
            raise RunFileError(f"{folder / 'tables' / 'table_1.csv'}: lacks the row of a set; {_AGAIN}")
        tiles.append(_tile(f"{patterns['size range']:,}", "patterns", f"{patterns['test']:,} of them in the test set"))
    if (stable := _read(folder, "table_3")) is not None:
        tiles.append(_tile(str(len(stable)), "families of models", "trained and tested in this run"))
    if (comparison := _read(folder, "table_4")) is not None:
        tiles.append(_best(comparison))
    if seconds := _seconds(record):
        cores = record.get("hardware", {}).get("cores", "?")
        tiles.append(_tile(_duration(seconds), "total time", f"on {cores} cores"))
    return tiles


def _best(comparison: pd.DataFrame) -> dict[str, str]:
    """Highest F₁ of a family, against the truth where it is known."""
    reference = "truth" if "truth" in set(comparison["reference"]) else "manual"
    rows = comparison[(comparison["reference"] == reference) & ~comparison["family"].isin(_BASELINES)]
    if rows["f1"].dtype.kind != "f" or rows["f1"].isna().all():
        return _tile("\u2013", "best F\u2081", "no family has one")
    best = rows.loc[rows["f1"].idxmax()]
    against = "the truth" if reference == "truth" else "the manual selection"
    return _tile(f"{best['f1']:.2f}", f"best F₁ against {against}", row_title(best["family"]))


def _tile(value: str, name: str, remark: str) -> dict[str, str]:
    return {"value": value, "name": name, "remark": remark}


def _read(folder: Path, name: str) -> pd.DataFrame | None:
    path = folder / "tables" / f"{name}.csv"
    if not path.is_file():
        return None
    return read_csv(path, _COLUMNS[name], error=RunFileError, advice=_AGAIN)


def _seconds(record: dict[str, Any]) -> float:
    return sum(step["seconds"] for step in record.get("steps", {}).values())


def _duration(seconds: float) -> str:
    """Time in words: 12 s; 3 min 5 s; 2 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
