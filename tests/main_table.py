"""The main table of the README: the paper's Table 4 beside the demo's. `python tests/main_table.py` writes it anew."""

import pandas as pd

from helpers import ROOT
from helpers.evaluation import NEVER_SINGLE, Confusion, table_published
from helpers.evaluation.published import EM
from helpers.family import Family
from helpers.system import write_text

README = ROOT / "README.md"
TABLES = ROOT / "results" / "demo" / "tables"
BEGIN, END = "<!-- main table: python tests/main_table.py -->\n", "<!-- end of the main table -->\n"

_HEAD = """\
| family | paper: P | R | F₁ | demo: P | R | F₁ | F₁ against the truth |
|---|---|---|---|---|---|---|---|
"""


def main_table() -> str:
    """The table in Markdown, and a line on the patterns behind it, from the stored tables of the demo."""
    table_4 = pd.read_csv(TABLES / "table_4.csv")
    rows = table_4[table_4["family"] != NEVER_SINGLE]
    paper = table_published(table_4).set_index("family")[["precision_paper", "recall_paper", "f1_paper"]]
    em = Confusion.from_counts(**EM)
    paper.loc["em"] = [em.precision, em.recall, em.f1]
    limits = pd.read_csv(TABLES / "table_intervals.csv").set_index(["family", "reference"])
    ours = rows.set_index(["family", "reference"])
    lines = [_row(family, paper, ours, limits) for family in rows["family"].unique()]
    return f"{_HEAD}{''.join(lines)}\n{_patterns(table_4)}\n"


def _row(family: str, paper: pd.DataFrame, ours: pd.DataFrame, limits: pd.DataFrame) -> str:
    """One family: the paper's numbers, then the demo's, F₁ with its interval."""
    published = [f"{value:.2f}" for value in paper.loc[family]] if family in paper.index else ["–"] * 3
    labels = ours.loc[(family, "manual")]
    found = [f"{labels['precision']:.2f}", f"{labels['recall']:.2f}"]
    for reference in ("manual", "truth"):
        lower, upper = limits.loc[(family, reference), ["f1_lower", "f1_upper"]]
        found.append(f"{ours.loc[(family, reference), 'f1']:.2f} ({lower:.2f}–{upper:.2f})")
    title = "EM, no labels" if family == "em" else Family.from_name(family).title
    return f"| {title} | {' | '.join([*published, *found])} |\n"


def _patterns(table_4: pd.DataFrame) -> str:
    """How many patterns were tested, labelled and single, and the best that the labels admit."""
    never = table_4[table_4["family"] == NEVER_SINGLE].set_index("reference")["accuracy"]
    patterns = int(pd.read_csv(TABLES / "table_1.csv").set_index("set").loc["test", "patterns"])
    labelled, single = (round(patterns * (1 - never[reference])) for reference in ("manual", "truth"))
    best = Confusion.from_counts(
        selected=single, intersection=min(labelled, single), positives=labelled, patterns=patterns
    )
    return (
        f"**Simulated.** Of {patterns} test patterns {single} are single hits, and {labelled} are labelled as such: a "
        f"selection of exactly the true single hits would score an F₁ of at most {best.f1:.2f} against the labels."
    )


def with_main_table(text: str) -> str:
    """A text whose main table is the one that the stored tables give."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + main_table() + END + rest.split(END)[1]


if __name__ == "__main__":
    write_text(README, with_main_table(README.read_text(encoding="utf-8")))
