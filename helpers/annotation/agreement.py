"""Consistency of annotations, which section 4 of the paper asks for: intra-annotator and inter-annotator agreement.

Cohen's kappa is 1 for full agreement, and 0 for as much agreement as chance gives.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from helpers.annotation.labels import read_labels
from helpers.annotation.labels_file import NOT_SINGLE, SINGLE, LabelsFile
from helpers.errors import LabelsError
from helpers.patterns import PatternStack


@dataclass(frozen=True)
class Agreement:
    """Two judgements of the same patterns: columns pattern, first and second (out of `LABELS`), ordered by pattern."""

    judged: pd.DataFrame

    @property
    def patterns(self) -> int:
        """Number of patterns that have both judgements."""
        return len(self.judged)

    @property
    def share(self) -> float:
        """Fraction of these patterns that got the same label twice; NaN if there are none."""
        return float((self.judged["first"] == self.judged["second"]).mean())

    @property
    def kappa(self) -> float:
        """Cohen's kappa over all three labels; NaN if only one label was ever given, or no pattern has both."""
        first, second = self.judged["first"], self.judged["second"]
        if pd.concat([first, second]).nunique() < 2:
            return float("nan")
        return float(cohen_kappa_score(first, second))

    @property
    def disputed(self) -> pd.DataFrame:
        """Patterns with two different labels: columns pattern, first, second."""
        return self.judged[self.judged["first"] != self.judged["second"]].reset_index(drop=True)


def agreement(first: Mapping[int, str], second: Mapping[int, str]) -> Agreement:
    """Comparison of two judgements (pattern → one of `LABELS`) of the patterns that have both."""
    common = sorted(set(first) & set(second))
    rows = [(pattern, first[pattern], second[pattern]) for pattern in common]
    return Agreement(pd.DataFrame(rows, columns=["pattern", "first", "second"]))


def self_agreement(file: LabelsFile) -> Agreement:
    """Intra-annotator agreement: first against second label of the patterns that the same person judged both times."""
    firsts, seconds = file.labels, file.repeats
    same = [p for p in firsts if p in seconds and firsts[p].labeller == seconds[p].labeller]
    return agreement({p: firsts[p].label for p in same}, {p: seconds[p].label for p in same})


def labels_in(path: str | os.PathLike, stack: PatternStack) -> dict[int, str]:
    """Labels in a file, as words.

    Parameters
    ----------
    path
        JSON file of the annotation widget, or CSV file as in `labels.read_labels`.
    stack
        Open stack of the patterns that the file labels.

    Returns
    -------
    dict
        Pattern → one of `LABELS`; a CSV file has no "unsure".

    Raises
    ------
    LabelsError
        If the file is missing or does not fit the patterns.
    """
    if not Path(path).is_file():
        raise LabelsError(f"{path}: no such file of labels; name a JSON file of the annotation widget, or a CSV file")
    if Path(path).suffix == ".json":
        return _words(LabelsFile(path, stack))
    labels = read_labels(path, stack)
    return {int(row.pattern): SINGLE if row.label else NOT_SINGLE for row in labels.itertuples()}


def judgements(
    file: LabelsFile, sets: pd.DataFrame | None, second: Mapping[int, str] | None = None
) -> dict[str, Agreement]:
    """Agreement of all pairs of judgements that can be compared.

    Parameters
    ----------
    file
        Labels of the annotation widget, with or without repeats, of one person or several.
    sets
        Table of the sets with the columns pattern, label and, for simulated patterns, truth; None if there is none yet.
    second
        Labels of a second person: pattern → one of `LABELS`.

    Returns
    -------
    dict
        Name of the comparison → `Agreement`: intra-annotator always, inter-annotator with `second`, and the simulated
        expert against the truth.
    """
    pairs = {"a labeller with themselves": self_agreement(file)}
    if second is not None:
        pairs["two people"] = agreement(_words(file), second)
    if sets is not None and "truth" in sets:
        words = sets[["label", "truth"]].replace({True: SINGLE, False: NOT_SINGLE}).set_index(sets["pattern"])
        pairs["simulated expert and truth"] = agreement(words["label"].to_dict(), words["truth"].to_dict())
    return pairs


def _words(file: LabelsFile) -> dict[int, str]:
    """Pattern → label of a file of the annotation widget."""
    return {pattern: judgement.label for pattern, judgement in file.labels.items()}


def table_consistency(pairs: Mapping[str, Agreement]) -> pd.DataFrame:
    """Table of the agreement between pairs of judgements.

    Parameters
    ----------
    pairs
        Name of the comparison → its agreement, from `judgements`.

    Returns
    -------
    pandas.DataFrame
        Columns judgements (the name), patterns, agreement (fraction), kappa and disputed (number of patterns).
    """
    rows = [(name, pair.patterns, pair.share, pair.kappa, len(pair.disputed)) for name, pair in pairs.items()]
    return pd.DataFrame(rows, columns=["judgements", "patterns", "agreement", "kappa", "disputed"])
