"""Draw the picture of the labelling widget that the README shows: `python -m tests.pictures` (needs Chromium).

Notebook 03 is opened in JupyterLab on a small simulated twin, some patterns are labelled by key as the simulated expert
labels them, and a bright single hit is left on the screen.
"""

import io
import re
import tempfile
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

from helpers import ROOT
from helpers.annotation import labels_of, split
from helpers.patterns import open_stack
from helpers.simulation import simulate
from helpers.system import write_csv, written_whole
from helpers.workbook import load_profile
from tests import browser

PICTURE = ROOT / "docs" / "annotation_widget.png"
NOTEBOOK = ROOT / "notebooks" / "03_annotation.ipynb"
LABELLED = 40
_COLOURS = 128
_MARGIN = 12
_WIDGET = ".annotation:not([data-old])"


def write_lesson(folder: Path) -> pd.DataFrame:
    """Write notebook 03, and a run on a small twin that it works on; the patterns of the twin as a table."""
    data, results = folder / "twin.cxi", folder / "run"
    profile = load_profile(ROOT / "tests" / "tiny.yaml")
    simulate(data, patterns=160, manual_fraction=0.25, outside=(2, 6), seed=7, processes=1)
    browser.mark(results, profile)
    with open_stack(data) as stack:
        labels = labels_of(stack)
        write_csv(results / "sets.csv", split(labels, profile.dataset, seed=7))
        table = stack.table().assign(label=labels["label"])
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    given = {"profile": ROOT / "tests" / "tiny.yaml", "results": results, "data": data, "labeller": "anna"}
    for name, value in given.items():
        parameters.source = re.sub(rf"^{name} = .*$", f"{name} = {str(value)!r}", parameters.source, flags=re.MULTILINE)
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / NOTEBOOK.name)
    return table


def label(page: browser.Notebook, table: pd.DataFrame) -> None:
    """Label patterns as the expert does, until enough are labelled and a bright single hit is on the screen."""
    page.click(".annotation-facts")
    bright = table["photons"].quantile(0.6)
    for labelled in range(len(table)):
        pattern = table.loc[int(browser.wait_for("a pattern on screen", lambda: page.said("pattern")))]
        if labelled >= LABELLED and pattern["label"] and pattern["photons"] > bright:
            break
        page.type("s" if pattern["label"] else "n")
    page.wait_until_saved()


def photographed(page: browser.Notebook) -> Image.Image:
    """The notebook's tab, from its title to the end of the widget."""
    page.script("jupyterapp.shell.collapseLeft()")
    page.script("document.querySelector(arguments[0]).closest('.jp-CodeCell').scrollIntoView(true)", _WIDGET)
    browser.wait_for("the pattern", lambda: page.said("pattern"))
    edges = page.script(
        "const dock = document.querySelector('#jp-main-dock-panel').getBoundingClientRect();"
        "const widget = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [dock.left, dock.top, dock.right, Math.min(dock.bottom, widget.bottom + arguments[1])]",
        _WIDGET,
        _MARGIN,
    )
    screen = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    return screen.crop(tuple(map(round, edges)))


def main() -> None:
    """Make the picture anew."""
    with tempfile.TemporaryDirectory(prefix="pictures-") as scratch:
        folder = Path(scratch)
        table = write_lesson(folder)
        with (
            browser.lab_server(folder, folder / "notebooks") as server,
            browser.chromium(folder / "chromium") as driver,
        ):
            page = browser.Notebook(driver, server, NOTEBOOK.name)
            page.run_all()
            page.wait_for_kernel()
            label(page, table)
            picture = photographed(page)
    with written_whole(PICTURE) as partial:
        picture.quantize(_COLOURS).save(partial, format="PNG", optimize=True)
    print(f"{PICTURE}: {picture.width} x {picture.height} pixels, {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
