import base64
import html
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from helpers import annotation
from helpers.annotation import Box, box_widget, held_share, propose_box, read_box, sum_patterns, write_box
from helpers.errors import BoxError

SHAPE = (123, 240)
STATIC = Path(annotation.__file__).with_name("static")


@pytest.fixture
def positives():
    """Rings around the centre of the paper's crop, as small spheres scatter."""
    rows, columns = np.mgrid[:123, :240]
    distance = np.hypot(rows + 0.5, columns - 119.5)
    expected = 8 * np.sinc(distance / 25) ** 2 / (1 + distance / 25) ** 2 + 1e-4
    return np.random.default_rng(4).poisson(expected, (5, *SHAPE)).astype(np.uint16)


@pytest.fixture
def widget(positives, tmp_path):
    return box_widget(positives, Box(10, 50, 60, 180), tmp_path / "box.json")


def test_relative_box_is_what_darknets_label_file_holds():
    assert Box(0, 61, 60, 180).relative((122, 240)) == (0.5, 0.25, 0.5, 0.5)


@pytest.mark.parametrize("edges", [(5, 5, 0, 9), (0, 9, 7, 6), (-1, 9, 0, 9), (0, 9.5, 0, 9), (0, True, 0, 9)])
def test_impossible_boxes_are_refused(edges):
    with pytest.raises(BoxError, match=re.escape(str(edges[1] if edges[1] != 9 else edges[0]))):
        Box(*edges)


def test_box_beyond_the_pattern_is_refused():
    with pytest.raises(BoxError, match="row 124 and column 240, but a pattern has 123 rows and 240 columns"):
        Box(0, 124, 0, 240).relative(SHAPE)


def test_numpy_integers_are_whole_pixels():
    assert Box(*np.array([1, 5, 2, 6])) == Box(1, 5, 2, 6)


def smallest_by_trying_all(counts, share):
    """Area of the smallest rectangle, and the most that one of this area holds."""
    summed = sum_patterns(counts)
    spans = [list(itertools.combinations(range(length + 1), 2)) for length in summed.shape]
    boxes = [Box(*rows, *columns) for rows in spans[0] for columns in spans[1]]
    ranks = [
        ((box.row_stop - box.row_start) * (box.column_stop - box.column_start), -held_share(summed, box))
        for box in boxes
    ]
    return min(rank for rank in ranks if -rank[1] >= share - 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.uint16, st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6)), elements=st.integers(0, 9)
    ),
    st.sampled_from([0.1, 0.5, 0.7, 0.9, 1.0]),
)
def test_proposed_box_is_the_smallest_of_all_rectangles(counts, share):
    if counts.sum() == 0:
        with pytest.raises(BoxError, match="without a photon"):
            propose_box(counts, share)
        return
    box = propose_box(counts, share)
    area = (box.row_stop - box.row_start) * (box.column_stop - box.column_start)
    assert (area, -held_share(sum_patterns(counts), box)) == pytest.approx(smallest_by_trying_all(counts, share))


def test_proposed_box_holds_its_share_of_the_paper_sized_patterns(positives):
    box = propose_box(positives, 0.9)
    assert 0.9 <= held_share(sum_patterns(positives), box) < 0.92
    assert box.row_start == 0
    assert abs(box.column_start + box.column_stop - 240) <= 4


def test_proposed_box_of_one_bright_rectangle_is_that_rectangle():
    counts = np.zeros((1, *SHAPE))
    counts[0, 20:31, 100:107] = 0.1
    assert propose_box(counts, 1.0) == Box(20, 31, 100, 107)


@pytest.mark.parametrize("share", [0, -0.5, 1.1, float("nan")])
def test_share_out_of_range_is_refused(positives, share):
    with pytest.raises(BoxError, match=re.escape(str(share))):
        propose_box(positives, share)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_box_comes_back_from_json(tmp_path_factory, data):
    rows, columns = (
        sorted(data.draw(st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True))) for length in SHAPE
    )
    path = tmp_path_factory.mktemp("box") / "new" / "box.json"
    write_box(path, Box(*rows, *columns), shape=SHAPE, source="proposed", share=0.9)
    assert read_box(path, shape=SHAPE) == Box(*rows, *columns)


