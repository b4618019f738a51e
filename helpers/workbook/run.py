"""A run: its profile, its data, and the folder in which the notebooks leave what they make."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers import ROOT
from helpers.errors import LabelsError, MissingStepError, PatternFileError, RunFileError, WorkbookError
from helpers.experiment import AMOX34117, Experiment
from helpers.family import Family
from helpers.system import Kind, code_digest, locked, pick_device, read_csv, text_digest, write_csv, write_text
from helpers.workbook.profile import Profile, load_profile
from helpers.workbook.tables import shown, to_html, to_latex

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from helpers.training import Examples, FamilyFolder, Plan, TrainingSettings

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

    @cached_property
    def experiment(self) -> Experiment:
        """Wavelength, distance, pixels and beam centre of the pattern file; AMOX34117's where it tells too little.

        The first time that AMOX34117 stands in for a file of another experiment, a sentence is printed that says so.
        """
        from helpers.patterns import open_stack

        with open_stack(self.data) as stack:
            if stack.experiment is not None:
                return stack.experiment
            (rows, columns), centre = stack.shape[1:], stack.centre
            missing = ", ".join(stack.missing) or "its experiment"
        row, column = centre or (AMOX34117.centre_row, (columns - 1) / 2)
        whose = "the file's" if centre else "assumed"
        print(
            f"{self.data.name} does not tell {missing}: q and sizes are computed with wavelength, distance and pixel "
            f"size of {AMOX34117.name}; beam centre ({row:g}, {column:g}), {whose}"
        )
        return replace(AMOX34117, rows=rows, columns=columns, centre_row=row, centre_column=column)

    def family(self, name: str) -> "FamilyFolder":
        """Files of a trained family: checkpoints, losses, stored scores.

        Parameters
        ----------
        name
            `network-colour-scale`, for instance "yolov2-jet-linear".
        """
        from helpers.training import FamilyFolder

        return FamilyFolder(self.families / str(Family.from_name(name)))

    @property
    def first_weights(self) -> str:
        """From which weights the training of the families began, as words for a caption."""
        starts = {self.family(name).description()["start"] for name in self.profile.families}
        return " and ".join(sorted(starts))

    def threshold(self, name: str) -> float:
        """Score above which a family calls a pattern a single hit, from the profile.

        Parameters
        ----------
        name
            Of the family, as in `family`.
        """
        return self.profile.thresholds[Family.from_name(name).network]

    def settings(self, network: str) -> "TrainingSettings":
        """Hyper-parameters of a network, from the profile, with the run's seed where the network has none of its own.

        Parameters
        ----------
        network
            For instance "yolov2"; one of the profile's.

        Raises
        ------
        ProfileError
            If a value is impossible.
        """
        from helpers.training import TrainingSettings

        return TrainingSettings.from_mapping({"seed": self.profile.seed} | self.profile.networks[network])

    def plan(self, name: str, examples: "Examples") -> "Plan":
        """Training of a family, as the profile describes it, on the GPU if there is one.

        Parameters
        ----------
        name
            Of the family, as in `family`.
        examples
            Training and validation patterns.
        """
        from helpers.training import Plan

        family = Family.from_name(name)
        return Plan(
            family,
            examples,
            self.settings(family.network),
            consensus=self.profile.consensus,
            threshold=self.threshold(name),
            device=pick_device(),
            weights=self.weights,
        )

    def write_sets(self, sets: pd.DataFrame) -> None:
        """Store the training, validation and test sets: the table of `dataset.split`."""
        write_csv(self.folder / "sets.csv", sets)

    def read_sets(self, name: str | None = None) -> pd.DataFrame:
        """Read the sets of Table 1.

        Parameters
        ----------
        name
            "training", "validation", "test" or "unused": only the patterns of this set; all if None.

        Returns
        -------
        pandas.DataFrame
            One row a pattern: pattern, label, in_size_range, set, and event_id and the truth where they are known.

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
        return sets if name is None else sets[sets["set"] == name].reset_index(drop=True)

    @property
    def has_sets(self) -> bool:
        """Whether notebook 01 has divided the patterns into sets."""
        return (self.folder / "sets.csv").is_file()

    def save_table(
        self,
        table: pd.DataFrame,
        name: str,
        *,
        caption: str,
        percent: Sequence[str] = (),
        formats: Mapping[str, str] | None = None,
    ) -> pd.DataFrame:
        """Write a table as CSV (the truth), LaTeX and HTML, and return it as readers see it.

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

        Returns
        -------
        pandas.DataFrame
            The text of LaTeX and HTML, for the end of a cell.
        """
        caption = self._caption(caption)
        text = shown(table, percent, formats)
        write_csv(self.tables / f"{name}.csv", table)
        write_text(self.tables / f"{name}.tex", to_latex(table, text, name, caption))
        write_text(self.tables / f"{name}.html", to_html(table, text, caption))
        return text

    def save_figure(self, figure: "Figure", name: str, *, caption: str, of_data: bool = True) -> "Figure":
        """Write a figure as PNG and PDF, and its caption for the page of the run; return it.

        Parameters
        ----------
        figure
            It stays open, so that the cell that ends with this call shows it.
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
        return figure

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
