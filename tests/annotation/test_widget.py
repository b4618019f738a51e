import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.annotation import Box, annotate, widget
from helpers.annotation.queue import Queue
from helpers.rendering import colour_table

STATIC = Path(widget.__file__).parent


@pytest.fixture
def widget(to_label, tmp_path):
    return annotate(to_label, tmp_path / "labels.json", Queue.of(np.arange(12)), labeller="anna", positives=[1, 4])


def picture(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def test_a_message_of_the_page_is_answered_and_saved(widget, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(widget, "send", lambda content, buffers: sent.append((content, buffers)))
    for message in (
        {"kind": "frames", "positions": [3]},
        {"kind": "label", "position": 3, "pattern": 3, "label": "single", "view": "x", "revision": 2},
        {"kind": "box", "edges": [0, 4, 0, 5], "view": "x", "revision": 3},
    ):
        widget._handle_custom_msg(message, [])  # what Jupyter calls
    assert [content["kind"] for content, _ in sent] == ["frames", "labelled", "boxed"]
    assert (widget.labels, widget.box) == ({3: "single"}, Box(0, 4, 0, 5))
    assert '"single"' in (tmp_path / "labels.json").read_text()


def test_making_and_showing_the_widget_writes_nothing(widget, tmp_path):
    widget._repr_mimebundle_()
    assert [path.name for path in tmp_path.iterdir()] == ["to_label.cxi"]


def test_static_pages_get_a_picture_with_the_box(widget):
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "0 patterns labelled in labels.json; proposed box: rows 2 to" in data["text/plain"]
    shown = picture(base64.b64decode(data["image/png"]))
    assert shown.shape[1] == 800
    widget._session.file.draw(Box(0, 5, 0, 5))
    assert "drawn box: rows 0 to 5, columns 0 to 5" in repr(widget)
    assert (picture(widget.preview()) != shown).any()


def test_without_positives_the_picture_is_that_of_the_first_pattern(to_label, tmp_path):
    widget = annotate(to_label, tmp_path / "labels.json", Queue.of(np.array([5])), labeller="anna")
    assert repr(widget) == "AnnotationWidget(0 patterns labelled in labels.json; no box)"
    assert picture(widget.preview()).shape[1] == 800


def test_the_page_gets_the_colours_of_the_networks_images(widget):
    assert widget.colour_tables["jet"] == colour_table("jet").ravel().tolist()
    assert widget.shape == [6, 8]


def test_the_page_keeps_keys_from_jupyterlab_and_needs_no_network(widget):
    script = "\n".join((STATIC / name).read_text() for name in ("box_drawing.js", "widget.js"))
    assert widget._esm == script
    assert 'setAttribute("data-lm-suppress-shortcuts", "true")' in script
    addresses = re.findall(r"https?://[^\"'\s]+", script + (STATIC / "widget.css").read_text())
    assert addresses == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"\bimport\b", script)
