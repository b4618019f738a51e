"""HTML page of an executed notebook that needs no network: pictures inside, formulas as MathML, no scripts."""

import logging
import re
from pathlib import Path

from helpers.system import write_text

_WITHOUT_SCRIPTS = """{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
"""

_FORMULA = re.compile(r"`[^`]*`|\$\$(?P<display>.+?)\$\$|\$(?P<inline>[^\s$](?:[^$]*[^\s$])?)\$", re.DOTALL)
"""TeX between dollars; code is matched, too, so that a dollar in it is passed over."""


def write_page(executed: Path) -> None:
    """Write an executed notebook as an HTML page beside it."""
    import nbformat
    from nbconvert import HTMLExporter

    notebook = nbformat.read(executed, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_mathml(cell.source)
    exporter = HTMLExporter(raw_template=_WITHOUT_SCRIPTS)
    exporter.log.setLevel(logging.ERROR)
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": executed.stem}})
    write_text(executed.with_suffix(".html"), page)


def with_mathml(markdown: str) -> str:
    """Replace TeX between dollars by MathML, which browsers show by themselves."""
    from latex2mathml.converter import convert

    def replaced(match: re.Match[str]) -> str:
        if match["display"]:
            return convert(match["display"].strip(), display="block")
        return convert(match["inline"], display="inline") if match["inline"] else match[0]

    return _FORMULA.sub(replaced, markdown)
