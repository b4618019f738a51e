import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.workbook.notebook_page import with_mathml, write_page


@pytest.fixture
def page(tmp_path):
    output = new_output("display_data", data={"text/plain": "42"})
    cells = [new_markdown_cell("# Energy\n\n$$E = h\\nu$$"), new_code_cell("6 * 7", outputs=[output])]
    nbformat.write(new_notebook(cells=cells), tmp_path / "executed.ipynb")
    write_page(tmp_path / "executed.ipynb")
    return (tmp_path / "executed.html").read_text(encoding="utf-8")


def test_a_page_fetches_nothing(page):
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=[\"']https?://", page)


def test_a_page_shows_the_formula_as_mathml_and_what_the_cells_showed(page):
    assert re.search(r'<math[^>]*display="block"[^>]*>.*<mi>E</mi>', page)
    assert "$$" not in page
    assert "42" in page
    assert "<title>executed</title>" in page


def test_inline_and_displayed_formulas_are_told_apart_and_code_is_left_alone():
    text = with_mathml("rate $\\eta_k$, a sum $$\\sum_b x_b$$ and `$HOME and $PATH` cost 5 $ or 6 $")
    assert text.count('display="inline"') == text.count('display="block"') == 1
    assert "`$HOME and $PATH` cost 5 $ or 6 $" in text
