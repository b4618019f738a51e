"""Does a run's folder hold what its steps wrote? Every table and selection is computed once more and compared.

1. Each file that `run.json` names has the checksum that it had when its step ended, and no table or figure is there
   that no step wrote.
2. What a step read is what the step before it wrote.
3. Each table and each list of patterns, recomputed from what is stored (`recomputation`), is the stored one, digit by
   digit. Only where a table still has its checksum may numbers differ by rounding (`cells`), because another processor
   adds up in another order.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.errors import WorkbookError
from helpers.system import PACKAGE, sha256, source_digest
from helpers.workbook.profile import profile_from
from helpers.workbook.recomputation import TABLES, NotInRunError, StoredStep, lists_of
from helpers.workbook.record import read_record, written_by
from helpers.workbook.run import ANNOTATION, DATA, RECORD, RESULTS
from helpers.workbook.table_comparison import differences, read_cells

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
        number = len(self.differences)
        found = f"{number or 'no'} difference{'s' if number > 1 else ''}"
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
    code: dict[str, str | None] = {}
    found: dict[str, Path | None] = {}  # a data file may be gigabytes: its checksum is taken once
    for name, entry in steps.items():
        wanted = entry["reads"]["the data file"]
        if wanted not in found:
            found[wanted] = _data_file(folder, entry, data)
        with closing(StoredStep(folder, entry, found[wanted], _label_file(folder, entry, labels))) as step:
            _recompute(step, verdict)
        if changed := _changed_code(entry, code):
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
            found = _compared(step, file, lambda name=name: TABLES[name](step), verdict)
            verdict.tables += found is not None
            verdict.differences += found or []
    for file, compute in lists_of(step):
        if (step.folder / file).is_file():
            found = _compared(step, file, compute, verdict)
            verdict.lists += found is not None
            verdict.differences += (found or [])[:_NAMED_ROWS]
            if more := len(found or []) - _NAMED_ROWS:
                verdict.differences += [f"{file}: {more} more such differences"] if more > 0 else []


def _compared(step: StoredStep, file: str, compute: Callable[[], pd.DataFrame], verdict: Verdict) -> list[str] | None:
    """Differences of a stored table or list from the recomputed one; None if it cannot be recomputed."""
    path, is_table = step.folder / file, file.startswith("tables/")
    name = path.stem if is_table else file
    try:
        table, stored = compute(), read_cells(path)
    except NotInRunError as error:
        verdict.unchecked.append(f"{name} ({error})")
        return None
    except Exception as error:  # what a table is computed from may be damaged in any way
        why = " ".join(str(error).split())
        return [f"{name} cannot be recomputed from what is stored ({type(error).__name__}: {why})"]
    with_rounding = sha256(path) == step.entry["writes"][file]
    return list(differences(name, stored, table, with_rounding=with_rounding, in_part=not is_table))


def _data_file(folder: Path, entry: dict[str, Any], given: Path | None) -> Path | None:
    """The pattern file that a step has read, where it can be found with the right checksum."""
    wanted = entry["reads"]["the data file"]
    if given is not None:
        return _demanded(given, wanted, "the pattern file")
    places = [DATA / Path(str(entry["data"]["file"])).name]
    if lists := sorted((folder / "selections").glob("*.csv")):
        with suppress(OSError, ValueError, KeyError):  # a damaged list tells no place
            places.append(Path(pd.read_csv(lists[0], nrows=1, dtype=str).loc[0, "file"]))
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


def _changed_code(entry: dict[str, Any], known: dict[str, str | None]) -> list[str]:
    """Modules that a step used and that have changed or gone since; `known` are checksums of modules as they are."""
    modules = {name: checksum for name, checksum in entry["reads"].items() if name.startswith(f"{PACKAGE.name}/")}
    for name in modules.keys() - known.keys():
        path = PACKAGE.parent / name
        known[name] = source_digest(path) if path.is_file() else None
    return [name for name, checksum in modules.items() if known[name] != checksum]