def test_json_names_its_fields(tmp_path):
    write_box(tmp_path / "box.json", Box(0, 39, 84, 155), shape=SHAPE, source="user", share=0.5)
    assert json.loads((tmp_path / "box.json").read_text()) == {
        "rows": [0, 39],
        "columns": [84, 155],
        "shape": [123, 240],
        "source": "user",
        "share": 0.5,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"rows": [0, 9], "columns": [0, 9]}',
        '{"rows": [0], "columns": [0, 9], "shape": [9, 9]}',
        '{"rows": [0, 10], "columns": [0, 9], "shape": [9, 9]}',
        '{"rows": [0, "9"], "columns": [0, 9], "shape": [9, 9]}',
        '{"rows": [4, 4], "columns": [0, 9], "shape": [9, 9]}',
    ],
)
def test_files_without_a_box_are_named(tmp_path, text):
    (tmp_path / "box.json").write_text(text)
    with pytest.raises(BoxError, match=r"box\.json holds no box .* delete it"):
        read_box(tmp_path / "box.json")


def test_box_for_other_patterns_is_refused(tmp_path):
    write_box(tmp_path / "box.json", Box(0, 5, 0, 5), shape=(10, 10), source="user")
    with pytest.raises(
        BoxError, match=r"box\.json holds a box for patterns of 10 × 10 pixels, but these have 123 × 240"
    ):
        read_box(tmp_path / "box.json", shape=SHAPE)


def test_unknown_source_or_box_outside_is_not_written(tmp_path):
    with pytest.raises(BoxError, match="guess"):
        write_box(tmp_path / "box.json", Box(0, 5, 0, 5), shape=SHAPE, source="guess")
    with pytest.raises(BoxError, match="row 200"):
        write_box(tmp_path / "box.json", Box(0, 200, 0, 5), shape=SHAPE, source="user")
    assert not (tmp_path / "box.json").exists()


def test_making_and_showing_the_widget_writes_nothing(widget, tmp_path):
    widget._repr_mimebundle_()
    assert list(tmp_path.iterdir()) == []


def test_a_message_from_the_page_is_saved_and_echoed(widget, positives, tmp_path):
    widget.set_state({"edges": [0, 40, 80, 160], "revision": 7})
    assert read_box(tmp_path / "box.json", shape=SHAPE) == widget.box == Box(0, 40, 80, 160)
    assert widget.saved == 7
    saved = json.loads((tmp_path / "box.json").read_text())
    assert saved["source"] == "user"
    assert saved["share"] == widget.share == held_share(sum_patterns(positives), widget.box)


def test_a_change_in_python_is_saved_too(widget, tmp_path):
    widget.edges = [1, 2, 3, 4]
    assert read_box(tmp_path / "box.json") == Box(1, 2, 3, 4)


@pytest.mark.parametrize("edges", [[0, 0, 80, 160], [0, 124, 80, 160], [0, 40, 160, 80], [0, 40, 80], [0, 40, -1, 9]])
def test_an_impossible_box_from_the_page_is_neither_shown_nor_saved(widget, tmp_path, edges):
    with pytest.raises(traitlets.TraitError):
        widget.set_state({"edges": edges, "revision": 1})
    assert widget.box == Box(10, 50, 60, 180)
    assert widget.saved == 0
    assert list(tmp_path.iterdir()) == []


def test_a_change_that_cannot_be_written_is_not_echoed_as_saved(widget, tmp_path):
    (tmp_path / "box.json").mkdir()
    with pytest.raises(OSError, match=r"box\.json"):
        widget.set_state({"edges": [0, 40, 80, 160], "revision": 1})
    assert widget.saved == 0


def test_a_box_saved_before_comes_back(widget, positives, tmp_path):
    widget.edges = [1, 20, 30, 40]
    assert box_widget(positives, Box(10, 50, 60, 180), tmp_path / "box.json").box == Box(1, 20, 30, 40)


def test_static_pages_get_a_picture_with_the_box(widget):
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "rows 10 to 50" in data["text/plain"]
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
        shown = np.asarray(picture.convert("RGB"))
    assert shown.shape[1] == 800
    widget.edges = [0, 5, 0, 5]
    with Image.open(io.BytesIO(widget.preview())) as picture:
        assert (np.asarray(picture.convert("RGB")) != shown).any()


def test_picture_of_the_widget_has_one_pixel_per_detector_pixel(widget):
    head, _, body = widget.picture.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as picture:
        assert picture.size == (240, 123)


def test_page_keeps_keys_from_jupyterlab_and_needs_no_network(widget):
    script = (STATIC / "box_widget.js").read_text()
    assert widget._esm == script
    assert 'setAttribute("data-lm-suppress-shortcuts", "true")' in script
    assert script.count("event.stopPropagation()") == 2
    addresses = re.findall(r"https?://[^\"'\s]+", script + (STATIC / "box_widget.css").read_text())
    assert addresses == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"\bimport\b", script)


