"""Does a run's folder hold what its steps wrote? Every table and selection is computed once more and compared.

1. Each file that `run.json` names has the checksum that it had when its step ended, and no table or figure is there
   that no step wrote.
2. What a step read is what the step before it wrote.
3. Each table and each list of patterns, recomputed from what is stored (`recomputation`), is the stored one, digit by
   digit. Only where a table still has its checksum may numbers differ by rounding, because another processor adds up in
   another order: by 1e-9 of the value, and by 1e-6 for differences of images that are rounding themselves.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.errors import WorkbookError
from helpers.files import sha256
from helpers.sources import PACKAGE, source_digest
from helpers.workbook.profile import profile_from
from helpers.workbook.recomputation import TABLES, NotInRunError, StoredStep, lists_of
from helpers.workbook.record import read_record, written_by
from helpers.workbook.run import ANNOTATION, DATA, RECORD, RESULTS

_RELATIVE = 1e-9
_OF_ROUNDING = {"largest_difference": 1e-6}
"""Columns that hold rounding errors → how far they may differ."""

_SHOWN = ("tables", "figures", "selections")
_NAMED_ROWS = 5
"""Rows of a list of patterns that are named one by one; a list may have thousands."""


@dataclass
class Verdict:
    """What has been found.

    Parameters
    ----------
    differences
        One line each.
    unchecked
        Tables and lists that could not be recomputed, and why.
    notes
        What else is worth knowing.
    tables, lists, files
        How many were recomputed, and how many checksums compared.
    """

    differences: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: int = 0
    lists: int = 0
    files: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def lines(self) -> list[str]:
        """For people: differences first, then what was not recomputed, then the sum."""
        found = f"{len(self.differences)} differences" if self.differences else "no difference"
        counts = f"{self.tables} tables and {self.lists} lists of patterns recomputed, {self.files} checksums compared"
        return [
            *self.differences,
            *(f"not recomputed: {line}" for line in self.unchecked),
            *(f"note: {line}" for line in self.notes),
            f"{counts}: {found}",
        ]


def verify_run(run: Path, *, data: Path | None = None, labels: Path | None = None) -> Verdict:
    """Compare a run with what its steps wrote, and with what follows from its stored scores.

    Parameters
    ----------
    run
        Folder of the run, or its name below results/.
    data
        The pattern file; looked for in data/ and where the selections name it if None.
    labels
        The label file of the run, if it was given one.

    Raises
    ------
    WorkbookError
        If there is no run, its `run.json` is damaged or tells nothing of tables, or a named file is not the run's.
    """
    folder = run_folder(run)
    record = _checked_record(folder)
    steps = {name: entry for name, entry in record["steps"].items() if "writes" in entry}
    verdict = Verdict()
    _compare_checksums(folder, record, verdict)
    _compare_reads(steps, verdict)
    found: dict[str, Path | None] = {}  # a data file may be gigabytes: its checksum is taken once
    for name, entry in steps.items():
        wanted = entry["reads"]["the data file"]
        if wanted not in found:
            found[wanted] = _data_file(folder, entry, data)
        with closing(StoredStep(folder, entry, found[wanted], _label_file(folder, entry, labels))) as step:
            _recompute(step, verdict)
        if changed := _changed_code(entry):
            verdict.notes.append(f"{name} ran with another version of {', '.join(changed)}")
    return verdict


def run_folder(run: Path) -> Path:
    """A path as it is, or the name of a run below results/.

    Raises
    ------
    WorkbookError
        If there is none.
    """
    for folder in (run, RESULTS / run):
        if (folder / RECORD).is_file():
            return folder
    raise WorkbookError(f"{run}: no run is there (it would hold a {RECORD}); name its folder, or its name in {RESULTS}")


def _checked_record(folder: Path) -> dict[str, Any]:
    """The record, in which every step that tells what it wrote tells everything that is needed."""
    record = read_record(folder)
    steps = [entry for entry in record.get("steps", {}).values() if not isinstance(entry, dict) or "writes" in entry]
    if not steps:
        raise WorkbookError(f"{folder / RECORD} does not say which step wrote which table; run the workbook again")
    for entry in steps:
        if not _is_whole(entry):
            raise WorkbookError(
                f"{folder / RECORD} is damaged (a step lacks its profile, data, reads or writes); restore it, or start "
                "anew with workbook run --fresh"
            )
        try:
            profile_from(entry["profile"])
        except WorkbookError as error:
            raise WorkbookError(f"{folder / RECORD} is damaged ({error}); restore it") from error
    return record


def _is_whole(entry: Any) -> bool:
    """Whether a step's entry has all parts, and names only files below the folder."""
    if not isinstance(entry, dict) or not {"profile", "data", "labels", "reads", "writes"} <= set(entry):
        return False
    checksums = entry["reads"], entry["writes"]
    if not all(isinstance(part, dict) and all(isinstance(value, str) for value in part.values()) for part in checksums):
        return False
    inside = all(".." not in Path(name).parts and not Path(name).is_absolute() for name in entry["writes"])
    return inside and isinstance(entry["data"], dict) and "file" in entry["data"] and "the data file" in entry["reads"]


