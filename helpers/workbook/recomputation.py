"""Every table of a run once more, from what its folder holds: sets, scores, losses, classes, selections, patterns.

Each table comes from the function that the notebook has called; nothing is trained or classified, and neither a GPU nor
Jupyter is needed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from helpers import annotation, darknet, evaluation, rendering, training
from helpers.annotation import SINGLE, LabelsFile
from helpers.classification import stored_selection
from helpers.em import read_choice, runs_key, votes
from helpers.errors import MissingStepError
from helpers.experiment import AMOX34117
from helpers.family import Family
from helpers.patterns import PatternStack, open_stack
from helpers.preparation import table_preparation
from helpers.system import load_tensors, read_exact_csv
from helpers.training import FamilyFolder
from helpers.workbook.profile import Profile, profile_from
from helpers.workbook.run import ANNOTATION


class NotInRunError(MissingStepError):
    """Something that a table was made from is not in the run's folder, and was not found elsewhere."""


@dataclass(frozen=True)
class StoredStep:
    """A step as `run.json` describes it, and the files of its run.

    Parameters
    ----------
    folder
        Of the run.
    entry
        Of the step in `run.json`: profile, reads, writes.
    data, labels
        The pattern file and the label file of the run; None where they are not there.
    """

    folder: Path
    entry: Mapping[str, Any]
    data: Path | None
    labels: Path | None

    @cached_property
    def profile(self) -> Profile:
        """The profile as the step used it."""
        return profile_from(self.entry["profile"])

    @cached_property
    def stack(self) -> PatternStack:
        """The patterns."""
        if self.data is None:
            raise NotInRunError(f"the patterns of {self.entry['data']['file']} are not there; name them with --data")
        return open_stack(self.data)

    def close(self) -> None:
        """Close the pattern file, where it was opened."""
        if "stack" in vars(self):
            self.stack.close()

    @cached_property
    def label_file(self) -> Path | None:
        """The label file; None where the labels are in the data file."""
        if self.entry["labels"] is not None and self.labels is None:
            raise NotInRunError(f"the labels of {self.entry['labels']} are not there; name them with --labels")
        return self.labels

    @cached_property
    def sets(self) -> pd.DataFrame:
        """The sets of Table 1."""
        return read_exact_csv(self.folder / "sets.csv", dtype={"event_id": str})

    @property
    def test(self) -> pd.DataFrame:
        """Rows of the test set."""
        return self.sets[self.sets["set"] == "test"].reset_index(drop=True)

    @property
    def classified(self) -> pd.DataFrame:
        """Rows that EM has classified."""
        return self.sets[self.sets["in_size_range"]].reset_index(drop=True)

    @cached_property
    def annotated(self) -> LabelsFile:
        """What people have said in notebook 03."""
        given = self.label_file
        path = given if given is not None and given.suffix == ".json" else self.folder / ANNOTATION
        return LabelsFile(path, self.stack)

    @cached_property
    def families(self) -> dict[str, FamilyFolder]:
        """Family → what its training left."""
        return {name: FamilyFolder(self.folder / "families" / name) for name in self.profile.families}

    def threshold(self, name: str) -> float:
        """Score above which a checkpoint of a family says single."""
        return self.profile.thresholds[Family.from_name(name).network]

    def scores(self, name: str) -> dict[str, pd.DataFrame]:
        """Family → scores of the set `name`."""
        return {family: folder.scores(name) for family, folder in self.families.items()}

    def positives(self) -> np.ndarray:
        """Photon counts of the positives that train (patterns, rows, columns)."""
        chosen = (self.sets["set"] == "training") & self.sets["label"]
        return self.stack.read(self.sets.loc[chosen, "pattern"].to_numpy())


def _table_1(step: StoredStep) -> pd.DataFrame:
    return annotation.table_1(step.sets)


def _table_2(step: StoredStep) -> pd.DataFrame:
    label = step.sets.set_index("pattern")["label"]
    curves = {
        name: evaluation.validation_curve(scores, label[scores["pattern"]].to_numpy(), step.threshold(name))
        for name, scores in step.scores("validation").items()
    }
    return evaluation.table_2(curves, first=step.profile.table_2.first, last=step.profile.table_2.last)


def _table_3(step: StoredStep) -> pd.DataFrame:
    thresholds = {name: step.threshold(name) for name in step.families}
    return evaluation.table_3(step.scores("test"), thresholds, step.profile.consensus)


def _stable(step: StoredStep) -> dict[str, np.ndarray]:
    """Selections of the test set: of the families by the consensus of their scores, of EM as notebook 06 left it."""
    selections = {
        name: evaluation.stable_selection(scores.drop(columns="pattern").to_numpy(), step.threshold(name))
        for name, scores in step.scores("test").items()
    }
    em = stored_selection(step.folder / "selections" / "em.csv", step.test["pattern"].to_numpy())
    return selections if em is None else {**selections, "em": em}