PAGE = """<!doctype html><meta charset="utf-8"><style>{css}</style><body><div id="widget"></div><pre id="log"></pre>
<script type="module">
{script}
const values = {values};
const listeners = {{}};
const log = [];
const outside = [];
const model = {{
  get: (name) => values[name],
  set: (name, value) => {{ values[name] = value; }},
  save_changes: () => log.push(JSON.stringify(values.edges)),
  on: (name, act) => {{ listeners[name] = act; }},
  off: () => {{}},
}};
SVGElement.prototype.setPointerCapture = () => {{}};  // made-up pointers cannot be captured
document.addEventListener("keydown", (event) => outside.push(event.key));
const stop = render({{ model, el: document.getElementById("widget") }});
const root = document.querySelector(".box-widget");
const svg = root.querySelector("svg");
const status = () => root.querySelector(".box-widget-status").textContent;
const pointer = (type, column, row) => {{
  const frame = svg.getBoundingClientRect();
  const [clientX, clientY] = [frame.left + column / 240 * frame.width, frame.top + row / 123 * frame.height];
  svg.dispatchEvent(new PointerEvent(type, {{ clientX, clientY, button: 0, bubbles: true, pointerId: 1 }}));
}};
const drag = (from, to) => {{
  pointer("pointerdown", ...from);
  for (let step = 1; step <= 10; step += 1)
    pointer("pointermove", from[0] + (to[0] - from[0]) * step / 10, from[1] + (to[1] - from[1]) * step / 10);
  pointer("pointerup", ...to);
}};
const press = (key, shiftKey = false, times = 1) => {{
  for (let time = 0; time < times; time += 1)
    root.dispatchEvent(new KeyboardEvent("keydown", {{ key, shiftKey, bubbles: true }}));
  root.dispatchEvent(new KeyboardEvent("keyup", {{ key, shiftKey, bubbles: true }}));
}};
const started = status();
drag([180, 50], [190, 60]);     // corner
drag([120, 30], [110, 25]);     // body
drag([50, 30], [30, 30]);       // left edge
drag([100, 20], [100, 20]);     // a click
drag([230, 110], [235, 120]);   // outside
press("ArrowRight", false, 3);
press("ArrowUp", true, 2);
press("d");
drag([100, 20], [400, 300]);    // beyond the picture
const saving = status();
setTimeout(() => {{
  const late = status();
  values.saved = values.revision;
  listeners["change:saved"]();
  const result = {{ log, started, saving, late, saved: status(), outside, focused: document.activeElement === root,
    suppresses: root.dataset.lmSuppressShortcuts }};
  document.getElementById("log").textContent = JSON.stringify(result);
}}, 2200);
</script>"""


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium on this machine: the page of the widget is not tried in a browser")
    return found


def in_the_browser(chromium, widget, folder):
    """What the page of the widget sends and shows under a person's drags and keys, without a kernel."""
    names = ("picture", "shape", "edges", "share", "file_name", "revision", "saved")
    page = PAGE.format(
        css=(STATIC / "box_widget.css").read_text(),
        script=(STATIC / "box_widget.js").read_text().replace("export default { render };", ""),
        values=json.dumps({name: getattr(widget, name) for name in names}),
    )
    (folder / "page.html").write_text(page)
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,700",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=6000", "--dump-dom", f"file://{folder}/page.html",
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    return json.loads(html.unescape(re.search(r'<pre id="log">(.*?)</pre>', dom, re.DOTALL)[1]))


def test_page_turns_drags_and_keys_into_one_message_each(chromium, widget, tmp_path):
    seen = in_the_browser(chromium, widget, tmp_path)
    assert [json.loads(edges) for edges in seen["log"]] == [
        [10, 60, 60, 190],  # corner
        [5, 55, 50, 180],  # body
        [5, 55, 30, 180],  # left edge
        [5, 55, 33, 183],  # a held key
        [5, 53, 33, 183],  # Shift: the far corner
        [75, 123, 90, 240],  # not beyond the picture
    ]
    assert seen["outside"] == []
    assert (seen["focused"], seen["suppresses"]) == (True, "true")
    assert seen["started"] == f"rows 10 to 50, columns 60 to 180 · {100 * widget.share:.1f} % of the counts"
    assert seen["saving"] == "rows 75 to 123, columns 90 to 240 · saving …"
    assert seen["late"] == "rows 75 to 123, columns 90 to 240 · NOT SAVED: is the kernel running?"
    assert seen["saved"].endswith("saved to box.json")


def test_boxes_are_read_without_jupyter():
    command = "import sys, helpers.annotation; sys.exit(bool({'anywidget', 'matplotlib', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
