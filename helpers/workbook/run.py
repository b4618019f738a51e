"""A run: its profile, its data, and the folder in which the notebooks leave what they make."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers import ROOT
from helpers.errors import LabelsError, MissingStepError, PatternFileError, RunFileError, WorkbookError
from helpers.experiment import AMOX34117, Experiment
from helpers.family import Family
from helpers.system import (
    Kind,
    code_digest,
    locked,
    pick_device,
    read_csv,
    read_json,
    text_digest,
    write_csv,
    write_text,
)
from helpers.workbook.profile import PROFILES, Profile, load_profile
from helpers.workbook.tables import shown, to_html, to_latex

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from helpers.training import Examples, FamilyFolder, Plan, TrainingSettings

DATA = ROOT / "data"
RESULTS = ROOT / "results"
ANNOTATION = "annotation.json"  # labels and box that people have given: hand work, which no fresh start deletes
RECORD = "run.json"  # it marks a folder as a run's
LOCK = ".lock"  # held by the process that runs the notebooks

_AGAIN = "delete it, and run the notebook that writes it again"
_SETS: dict[str, Kind] = {"pattern": "index", "label": "flag", "in_size_range": "flag", "set": "text"}


@dataclass(frozen=True)
class Run:
    """Data of the notebooks of one run, and the folder in which they leave their results.

    Parameters
    ----------
    profile
        Size and settings of the run.
    folder
        `results/RUN`.
    data
        A file of patterns.
    labels
        A file of labels, CSV or the annotation of notebook 03, or None if the data file holds them.
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
        """Labels and box from notebook 03: the run's labels if they come from there, else a file of the run."""
        if self.labels is not None and self.labels.suffix == ".json":
            return self.labels
        return self.folder / ANNOTATION

    @property
    def weights(self) -> Path:
        """Folder of Darknet's pre-trained weights, the same for every run; it may be empty or absent."""
        return DATA / "weights"

    @cached_property
    def is_simulated(self) -> bool:
        """Whether the patterns are simulated: the file's title says so."""
        from helpers.patterns import open_stack

        with open_stack(self.data) as stack:
            return "simulat" in stack.title.lower()

    @cached_property
    def experiment(self) -> Experiment:
        """Wavelength, distance, pixels and beam centre of the pattern file, or of AMOX34117 where it tells too little.

        Where AMOX34117 stands in for another experiment, the first use prints a sentence that says so.
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
        """Checkpoints, losses and stored scores of a trained family, for instance "yolov2-jet-linear"."""
        from helpers.training import FamilyFolder

        return FamilyFolder(self.families / str(Family.from_name(name)))

    @property
    def first_weights(self) -> str:
        """Weights from which the training of the families began, as words for a caption."""
        starts = {self.family(name).description()["start"] for name in self.profile.families}
        return " and ".join(sorted(starts))

    def threshold(self, name: str) -> float:
        """Score above which a family calls a pattern a single hit, from the profile."""
        return self.profile.thresholds[Family.from_name(name).network]

    def settings(self, network: str) -> "TrainingSettings":
        """Hyper-parameters of a network, for instance of "yolov2", from the profile.

        The run's seed is used where the network has none of its own. `ProfileError` is raised if a value is impossible.
        """
        from helpers.training import TrainingSettings

        return TrainingSettings.from_mapping({"seed": self.profile.seed} | self.profile.networks[network])

    def plan(self, name: str, examples: "Examples") -> "Plan":
        """Training of a family on examples, as the profile describes it, on the GPU if there is one."""
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
        """Store the training, validation and test sets, one row a pattern, as `read_sets` gives them."""
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
        if not self.has_sets:
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
        """Write a table as CSV (the truth), LaTeX and HTML, and return the text of the latter two, as readers see it.

        Parameters
        ----------
        table
            Fractions, not percent.
        name
            Name of the files, for instance "table_4".
        caption
            Sentence for readers; "Simulated data." is added where they are.
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
        return text

    def save_figure(self, figure: "Figure", name: str, *, caption: str, of_data: bool = True) -> "Figure":
        """Write a figure as PNG and PDF, and its caption for the page of the run; return it.

        Parameters
        ----------
        figure
            It stays open, so that the cell that ends with this call shows it.
        name
            Name of the files, for instance "figure_3".
        caption
            Sentence for readers; "Simulated data." is added where they are.
        of_data
            False for a drawing, which shows no patterns and nothing that comes from them.
        """
        from helpers.figures import save_figure

        save_figure(figure, self.figures / name)
        described = {"caption": self._caption(caption) if of_data else caption}
        write_text(self.figures / f"{name}.json", json.dumps(described) + "\n")
        return figure

    def _caption(self, caption: str) -> str:
        return f"{caption} Simulated data." if self.is_simulated else caption


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
        Folder of the run; if None that of `run_folder`.
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
    folder = run_folder(described, None if data is None else _placed(data)) if results is None else _placed(results)
    check_folder(folder)
    if labels is not None and not _placed(labels).is_file():
        raise LabelsError(f"{labels}: no such file of labels")
    if data is not None and not _placed(data).is_file():
        raise PatternFileError(f"{data}: no such file; name a CXI file, or leave it out to simulate one")
    if not (folder / RECORD).is_file():
        begun = {"profile": described.sections()} | ({} if data is None else {"given": str(_placed(data))})
        write_text(folder / RECORD, json.dumps(begun, indent=1) + "\n")
    patterns = _twin(described) if data is None else _placed(data)
    return Run(described, folder, patterns, None if labels is None else _placed(labels))