def _table_4(step: StoredStep) -> pd.DataFrame:
    return evaluation.table_4(_stable(step), evaluation.references_of(step.test))


def _table_intervals(step: StoredStep) -> pd.DataFrame:
    return evaluation.table_intervals(_stable(step), evaluation.references_of(step.test), seed=step.profile.seed)


def _table_box(step: StoredStep) -> pd.DataFrame:
    if "sets.csv" in step.entry["reads"]:
        return annotation.table_box(step.positives())
    return annotation.table_box(step.stack.read(step.annotated.labelled(SINGLE)))


def _table_consistency(step: StoredStep) -> pd.DataFrame:
    if annotation.INTER_ANNOTATOR in (step.folder / "tables" / "table_consistency.csv").read_text(encoding="utf-8"):
        raise NotInRunError("what the second person has said is in no file of the run")
    sets = step.sets if "sets.csv" in step.entry["reads"] else None
    return annotation.table_consistency(annotation.judgements(step.annotated, sets))


def _table_rendering(step: StoredStep) -> pd.DataFrame:
    example = rendering.brightest(step.positives())
    return rendering.table_rendering(example, rendering.input_sizes(step.profile.networks))


def _table_resize(step: StoredStep) -> pd.DataFrame:
    sizes = rendering.input_sizes(step.profile.networks)
    return rendering.table_resize(step.stack.shape[1:], sizes, AMOX34117)


def _em_score(step: StoredStep) -> np.ndarray:
    """Share of the runs of EM that call a pattern single."""
    cpu, em = torch.device("cpu"), step.folder / "em"
    states = [load_tensors(em / f"run_{number}" / "state.pt", cpu) for number in range(1, step.profile.em.runs + 1)]
    classes = np.stack([state["classes"].numpy() for state in states])
    choice, _ = read_choice(em / "choice.json", key=runs_key(classes), classes=step.profile.em.classes)
    return votes(classes, choice)


TABLES: dict[str, Callable[[StoredStep], pd.DataFrame]] = {
    "table_1": _table_1,
    "table_2": _table_2,
    "table_3": _table_3,
    "table_4": _table_4,
    "table_box": _table_box,
    "table_consistency": _table_consistency,
    "table_em": lambda step: evaluation.table_em(_em_score(step) > 0.5, step.classified),
    "table_families": lambda step: training.table_families(step.families),
    "table_intervals": _table_intervals,
    "table_networks": lambda _: darknet.table_networks(darknet.full_size_networks()),
    "table_preparation": lambda step: table_preparation(read_exact_csv(step.folder / "preparation" / "prepared.csv")),
    "table_published": lambda step: evaluation.table_published(_table_4(step)),
    "table_rendering": _table_rendering,
    "table_resize": _table_resize,
    "table_sets_published": lambda step: annotation.beside_published(_table_1(step)),
}
"""Table → how it is computed from what the run holds; the step is the one that wrote it."""


def recomputed_sets(step: StoredStep) -> pd.DataFrame:
    """The sets once more, from the labels and the seed."""
    known = annotation.labels_of(step.stack, step.label_file)
    return annotation.split(known, step.profile.dataset, seed=step.profile.seed)


def recomputed_selection(step: StoredStep, name: str) -> pd.DataFrame:
    """A selection once more, but for the file that it names: from the scores of a family, or the votes of EM's runs.

    Parameters
    ----------
    step
        That has written it.
    name
        Of the family, or "em".
    """
    if name == "em":
        is_test = (step.classified["set"] == "test").to_numpy()
        score, patterns = _em_score(step)[is_test], step.classified.loc[is_test, "pattern"].to_numpy()
        single = score > 0.5
    else:
        table = step.families[name].scores("test")
        scores, patterns = table.drop(columns="pattern").to_numpy(), table["pattern"].to_numpy()
        score, single = scores.min(axis=1), evaluation.stable_selection(scores, step.threshold(name))
    selection = pd.DataFrame({"index": patterns, "score": score, "single": single.astype(int)})
    if "event_id" in step.sets:
        selection.insert(1, "event_id", step.sets.set_index("pattern")["event_id"].loc[patterns].to_numpy())
    return selection


def lists_of(step: StoredStep) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    """The lists of patterns that a step has written: file → how it is computed once more."""
    for file in step.entry["writes"]:
        if file == "sets.csv":
            yield file, lambda: recomputed_sets(step)
        elif file.startswith("selections/") and file.endswith(".csv"):
            yield file, lambda name=Path(file).stem: recomputed_selection(step, name)
