import math
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.workbook.tables import latex, shown, to_html, to_latex

TABLE = pd.DataFrame(
    {
        "family": ["yolov2-jet-linear", "em", "never-single"],
        "iteration_004000": [1247, 88, 0],
        "f1_mean": [0.8312, 0.5, math.nan],
        "std": [144.2559, 0.0, 0.0],
    }
)


def test_numbers_are_rounded_and_names_are_the_papers():
    text = shown(TABLE, percent=["f1_mean"], formats={"std": "{:.1f}"})
    assert list(text) == ["family", "4000", "F₁ mean (%)", "std"]
    assert text.to_numpy().tolist() == [
        ["YOLOv2 color, linear", "1247", "83.1", "144.3"],
        ["EM", "88", "50.0", "0.0"],
        ["never single", "0", "–", "0.0"],
    ]


def test_three_decimals_where_nothing_else_is_asked_for():
    assert shown(pd.DataFrame({"iou": [0.37685]})).to_numpy().tolist() == [["0.377"]]


def test_latex_is_a_booktabs_table_with_numbers_to_the_right():
    text = to_latex(TABLE, shown(TABLE, percent=["f1_mean"]), "table_3", "Selected & counted.")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:table_3}"))
    assert r"\caption{Selected \& counted.}" in text
    assert r"\begin{tabular}{lrrr}" in text
    assert r"family & 4000 & F$_1$ mean (\%) & std \\" in text
    assert text.isascii()


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.cells, self.within = [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag in ("th", "td"):
            self.cells.append("")
            self.within = True

    def handle_endtag(self, tag):
        self.within = self.within and tag not in ("th", "td")

    def handle_data(self, data):
        if self.within:
            self.cells[-1] += data


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"))), min_size=1, max_size=4))
def test_html_gives_back_any_text(names):
    table = pd.DataFrame({"name": names})
    html = to_html(table, table, "")
    assert Cells(html).cells == ["name", *names]
    assert html.isascii()


def test_html_cannot_carry_a_script():
    table = pd.DataFrame({"name": ["<script>alert(1)</script>"]})
    assert "<script" not in to_html(table, table, "<script>")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50 %", r"50 \%"),
        ("a_b", r"a\_b"),
        ("{x}", r"\{x\}"),
        ("\\", r"\textbackslash{}"),
        ("123 × 240", r"123 $\times$ 240"),
    ],
)
def test_latex_signs_are_escaped(text, escaped):
    assert latex(text) == escaped