def run_folder(profile: Profile, data: Path | None) -> Path:
    """Folder of a run for which the user names none: results/PROFILE, or results/PROFILE_FILE for data of the user.

    Parameters
    ----------
    profile
        The profile of the run.
    data
        The file of patterns in full; None, or the twin of the profile, for simulated ones.

    Raises
    ------
    WorkbookError
        If the results of another run would be overwritten: the profile has the name of one of the workbook's and
        another content, or the folder holds a run on another file of the same name.
    """
    ours = PROFILES / f"{profile.name}.yaml"
    if ours.is_file() and load_profile(ours) != profile:
        raise WorkbookError(
            f"the profile calls itself {profile.name}, as one of the workbook's does, and is another; change its name, "
            "or say where its results go with --results"
        )
    if data is None or data == twin_path(profile):
        return RESULTS / profile.name
    folder = RESULTS / f"{profile.name}_{data.stem}"
    if (folder / RECORD).is_file():
        advice = "delete it, or restore it from a copy"
        given = read_json(folder / RECORD, "record of a run", error=RunFileError, advice=advice).get("given")
        if given not in (None, str(data)):
            raise WorkbookError(f"{folder} holds the run on {given}; say where the results of {data} go with --results")
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder that is neither new, nor empty, nor in results/, nor has a `run.json`, with a `WorkbookError`."""
    if not folder.is_dir() or folder.parent == RESULTS or (folder / RECORD).is_file():
        return
    # a run that was killed at once has left its lock, and no record yet
    if any(path.name != ANNOTATION and not path.name.startswith((LOCK, f".{RECORD}.")) for path in folder.iterdir()):
        raise WorkbookError(f"{folder} holds other files than a run's; choose a new or an empty folder with --results")


def _placed(path: str | Path) -> Path:
    return (ROOT / Path(path).expanduser()).resolve()


def twin_path(profile: Profile) -> Path:
    """Path of the simulated twin of a profile; another seed, size or simulation is another file."""
    settings = json.dumps([profile.sections()["simulation"], profile.seed, code_digest("helpers.simulation.twin")])
    return DATA / f"twin_{profile.name}_{text_digest(settings)[:8]}.cxi"


def _twin(profile: Profile) -> Path:
    """The simulated twin; made if it is not there."""
    path = twin_path(profile)
    if not path.is_file():
        from helpers.simulation import simulate

        with locked(path, path.with_name(f".{path.name}{LOCK}")):
            simulate(path, seed=profile.seed, **asdict(profile.simulation))
    return path
