"""A run: its profile, its data, and the folder in which the notebooks leave what they make."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers import ROOT
from helpers.errors import LabelsError, MissingStepError, PatternFileError, RunFileError, WorkbookError
from helpers.system import Kind, code_digest, locked, read_csv, text_digest, write_csv, write_text
from helpers.workbook.profile import Profile, load_profile
from helpers.workbook.tables import shown, to_html, to_latex

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA = ROOT / "data"
RESULTS = ROOT / "results"
ANNOTATION = "annotation.json"
"""Labels and box that people have given: hand work, which no fresh start deletes."""

RECORD = "run.json"
"""What a run is: versions, seeds, data checksum, profile, timings, hardware. It marks a folder as ours."""

LOCK = ".lock"
"""Held by the process that runs the notebooks."""

SIMULATED = "Simulated data."

_AGAIN = "delete it, and run the notebook that writes it again"
_SETS: dict[str, Kind] = {"pattern": "index", "label": "flag", "in_size_range": "flag", "set": "text"}


@dataclass(frozen=True)
class Run:
    """Where the notebooks of one run find their data and leave their results.

    Parameters
    ----------
    profile
        How large the run is.
    folder
        `results/RUN`.
    data
        A file of patterns.
    labels
        A file of labels (see `dataset.read_labels`), or None if the data file holds them.
    """

    profile: Profile
    folder: Path
    data: Path
    labels: Path | None

    @property
    def tables(self) -> Path:
        """Folder of the tables."""
        return self.folder / "tables"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.folder / "figures"

    @property
    def families(self) -> Path:
        """Folder of the families of models."""
        return self.folder / "families"

    @property
    def selections(self) -> Path:
        """Folder of the selections."""
        return self.folder / "selections"

    @property
    def box(self) -> Path:
        """The shared box of the positives, as training takes it: drawn by the user, or proposed."""
        return self.folder / "box.json"

    @property
    def annotation(self) -> Path:
        """What people have said in notebook 03: the run's labels if they come from there, else a file of the run."""
        if self.labels is not None and self.labels.suffix == ".json":
            return self.labels
        return self.folder / ANNOTATION

    @property
    def weights(self) -> Path:
        """Folder of Darknet's pre-trained weights; it is the same for every run, and may be empty or absent."""
        return DATA / "weights"

    @cached_property
    def is_simulated(self) -> bool:
        """Whether the patterns are simulated: the file's title says so."""
        from helpers.patterns import open_stack

        with open_stack(self.data) as stack:
            return "simulat" in stack.title.lower()

    def family_folder(self, family: object) -> Path:
        """Folder of a family, given as a `Family` or by its name."""
        return self.families / str(family)

    def write_sets(self, sets: pd.DataFrame) -> None:
        """Store the training, validation and test sets: the table of `dataset.split`."""
        write_csv(self.folder / "sets.csv", sets)

    def read_sets(self) -> pd.DataFrame:
        """Read the sets.

        Raises
        ------
        MissingStepError
            If notebook 01 has not made them.
        RunFileError
            If the file is damaged.
        """
        path = self.folder / "sets.csv"
        if not path.is_file():
            raise MissingStepError(f"{path} is missing; run notebook 01, or `workbook run --only 01`")
        sets = read_csv(path, _SETS, error=RunFileError, advice=_AGAIN)
        if not sets["set"].isin(["training", "validation", "test", "unused"]).all():
            raise RunFileError(f"{path}: names other sets than training, validation, test and unused; {_AGAIN}")
        return sets

    def save_table(
        self,
        table: pd.DataFrame,
        name: str,
        *,
        caption: str,
        percent: Sequence[str] = (),
        formats: Mapping[str, str] | None = None,
    ) -> None:
        """Write a table as CSV (the truth), LaTeX and HTML.

        Parameters
        ----------
        table
            Fractions, not percent.
        name
            For instance "table_4".
        caption
            For people; "Simulated data." is added where they are.
        percent
            Columns of fractions that LaTeX and HTML show in percent.
        formats
            Column → format for LaTeX and HTML, for instance {"std": "{:.1f}"}; three decimals where none is given.
        """
        caption = self._caption(caption)
        text = shown(table, percent, formats)
        write_csv(self.tables / f"{name}.csv", table)
        write_text(self.tables / f"{name}.tex", to_latex(table, text, name, caption))
        write_text(self.tables / f"{name}.html", to_html(table, text, caption))

    def save_figure(self, figure: "Figure", name: str, *, caption: str, of_data: bool = True) -> None:
        """Write a figure as PNG and PDF, and its caption for the page of the run.

        Parameters
        ----------
        figure
            It stays open, so that the notebook shows it.
        name
            For instance "figure_3".
        caption
            For people; "Simulated data." is added where they are.
        of_data
            False for a drawing, which shows no patterns and nothing that comes from them.
        """
        from helpers.figures import save_figure

        save_figure(figure, self.figures / name)
        write_text(
            self.figures / f"{name}.json",
            json.dumps({"caption": self._caption(caption) if of_data else caption}) + "\n",
        )

    def _caption(self, caption: str) -> str:
        return f"{caption} {SIMULATED}" if self.is_simulated else caption


