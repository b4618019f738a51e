"""How consistent annotations are: a labeller with themselves, and two people with each other.

Section 4 of the paper asks for "more consistent annotations"; here they are measured, with Cohen's kappa: 1 for full
agreement, 0 for as much as chance gives.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from helpers.annotation.labels import read_labels
from helpers.annotation.labels_file import LABELS, NOT_SINGLE, SINGLE, LabelsFile
from helpers.errors import LabelsError
from helpers.patterns import PatternStack

TWO_PEOPLE = "two people"
"""The row of `table_consistency` that a second person's labels make."""


@dataclass(frozen=True)
class Agreement:
    """Two judgements of the same patterns.

    Parameters
    ----------
    judged
        Columns pattern, first, second: labels out of `LABELS`, ordered by pattern.
    """

    judged: pd.DataFrame

    @property
    def patterns(self) -> int:
        """How many patterns have both judgements."""
        return len(self.judged)

    @property
    def share(self) -> float:
        """Part of them that got the same label twice; NaN without a pattern."""
        return float((self.judged["first"] == self.judged["second"]).mean())

    @property
    def kappa(self) -> float:
        """Cohen's kappa over all three labels; NaN where only one label was ever given, or no pattern was judged."""
        first, second = self.judged["first"], self.judged["second"]
        if pd.concat([first, second]).nunique() < 2:
            return float("nan")
        return float(cohen_kappa_score(first, second))

    @property
    def disputed(self) -> pd.DataFrame:
        """Patterns with different labels: columns pattern, first, second."""
        return self.judged[self.judged["first"] != self.judged["second"]].reset_index(drop=True)

    def table(self) -> pd.DataFrame:
        """How often each pair of labels was given: rows first, columns second, all of `LABELS`."""
        counted = pd.crosstab(self.judged["first"], self.judged["second"])
        return counted.reindex(index=LABELS, columns=LABELS, fill_value=0).rename_axis(index="first", columns="second")


def agreement(first: Mapping[int, str], second: Mapping[int, str]) -> Agreement:
    """Compare two judgements of the patterns that have both.

    Parameters
    ----------
    first, second
        Pattern → label.

    Returns
    -------
    Agreement
    """
    common = sorted(set(first) & set(second))
    rows = [(pattern, first[pattern], second[pattern]) for pattern in common]
    return Agreement(pd.DataFrame(rows, columns=["pattern", "first", "second"]))


def self_agreement(file: LabelsFile) -> Agreement:
    """Compare what was said about a pattern at first with what was said when it was shown again.

    Parameters
    ----------
    file
        Labels and repeats.

    Returns
    -------
    Agreement
        Only of patterns whose both judgements are one person's.
    """
    firsts, seconds = file.labels, file.repeats
    same = [p for p in firsts if p in seconds and firsts[p].labeller == seconds[p].labeller]
    return agreement({p: firsts[p].label for p in same}, {p: seconds[p].label for p in same})


def said_in(path: str | os.PathLike, stack: PatternStack) -> dict[int, str]:
    """Labels of a file, JSON of the annotation widget or CSV as in `dataset.read_labels`.

    Parameters
    ----------
    path
        The file.
    stack
        The patterns that it labels.

    Returns
    -------
    dict
        Pattern → label; a CSV file knows no "unsure".

    Raises
    ------
    LabelsError
        If the file is missing or does not fit the patterns.
    """
    if not Path(path).is_file():
        raise LabelsError(f"{path}: no such file of labels; name a JSON file of the annotation widget, or a CSV file")
    if Path(path).suffix == ".json":
        return {pattern: said.label for pattern, said in LabelsFile(path, stack).labels.items()}
    labels = read_labels(path, stack)
    return {int(row.pattern): SINGLE if row.label else NOT_SINGLE for row in labels.itertuples()}


def judgements(
    file: LabelsFile, sets: pd.DataFrame | None, second: Mapping[int, str] | None = None
) -> dict[str, Agreement]:
    """All pairs of judgements that can be compared.

    Parameters
    ----------
    file
        Labels and repeats of one person or more.
    sets
        With the columns pattern, label, truth, where patterns are simulated; None if there are none yet.
    second
        What another person said: pattern → label.

    Returns
    -------
    dict
        Who is compared → how they agree.
    """
    pairs = {"a labeller with themselves": self_agreement(file)}
    if second is not None:
        pairs[TWO_PEOPLE] = agreement({pattern: said.label for pattern, said in file.labels.items()}, second)
    if sets is not None and "truth" in sets:
        words = sets[["label", "truth"]].replace({True: SINGLE, False: NOT_SINGLE}).set_index(sets["pattern"])
        pairs["simulated expert and truth"] = agreement(words["label"].to_dict(), words["truth"].to_dict())
    return pairs


def table_consistency(pairs: Mapping[str, Agreement]) -> pd.DataFrame:
    """How far two judgements of the same patterns agree.

    Parameters
    ----------
    pairs
        From `judgements`.

    Returns
    -------
    pandas.DataFrame
        judgements, patterns, agreement, kappa, disputed.
    """
    rows = [(name, pair.patterns, pair.share, pair.kappa, len(pair.disputed)) for name, pair in pairs.items()]
    return pd.DataFrame(rows, columns=["judgements", "patterns", "agreement", "kappa", "disputed"])
