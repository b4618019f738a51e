"""The annotation widget in JupyterLab, with real keys and a real mouse; skipped where there is no Chromium."""

import json
import os
import re
import signal
import threading

import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers import ROOT
from helpers.annotation import LabelsFile, labels_of, split
from helpers.annotation.queue import at_random
from helpers.experiment import AMOX34117
from helpers.patterns import open_stack
from helpers.patterns.writing import write_stack
from helpers.simulation import simulate
from helpers.system import write_csv
from helpers.workbook import load_profile

pytest.importorskip("selenium", reason="the annotation widget is not tried in a browser without selenium")

from tests import browser
from tests.browser import Keys, Notebook, wait_for

pytestmark = pytest.mark.skipif(
    bool(browser.missing()),
    reason=f"no {' and no '.join(browser.missing())} here: the annotation widget is not tried in a browser "
    "(Debian: apt-get install chromium chromium-driver)",
)

TINY = ROOT / "tests" / "tiny.yaml"
SHAPE = (12, 24)
PATTERNS = 10_000
FIRST_CELL = """\
import numpy as np
from helpers.annotation import annotate
from helpers.patterns import open_stack
from helpers.annotation.queue import Queue, at_random

stack = open_stack("many.cxi")"""
SECOND_CELL = """\
queue = Queue.of(at_random(np.arange(len(stack)), seed=1))
widget = annotate(stack, "{file}", queue, labeller="anna", positives=range(20))
widget"""
NAMES = {"s": "single", "n": "not single", "u": "unsure"}
ORDER = at_random(np.arange(PATTERNS), seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten thousand patterns, and two notebooks."""
    folder = tmp_path_factory.mktemp("browser")
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:12, -11.5:12.5]
    expected = 3 * np.exp(-rows / 4 - (columns / 4) ** 2) + 0.02
    counts = rng.poisson(expected * rng.uniform(0.5, 3, (PATTERNS, 1, 1)))
    table = pd.DataFrame({"event_id": np.arange(PATTERNS) + 5, "size_nm": rng.uniform(50, 90, PATTERNS)})
    given = {"mask": np.zeros(SHAPE, bool), "centre": (0, 12), "experiment": AMOX34117}
    write_stack(notebooks / "many.cxi", counts.astype(np.uint16), table=table, **given)
    for name in ("labels", "killed"):
        browser.write_notebook(notebooks / f"{name}.ipynb", FIRST_CELL, SECOND_CELL.format(file=f"{name}.json"))
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with browser.lab_server(folder, folder / "notebooks") as started:
        yield started


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def opened(driver, server):
    """The notebook with the widget, once for all tests: each goes on where the one before has ended."""
    page = Notebook(driver, server, "labels.ipynb")
    page.run_all()
    return page


@pytest.fixture
def page(opened):
    """The notebook; whatever is done in the widget, no cell may change."""
    before = opened.cells
    assert len(before) == 4
    yield opened
    assert opened.cells == before


def saved(folder, name="labels"):
    """What is on disk: pattern → letter, and the box."""
    path = folder / "notebooks" / f"{name}.json"
    if not path.exists():
        return {}, None
    content = json.loads(path.read_text())
    return {row["pattern"]: row["label"][0] for row in content["labels"]}, content["box"]


def ready(page, number):
    """Wait until the next pictures are there."""
    wait_for(f"{number} pictures ahead", lambda: int(page.said("ahead")) >= number)


def test_sixty_keys_at_30_ms_label_sixty_patterns_each_the_right_one(page, folder):
    rng = np.random.default_rng(3)
    page.click(".annotation-facts")
    for _attempt in range(4):  # where others keep the machine from painting, a key is ignored rather than misplaced
        ready(page, 60)
        before, ignored = saved(folder)[0], int(page.said("ignored") or 0)
        start = int(page.said("position"))
        keys = "".join(rng.choice(list("snu"), 60))
        page.type(keys, pause=0.03)
        page.wait_until_saved()
        labels = {pattern: letter for pattern, letter in saved(folder)[0].items() if pattern not in before}
        ignored = int(page.said("ignored") or 0) - ignored
        assert len(labels) + ignored == 60
        assert list(labels) == ORDER[start : start + len(labels)].tolist()
        if not ignored:
            break
    assert "".join(labels.values()) == keys
    said = {int(pattern): label for pattern, label in page.kernel("widget.labels").items()}
    assert said == {pattern: NAMES[letter] for pattern, letter in saved(folder)[0].items()}
    assert f"{len(said)}" == page.said("saved")
    with open_stack(folder / "notebooks" / "many.cxi") as stack:
        assert {
            judged.labeller for judged in LabelsFile(folder / "notebooks" / "labels.json", stack).labels.values()
        } == {"anna"}


def test_what_would_delete_cells_does_nothing_here(page, folder):
    before = saved(folder)
    page.click(".annotation-facts")
    page.type("ddxab", pause=0.03)
    assert page.said("mode") == "box"
    page.type(["b", "d", "d", Keys.ENTER, "x", "a", "v"], pause=0.03)
    page.click("button")  # the first one: single
    page.type("ddxa", pause=0.03)
    page.wait_until_saved()
    assert page.said("mode") == "label"
    labels, box = saved(folder)
    assert (len(labels), box) == (len(before[0]) + 1, None)


def test_a_key_for_a_pattern_that_nobody_has_seen_is_ignored(page, folder):
    ready(page, 10)
    before, position = saved(folder)[0], int(page.said("position"))
    ignored = int(page.said("ignored") or 0)
    five_keys = (
        "const widget = document.querySelector('.annotation');"
        "for (let key = 0; key < 5; key += 1)"
        "  widget.dispatchEvent(new KeyboardEvent('keydown', {key: 's', repeat: arguments[0], bubbles: true}));"
    )
    page.script(five_keys, True)  # held down: not one
    page.script(five_keys, False)  # faster than any screen: only the first
    page.wait_until_saved()
    assert int(page.said("ignored")) == ignored + 4
    assert list(saved(folder)[0]) == [*before, ORDER[position]]


def test_back_again_and_undo(page, folder):
    ready(page, 10)
    page.click(".annotation-facts")
    position = int(page.said("position"))
    before = saved(folder)[0]
    for key in "sn":
        wait_for("a pattern", lambda: page.said("pattern"))
        page.type(key)
    wait_for("the next one", lambda: page.said("position") == str(position + 2))
    page.type([Keys.ARROW_LEFT, Keys.ARROW_LEFT])
    wait_for("the pattern before", lambda: page.said("pattern") == str(ORDER[position]))
    assert "single" in page.text(".annotation-facts")
    page.type("u")
    page.wait_until_saved()
    assert saved(folder)[0] == {**before, int(ORDER[position]): "u", int(ORDER[position + 1]): "n"}
    for undone in ({int(ORDER[position]): "s", int(ORDER[position + 1]): "n"}, {int(ORDER[position]): "s"}, {}):
        page.type("z")
        page.wait_until_saved()
        assert saved(folder)[0] == before | undone


def edges_on_disk(folder):
    """First row, row behind, first column, column behind of the user's box; nothing without one."""
    box = saved(folder)[1]
    return box and [*box["rows"], *box["columns"]]


def test_the_mouse_draws_a_box_and_drags_corners_edges_and_body(page, folder):
    page.click(".annotation-facts")
    page.type("b")
    wait_for("the positives added up", lambda: "sum of the positives" in page.text())
    assert "proposed" in page.text(".annotation-facts")
    assert edges_on_disk(folder) is None
    for start, stop, edges in (
        ((8.5, 1.5), (8.5, 1.5), None),  # a click is no box
        ((2.5, 1.5), (6.5, 3.5), [2, 7, 1, 4]),  # outside the proposed box: a new one
        ((7, 4), (9, 13), [2, 9, 1, 13]),  # bottom right corner
        ((2, 1), (1, 4), [1, 9, 4, 13]),  # top left corner
        ((5, 8), (6, 6), [2, 10, 2, 11]),  # body
        ((5, 11), (5, 20), [2, 10, 2, 20]),  # right edge
        ((5, 10), (11, 23), [4, 12, 6, 24]),  # body, not beyond the picture
    ):
        page.drag(start, stop, SHAPE)
        page.wait_until_saved()
        assert edges_on_disk(folder) == edges
    assert page.kernel("__import__('dataclasses').astuple(widget.box)") == edges
    assert "drawn by you" in page.text(".annotation-facts")
    page.type("b")


def test_the_keyboard_is_enough(page, folder):
    page.type([Keys.TAB])
    page.script("document.activeElement.blur(); jupyterapp.commands.execute('notebook:enter-command-mode')")
    wait_for("the focus on the widget", lambda: page.has_focus() or page.type([Keys.TAB]))
    page.type([Keys.TAB, "d", "d", "x", "a"])  # on a button, too, keys are not JupyterLab's
    page.type([Keys.TAB], held=[Keys.SHIFT])
    assert page.has_focus()
    ready(page, 10)
    position = int(page.said("position"))
    page.type("n")
    wait_for("the next one", lambda: page.said("position") == str(position + 1))
    page.type("b")
    wait_for("the box", lambda: page.said("mode") == "box")
    page.wait_until_saved()
    page.type("p")  # whatever was drawn before: the proposal
    page.wait_until_saved()
    assert edges_on_disk(folder) is None
    top, bottom, left, right = page.kernel("__import__('dataclasses').astuple(widget.box)")
    page.type([Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT])
    page.type([Keys.ARROW_UP, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT], held=[Keys.SHIFT])
    page.wait_until_saved()
    assert edges_on_disk(folder) == [top + 1, bottom, left + 2, right - 1]
    page.type("m")
    wait_for("the box over a pattern", lambda: page.said("pattern") == str(ORDER[position + 1]))
    page.type([Keys.PAGE_DOWN])
    wait_for("the box over the next one", lambda: page.said("pattern") == str(ORDER[position + 2]))
    page.type("zb")
    page.wait_until_saved()
    assert edges_on_disk(folder) == [top + 1, bottom, left + 2, right]
    assert page.said("mode") == "label"
    assert saved(folder)[0][int(ORDER[position])] == "n"


@pytest.fixture(scope="module")
def lesson(folder):
    """Notebook 03 in a run on a small twin that is divided into sets."""
    data, run = folder / "twin.cxi", folder / "run"
    simulate(data, patterns=120, manual_fraction=0.3, seed=5, outside=(2, 6), processes=1)
    profile = load_profile(TINY)
    browser.mark(run, profile)
    with open_stack(data) as stack:
        write_csv(run / "sets.csv", split(labels_of(stack), profile.dataset, seed=1))
    notebook = nbformat.read(ROOT / "notebooks" / "03_annotation.ipynb", as_version=4)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for name, value in {"profile": TINY, "results": run, "data": data, "labeller": "anna"}.items():
        parameters.source = re.sub(rf"^{name} = .*$", f"{name} = {str(value)!r}", parameters.source, flags=re.MULTILINE)
    nbformat.write(notebook, folder / "notebooks" / "lesson.ipynb")
    return run


def test_notebook_03_is_opened_labelled_and_drawn_in(driver, server, lesson):
    page = Notebook(driver, server, "lesson.ipynb")
    page.run_all()
    page.wait_for_kernel()
    cells = page.cells
    assert len(cells) == len(nbformat.read(ROOT / "notebooks" / "03_annotation.ipynb", as_version=4).cells)
    page.click(".annotation-facts")
    wanted = {}
    for _ in range(60):
        pattern = int(wait_for("a pattern on screen", lambda: page.said("pattern")))
        wanted[pattern] = "snu"[pattern % 3]
        page.type(wanted[pattern])
    page.type("b")
    wait_for("the box", lambda: page.said("mode") == "box")
    page.wait_until_saved()
    top, bottom, left, right = page.kernel("__import__('dataclasses').astuple(widget.box)")
    for start, stop in (((bottom, right), (bottom + 7, right + 12)), ((bottom + 7, left), (bottom + 7, left - 5))):
        page.drag(start, stop, (123, 240))
        page.wait_until_saved()
    content = json.loads((lesson / "annotation.json").read_text())
    assert {row["pattern"]: row["label"][0] for row in content["labels"] + content["repeats"]} == wanted
    assert {row["labeller"] for row in content["labels"]} == {"anna"}
    assert (content["box"]["rows"], content["box"]["columns"]) == ([top, bottom + 7], [left - 5, right + 12])
    assert page.kernel("widget.labels") == {str(row["pattern"]): row["label"] for row in content["labels"]}
    assert page.kernel("__import__('dataclasses').astuple(widget.box)") == [top, bottom + 7, left - 5, right + 12]
    assert page.cells == cells
    sets = pd.read_csv(lesson / "sets.csv")
    assert not set(wanted) & set(sets.loc[sets["set"] == "test", "pattern"])


@pytest.mark.whole
def test_a_dead_kernel_is_seen_and_what_was_saved_is_there_after_a_restart(driver, server, folder):
    killed = Notebook(driver, server, "killed.ipynb")
    killed.run_all()
    cells = killed.cells
    ready(killed, 80)
    process = killed.kernel("__import__('os').getpid()")

    def kill_in_the_middle():
        wait_for("some labels", lambda: len(saved(folder, "killed")[0]) >= 20)
        os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill_in_the_middle)
    killed.click(".annotation-facts")
    killer.start()
    killed.type("s" * 100, pause=0.03)
    killer.join()
    wait_for("NOT SAVED", lambda: "NOT SAVED" in killed.text(".annotation-alarm"))
    shown = int(killed.said("saved"))
    open_changes = int(killed.said("open"))
    assert shown > 0
    assert open_changes > 0
    position = killed.said("position")
    killed.script("document.querySelector('.annotation').dispatchEvent(new KeyboardEvent('keydown', {key: 's'}))")
    assert (killed.said("position"), killed.said("open")) == (position, str(open_changes))  # no label for nobody

    on_disk = saved(folder, "killed")[0]
    assert shown <= len(on_disk) < 100
    assert on_disk == dict.fromkeys(ORDER[: len(on_disk)].tolist(), "s")
    killed.confirm_restart()
    killed.run_all()
    assert killed.said("saved") == str(len(on_disk))
    assert killed.said("position") == str(len(on_disk))
    assert "NOT SAVED" not in killed.text()
    assert killed.cells == cells

    killed.click(".annotation-facts")  # and without a key pressed, as long as somebody is at work here
    os.kill(killed.kernel("__import__('os').getpid()"), signal.SIGKILL)
    wait_for("NOT SAVED", lambda: "NOT SAVED" in killed.text(".annotation-alarm"))
