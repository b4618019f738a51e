"""`workbook verify`: each step of a run is run again on what it read, and what it wrote is compared.

1. Each file still has the checksum that `run.json` names, and no step's work is missing or added.
2. What a step read is what the step before it wrote.
3. Each notebook runs again in a folder of hard links to what its step read, the trained families and the runs of EM,
   and writes what is stored. Nothing is trained: a notebook that would train is reported as stale.

Only where a file still has its checksum may numbers differ by rounding: another processor adds up in another order.
"""

import io
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from helpers.errors import WorkbookError
from helpers.system import STORED_ONLY, locked, sha256
from helpers.workbook.execution import StepFailedError, environment, execute
from helpers.workbook.profile import profile_from
from helpers.workbook.record import read_record, written_by
from helpers.workbook.run import ANNOTATION, DATA, LOCK, RECORD, RESULTS
from helpers.workbook.runner import NOTEBOOKS
from helpers.workbook.table_comparison import differences

# folders whose files took hours: they are taken as they are, and their checksums compared
_COMPUTED_ONCE = ("families", "em")
# folders whose files are not computed again, or hold readings of the clock
_NOT_COMPARED = (*_COMPUTED_ONCE, "figures", "online")


@dataclass
class Verdict:
    """Result of the verification of a run."""

    differences: list[str] = field(default_factory=list)  # files that are not what their step wrote, a line each
    unchecked: list[str] = field(default_factory=list)  # steps that could not be run again, a line each
    checksums: int = 0  # number of checksums that were compared
    files: int = 0  # number of files that were computed again

    @property
    def holds(self) -> bool:
        """Whether every step was run again and nothing differs."""
        return not (self.differences or self.unchecked)

    def lines(self) -> list[str]:
        """Lines for the user: differences, steps that could not be run again, and the sum."""
        number = len(self.differences)
        found = f"{number or 'no'} difference{'s' if number > 1 else ''}"
        return [
            *self.differences,
            *(f"not verified: {line}" for line in self.unchecked),
            f"{self.checksums} checksums compared, {self.files} files computed again: {found}",
        ]


def verify_run(
    run: Path, *, data: Path | None = None, labels: Path | None = None, notebooks: Path = NOTEBOOKS
) -> Verdict:
    """Compare a run with what its steps wrote, and with what its notebooks compute from what is stored.

    The run, a folder or a name below results/, stays as it is. Its pattern file is looked for in data/ and where the
    selections name it if None. `WorkbookError` is raised if there is no run, its `run.json` is damaged, a named file is
    not the run's, or the run is in use.
    """
    folder = run_folder(run)
    steps = _checked_steps(folder)
    verdict = Verdict()
    with locked(folder, folder / LOCK):
        _compare_checksums(folder, steps, verdict)
        _compare_reads(steps, verdict)
        found: dict[str, Path | None] = {}  # a data file may be gigabytes: its checksum is taken once
        for name, entry in steps.items():
            if not any(_is_compared(file, name) for file in entry["writes"]):
                continue
            print(f"{name}: running again", flush=True)
            wanted = entry["reads"]["the data file"]
            if wanted not in found:
                found[wanted] = _find(wanted, data, "the pattern file", _data_places(folder, entry))
            label_file = _find(entry["reads"].get("the label file"), labels, "the label file", [folder / ANNOTATION])
            inputs = {"data": found[wanted], "labels": label_file}
            try:
                _verify_step(folder, notebooks / f"{name}.ipynb", entry, inputs, verdict)
            except StepFailedError as error:
                verdict.unchecked.append(f"{name} ({error.reason})")
    return verdict


def run_folder(run: Path) -> Path:
    """Folder of a run: a path as it is, or the name of a run below results/; `WorkbookError` if there is none."""
    for folder in (run, RESULTS / run):
        if (folder / RECORD).is_file():
            return folder.resolve()
    raise WorkbookError(f"{run}: no run is there (it would hold a {RECORD}); name its folder, or its name in {RESULTS}")


def _checked_steps(folder: Path) -> dict[str, Any]:
    """Steps of the record that tell what they wrote, each with everything that is needed."""
    steps = read_record(folder).get("steps", {})
    steps = {name: entry for name, entry in steps.items() if not isinstance(entry, dict) or "writes" in entry}
    if not steps:
        raise WorkbookError(f"{folder / RECORD} does not say which step wrote which table; run the workbook again")
    for entry in steps.values():
        try:
            if not _is_whole(entry):
                raise WorkbookError("a step lacks its profile, data, reads or writes")
            profile_from(entry["profile"])
        except WorkbookError as error:
            advice = "restore it, or start anew with workbook run --fresh"
            raise WorkbookError(f"{folder / RECORD} is damaged ({error}); {advice}") from error
    return steps


def _is_whole(entry: Any) -> bool:
    """Whether a step's entry has all parts, and names only files below the folder."""
    if not isinstance(entry, dict) or not {"profile", "data", "labels", "reads", "writes"} <= set(entry):
        return False
    checksums = entry["reads"], entry["writes"]
    if not all(isinstance(part, dict) and all(isinstance(value, str) for value in part.values()) for part in checksums):
        return False
    inside = all(".." not in Path(name).parts and not Path(name).is_absolute() for part in checksums for name in part)
    return inside and isinstance(entry["data"], dict) and "file" in entry["data"] and "the data file" in entry["reads"]