def _compare_checksums(folder: Path, record: dict[str, Any], verdict: Verdict) -> None:
    """Files that are gone, edited, or of nobody."""
    written = written_by(record)
    for name, (step, checksum) in written.items():
        verdict.files += 1
        if not (folder / name).is_file():
            verdict.differences.append(f"{name} is gone; {step} wrote it")
        elif sha256(folder / name) != checksum:
            verdict.differences.append(f"{name} was edited: its checksum is not the one of when {step} wrote it")
    for part in _SHOWN:
        for path in sorted((folder / part).glob("*")):
            if (name := f"{part}/{path.name}") not in written and path.is_file():
                verdict.differences.append(f"{name} was written by no step of the run")


def _compare_reads(steps: dict[str, Any], verdict: Verdict) -> None:
    """Steps that read another version of a file than the one that was written last."""
    written = written_by({"steps": steps})
    for name, entry in steps.items():
        for file in sorted(set(entry["reads"]) & set(written)):
            author, checksum = written[file]
            if entry["reads"][file] != checksum:
                verdict.differences.append(f"{name} has read another {file} than the one that {author} wrote")


def _recompute(step: StoredStep, verdict: Verdict) -> None:
    """Compare the tables and lists that a step has written."""
    for file in step.entry["writes"]:
        if file.startswith("tables/") and file.endswith(".csv") and (step.folder / file).is_file():
            name = Path(file).stem
            if name not in TABLES:
                verdict.unchecked.append(f"{name} (it is made by no function that is known here)")
                continue
            found = _compared(step, file, name, lambda name=name: TABLES[name](step), verdict)
            verdict.tables += found is not None
            verdict.differences += found or []
    for file, compute in lists_of(step):
        if (step.folder / file).is_file():
            found = _compared(step, file, file, compute, verdict)
            verdict.lists += found is not None
            verdict.differences += (found or [])[:_NAMED_ROWS]
            if more := len(found or []) - _NAMED_ROWS:
                verdict.differences += [f"{file}: {more} more such differences"] if more > 0 else []


def _compared(
    step: StoredStep, file: str, name: str, compute: Callable[[], pd.DataFrame], verdict: Verdict
) -> list[str] | None:
    """Differences of a stored table from the recomputed one; None if it cannot be recomputed."""
    path = step.folder / file
    try:
        table = compute()
    except NotInRunError as error:
        verdict.unchecked.append(f"{name} ({error})")
        return None
    except Exception as error:  # what a table is computed from may be damaged in any way
        why = " ".join(str(error).split())
        return [f"{name} cannot be recomputed from what is stored ({type(error).__name__}: {why})"]
    stored = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8", "replace"))))
    with_rounding = sha256(path) == step.entry["writes"][file]
    return list(differences(name, stored, table, with_rounding=with_rounding))


def differences(name: str, stored: list[list[str]], table: pd.DataFrame, *, with_rounding: bool) -> Iterator[str]:
    """One line for each cell that differs: table, row, column, stored, recomputed."""
    head, *rows = csv.reader(io.StringIO(table.to_csv(index=False, lineterminator="\n")))
    stored_head, *stored_rows = stored or [[]]
    is_list = name.endswith(".csv")  # of a selection only some columns are recomputed
    if missing := [column for column in head if column not in stored_head]:
        yield f"{name}: column {_quoted(missing[0])} is not there"
    if not is_list and (added := [column for column in stored_head if column not in head]):
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


def _data_file(folder: Path, entry: dict[str, Any], given: Path | None) -> Path | None:
    """The pattern file that a step has read, where it can be found with the right checksum."""
    wanted = entry["reads"]["the data file"]
    if given is not None:
        return _demanded(given, wanted, "the pattern file")
    places = [DATA / Path(entry["data"]["file"]).name]
    for path in sorted((folder / "selections").glob("*.csv"))[:1]:
        with path.open(encoding="utf-8", errors="replace", newline="") as stream:
            places += [
                Path(row["file"]) for row, _ in zip(csv.DictReader(stream), range(1), strict=False) if row.get("file")
            ]
    return next((path for path in places if path.is_file() and sha256(path) == wanted), None)


def _label_file(folder: Path, entry: dict[str, Any], given: Path | None) -> Path | None:
    """The label file that a step has read, where it can be found with the right checksum."""
    if (wanted := entry["reads"].get("the label file")) is None:
        return None
    if given is not None:
        return _demanded(given, wanted, "the label file")
    own = folder / ANNOTATION
    return own if own.is_file() and sha256(own) == wanted else None


def _demanded(path: Path, wanted: str, what: str) -> Path:
    """A file that the user named; another one than the run's is refused."""
    if not path.is_file():
        raise WorkbookError(f"{path}: no such file; name {what} of the run")
    if sha256(path) != wanted:
        raise WorkbookError(f"{path} is not {what} of this run: its SHA-256 is not {wanted}")
    return path


def _changed_code(entry: dict[str, Any]) -> list[str]:
    """Modules that a step used and that have changed or gone since."""
    modules = {name: checksum for name, checksum in entry["reads"].items() if name.startswith(f"{PACKAGE.name}/")}
    paths = {name: PACKAGE.parent / name for name in modules}
    return [name for name, path in paths.items() if not path.is_file() or source_digest(path) != modules[name]]