def open_run(
    profile: str | Path = "demo",
    results: str | Path | None = None,
    data: str | Path | None = None,
    labels: str | Path | None = None,
) -> Run:
    """Open a run, the first cell of every notebook. Without data, the twin is simulated once for all runs.

    Parameters
    ----------
    profile
        "demo", "paper", or the path of a YAML file.
    results
        Folder of the run; results/NAME of the profile if None.
    data
        A file of patterns; the simulated twin if None.
    labels
        A file of labels for it, CSV or the annotation of notebook 03, if it holds none itself.

    Returns
    -------
    Run
        Relative paths start at the project's folder, because a notebook's working directory is not fixed.

    Raises
    ------
    WorkbookError
        If a file is missing, or the folder holds something else than a run.
    """
    described = load_profile(ROOT / profile if (ROOT / profile).is_file() else profile)
    folder = RESULTS / described.name if results is None else _placed(results)
    check_folder(folder)
    if labels is not None and not _placed(labels).is_file():
        raise LabelsError(f"{labels}: no such file of labels")
    if data is not None and not _placed(data).is_file():
        raise PatternFileError(f"{data}: no such file; name a CXI file, or leave it out to simulate one")
    mark(folder, described)
    return Run(
        described,
        folder,
        _twin(described) if data is None else _placed(data),
        None if labels is None else _placed(labels),
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than a run.

    Raises
    ------
    WorkbookError
        If it is neither new, nor empty, nor in results/, nor has a `run.json`.
    """
    if not folder.is_dir() or folder.parent == RESULTS or (folder / RECORD).is_file():
        return
    # a run that was killed at once has left its lock, and no record yet
    if any(path.name != ANNOTATION and not path.name.startswith((LOCK, f".{RECORD}.")) for path in folder.iterdir()):
        raise WorkbookError(f"{folder} holds other files than a run's; choose a new or an empty folder with --results")


def mark(folder: Path, profile: Profile) -> None:
    """Make the folder of a run, with a `run.json` that says whose it is."""
    if not (folder / RECORD).is_file():
        write_text(folder / RECORD, json.dumps({"profile": profile.sections()}, indent=1) + "\n")


def _placed(path: str | Path) -> Path:
    return (ROOT / Path(path).expanduser()).resolve()


def twin_path(profile: Profile) -> Path:
    """Where the simulated twin of a profile lies; another seed, size or simulation is another file."""
    settings = json.dumps([profile.sections()["simulation"], profile.seed, code_digest("helpers.simulation.twin")])
    return DATA / f"twin_{profile.name}_{text_digest(settings)[:8]}.cxi"


def _twin(profile: Profile) -> Path:
    """The simulated twin; made if it is not there."""
    path = twin_path(profile)
    if not path.is_file():
        with locked(path, path.with_name(f".{path.name}{LOCK}")):
            _simulate(path, profile)
    return path


def _simulate(path: Path, profile: Profile) -> None:
    from helpers.simulation import simulate

    sizes = profile.simulation
    simulate(
        path, patterns=sizes.patterns, manual_fraction=sizes.manual_fraction, seed=profile.seed, outside=sizes.outside
    )