def _compare_checksums(folder: Path, steps: dict[str, Any], verdict: Verdict) -> None:
    """Note files that are gone, edited, or of no step."""
    written = written_by({"steps": steps})
    for name, (step, checksum) in written.items():
        verdict.checksums += 1
        if not (folder / name).is_file():
            verdict.differences.append(f"{name} is gone; {step} wrote it")
        elif sha256(folder / name) != checksum:
            verdict.differences.append(f"{name} was edited: its checksum is not the one of when {step} wrote it")
    for part in ("tables", "figures", "selections"):
        for path in sorted((folder / part).glob("*")):
            if (name := f"{part}/{path.name}") not in written and path.is_file():
                verdict.differences.append(f"{name} was written by no step of the run")


def _compare_reads(steps: dict[str, Any], verdict: Verdict) -> None:
    """Note steps that read another version of a file than the one that was written last."""
    written = written_by({"steps": steps})
    for name, entry in steps.items():
        for file in sorted(set(entry["reads"]) & set(written)):
            author, checksum = written[file]
            if entry["reads"][file] != checksum:
                verdict.differences.append(f"{name} has read another {file} than the one that {author} wrote")


def _verify_step(
    folder: Path, notebook: Path, entry: dict[str, Any], inputs: dict[str, Path | None], verdict: Verdict
) -> None:
    """Run a notebook again beside its run, and compare what it writes with what is stored."""
    for name, wanted in (("data", entry["data"]["file"]), ("labels", entry["labels"])):
        if wanted is not None and inputs[name] is None:
            raise StepFailedError(notebook.stem, f"{wanted} is not there; name it with --{name}")
    if not notebook.is_file():
        raise StepFailedError(notebook.stem, f"there is no {notebook}")
    again = folder.with_name(f".{folder.name}.verify")
    try:
        parameters = _linked(folder, again, entry, inputs)
        with environment({STORED_ONLY: "1"}), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            execute(notebook, again / notebook.name, parameters)
        for name, checksum in entry["writes"].items():
            if _is_compared(name, notebook.stem):
                verdict.files += 1
                edited = not (folder / name).is_file() or sha256(folder / name) != checksum
                verdict.differences += differences(name, folder / name, again / name, with_rounding=not edited)
    finally:
        shutil.rmtree(again, ignore_errors=True)


def _is_compared(file: str, step: str) -> bool:
    """Whether a file that a step wrote can be computed again; the executed notebook shows times and paths."""
    return file.split("/")[0] not in _NOT_COMPARED and Path(file).stem != step


def _linked(folder: Path, again: Path, entry: dict[str, Any], inputs: dict[str, Path | None]) -> dict[str, str]:
    """Make a folder of hard links to what a step reads; gives the parameters of its notebook.

    Whatever the notebooks write is moved in place of the link (`written_whole`), never written through it.
    """
    shutil.rmtree(again, ignore_errors=True)  # of a killed one: the lock says that nobody else is here
    again.mkdir()
    for part in _COMPUTED_ONCE:
        if (folder / part).is_dir():
            shutil.copytree(folder / part, again / part, copy_function=_link)
    for name in entry["reads"]:
        if (folder / name).is_file() and not (again / name).exists():
            (again / name).parent.mkdir(parents=True, exist_ok=True)
            _link(folder / name, again / name)
    for name in (RECORD, ANNOTATION):
        if (folder / name).is_file() and not (again / name).exists():
            shutil.copyfile(folder / name, again / name)
    profile = again / "profile.yaml"
    profile.write_text(yaml.safe_dump(entry["profile"], sort_keys=False), encoding="utf-8")
    if inputs["labels"] == folder / ANNOTATION:
        inputs = inputs | {"labels": again / ANNOTATION}
    given = {name: str(path.resolve()) for name, path in inputs.items() if path is not None}
    return {"profile": str(profile), "results": str(again), **given}


def _link(file: str | Path, copy: str | Path) -> None:
    """Make a hard link, or a copy where the file system has no links."""
    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)


def _data_places(folder: Path, entry: dict[str, Any]) -> list[Path]:
    """Paths at which the pattern file of a step may lie: in data/, and where a selection names it."""
    places = [DATA / Path(str(entry["data"]["file"])).name]
    if lists := sorted((folder / "selections").glob("*.csv")):
        with suppress(OSError, ValueError, KeyError):  # a damaged list tells no path
            places.append(Path(pd.read_csv(lists[0], nrows=1, dtype=str).loc[0, "file"]))
    return places


def _find(wanted: str | None, given: Path | None, what: str, places: list[Path]) -> Path | None:
    """The file with a checksum, if a step read one: in one of the places, or given by the user, who may be wrong."""
    if given is None or wanted is None:
        return next((path for path in places if path.is_file() and sha256(path) == wanted), None)
    if not given.is_file():
        raise WorkbookError(f"{given}: no such file; name {what} of the run")
    if sha256(given) != wanted:
        raise WorkbookError(f"{given} is not {what} of this run: its SHA-256 is not {wanted}")
    return given
