"""`workbook run`: the notebooks in order, each only if something that it reads has changed."""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from helpers import ROOT
from helpers.errors import WorkbookError
from helpers.patterns import doubts, print_doubts, probe
from helpers.system import delete_leftovers, locked, sha256
from helpers.workbook import staleness
from helpers.workbook.execution import StepFailedError, execute
from helpers.workbook.notebook_page import write_page
from helpers.workbook.profile import PROFILES, load_profile, profile_path
from helpers.workbook.record import add_step, describe
from helpers.workbook.report import write_report
from helpers.workbook.run import ANNOTATION, DATA, LOCK, RECORD, Run, check_folder, open_run, run_folder, twin_path

NOTEBOOKS = ROOT / "notebooks"
SIMULATION_STEP = "00_simulation"


@dataclass(frozen=True)
class Step:
    """A notebook as a step of a run."""

    notebook: Path
    run: Run

    @property
    def name(self) -> str:
        """Name of the step, for instance 04_training."""
        return self.notebook.stem

    @property
    def stamp(self) -> Path:
        """File with the checksums of what the step read and wrote; it is written last."""
        return self.run.folder / f".{self.name}.done"

    @property
    def executed(self) -> Path:
        """Path of the executed notebook, with outputs."""
        return self.run.folder / self.notebook.name

    @cached_property
    def needs(self) -> staleness.Needs:
        """Sections and files that the notebook declares."""
        return staleness.read_needs(self.notebook)

    def inputs(self, checksums: staleness.Checksums) -> dict[str, str]:
        """Present checksums of everything that the step depends on."""
        files = {"the data file": self.run.data}
        if self.run.labels is not None:
            files["the label file"] = self.run.labels
        return staleness.inputs(self.needs, self.run.profile.sections(), self.run.folder, files, checksums)


def run_workbook(
    profile: str | Path = "demo",
    *,
    results: Path | None = None,
    data: Path | None = None,
    labels: Path | None = None,
    only: Sequence[str] = (),
    fresh: bool = False,
    notebooks: Path = NOTEBOOKS,
) -> int:
    """Run the workbook: every step whose notebook, parameters, modules or input files have changed.

    Profile, results, data and labels are as in `open_run`, but relative paths start at the working directory. `only`
    holds numbers of notebooks ("04"), all if empty; `fresh` first deletes what the run has left, but no labels given by
    hand. Returned is the exit code: 0, or 1 if a step failed. `WorkbookError` is raised if one of these is unfit.
    """
    chosen = _chosen(notebooks, only)
    files = {name: path.resolve() for name, path in (("data", data), ("labels", labels)) if path is not None}
    folder = run_folder(load_profile(profile), files.get("data")) if results is None else results.resolve()
    given = {"profile": _profile_parameter(profile), "results": str(folder), **{k: str(v) for k, v in files.items()}}
    check_folder(folder)
    try:
        with locked(folder, folder / LOCK), _tidied(folder):
            if fresh:
                _empty(folder)
            run = _prepared(given)
            _run_steps([Step(notebook, run) for notebook in chosen], given)
            page = write_report(run.folder)
    except StepFailedError as error:
        print(f"{error}; the same command continues from here", file=sys.stderr)
        return 1
    print(f"\nThe tables and figures are in {page}")
    return 0


def _chosen(notebooks: Path, only: Sequence[str]) -> list[Path]:
    """Paths of the notebooks in order: all, or those whose numbers are given."""
    found = sorted(notebooks.glob("[0-9]*.ipynb"))
    numbers = {path.name.split("_")[0]: path for path in found}
    if unknown := [number for number in only if number not in numbers]:
        raise WorkbookError(
            f"there is no notebook {unknown[0]}; there are {', '.join(numbers) or 'none'} in {notebooks}"
        )
    return [path for number, path in numbers.items() if not only or number in only]


def _profile_parameter(profile: str | Path) -> str:
    """A name as it is; a path in full, because a kernel's working directory is another."""
    path = profile_path(profile)
    return str(profile) if path.parent == PROFILES else str(path.resolve())


@contextmanager
def _tidied(folder: Path) -> Iterator[None]:
    """Delete temporary files of killed processes: of earlier runs, and of workers that this one ends."""
    delete_leftovers([*folder.rglob(".*"), *DATA.glob(".*")])
    try:
        yield
    finally:
        delete_leftovers(folder.rglob(".*"))


def _empty(folder: Path) -> None:
    """Delete what a run has left in its folder, but not labels given by hand; the record, which marks it, last."""
    found = sorted(folder.iterdir())
    doomed = [path for path in found if path.name != ANNOTATION and not path.name.startswith(LOCK)]
    if names := [_counted(path) for path in doomed if not path.name.startswith(".")]:
        print(f"deleting from {folder}: {', '.join(names)}", flush=True)
    if (folder / ANNOTATION).exists():
        print(f"kept: {folder / ANNOTATION}, which was made by hand", flush=True)
    for path in sorted(doomed, key=lambda path: path.name == RECORD):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _counted(path: Path) -> str:
    """Name of a file, or of a folder and the number of things in it."""
    return f"{path.name} ({sum(1 for _ in path.iterdir())})" if path.is_dir() else path.name


def _prepared(given: dict[str, str]) -> Run:
    """Open the run; where its twin has to be simulated first, the time of that is noted."""
    profile = load_profile(given["profile"])
    missing = "data" not in given and not twin_path(profile).is_file()
    if missing:
        print(f"simulating {profile.simulation.patterns} patterns", flush=True)
    began = time.perf_counter()
    run = open_run(**given)
    if "data" in given:
        print_doubts(probe(run.data, look=doubts))
    if missing:
        seconds = time.perf_counter() - began
        print(f"simulated {run.data} in {seconds:.0f} s", flush=True)
        add_step(run.folder, describe(run, sha256(run.data)), SIMULATION_STEP, seconds)
    return run


def _run_steps(steps: Sequence[Step], given: dict[str, str]) -> None:
    """Run the stale steps in order; the page of the run grows with each."""
    for place, step in enumerate(steps, start=1):
        checksums = staleness.Checksums(step.run.folder)
        current = step.inputs(checksums)
        title = f"[{place}/{len(steps)}] {step.name}"
        reason = staleness.why_stale(step.stamp, current, step.run.folder, checksums)
        if reason is None:
            print(f"{title}: up to date", flush=True)
            continue
        print(f"{title}: running ({reason})", flush=True)
        made_with = describe(step.run, checksums.of(step.run.data))
        began = time.perf_counter()
        staleness.delete_tables_and_figures(step.stamp, step.run.folder)
        step.stamp.unlink(missing_ok=True)
        step.executed.with_suffix(".html").unlink(missing_ok=True)
        execute(step.notebook, step.executed, given)
        write_page(step.executed)
        seconds = time.perf_counter() - began
        _finish(step, current, checksums, made_with, seconds)
        print(f"{title}: done in {seconds:.0f} s", flush=True)


def _finish(
    step: Step, current: dict[str, str], checksums: staleness.Checksums, made_with: dict, seconds: float
) -> None:
    """Add a step to the record, write the page anew, and stamp the step last."""
    own = (step.executed, step.executed.with_suffix(".html"))
    try:
        written = staleness.outputs(step.needs, own, step.run.folder, checksums)
    except WorkbookError as error:
        raise StepFailedError(step.name, str(error)) from error
    add_step(step.run.folder, made_with, step.name, seconds, reads=current, writes=written)
    write_report(step.run.folder)
    staleness.write_stamp(step.stamp, current, written)
