"""The live page: what it shows is what was scored, and drawing is rare."""

import io
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from helpers.classification import OnlineClassification, latest_figure, watch
from helpers.classification.online.command import rates
from helpers.classification.online.page import EACH_S, OnlinePage
from helpers.classification.online.scoring import Batch, Tally
from helpers.system import SPARSE


class Clock:
    """Time that passes when it is told to, so that a slow machine draws no less."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def online(twin, model, tmp_path):
    given = {"log": tmp_path / "log.csv", "threshold": 0.0, "clock": Clock()}
    with OnlineClassification(shutil.copy(twin, tmp_path), model, **given) as found:
        yield found


def scored(online):
    """Score all patterns of a file that is whole at once."""
    end = time.monotonic() + 60
    while online.step() is None and time.monotonic() < end:
        online.clock.now += 0.5
    while online.step() is not None:
        pass


def test_a_page_shows_rates_and_pictures_now_and_then(online):
    page = OnlinePage(online)
    assert latest_figure(online) is None
    page.update()
    assert page.line.value == rates(online)
    assert [bool(picture.value) for picture in page.pictures] == [False, True, False]
    empty = page.pictures[1].value
    scored(online)
    online.clock.now = EACH_S - 0.01
    page.update()
    assert page.pictures[1].value == empty
    online.clock.now = EACH_S + 0.5
    page.update()
    assert page.line.value == rates(online)
    assert page.pictures[1].value != empty
    for picture in page.pictures:
        with Image.open(io.BytesIO(picture.value)) as shown:
            assert len(np.unique(np.asarray(shown).reshape(-1, 4), axis=0)) > 10


def test_the_latest_single_hits_are_named_newest_first(online):
    scored(online)
    figure = latest_figure(online)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"twin.cxi {hit.pattern}: {hit.score:.2f}" for hit in reversed(online.latest)]
    assert titles[0].startswith(f"twin.cxi {online.total.scored - 1}:")


def test_history_has_a_row_a_second(online):
    assert len(online.history()) == 0
    scored(online)
    first = online.total.scored
    history = online.history()
    assert history["scored"].sum() == history["selected"].sum() == first
    assert history["second"].tolist() == [0]
    online.clock.now += 2
    online.batches.append(Batch(online.clock(), Tally(3, 1, 2, 1), np.array([0.1, 0.2, 0.6, 0.2]), {}, "a.cxi"))
    history = online.history()
    assert list(history) == ["second", "scored", "hits", "selected", "delay"]
    assert history["scored"].tolist() == [first, 0, 3]
    assert history.iloc[2, 1:].tolist() == [3, 2, 1, 0.2]
    assert np.isnan(history["delay"][1])


@pytest.mark.parametrize("sparse", ["1", ""])
def test_watching_scores_everything_with_a_page_or_without(online, monkeypatch, capsys, sparse):
    monkeypatch.setenv(SPARSE, sparse)
    updates = []
    monkeypatch.setattr(OnlinePage, "update", lambda page: updates.append(page))
    online.clock = time.monotonic
    watch(online, stop_after=1.5)
    assert online.total.scored == 44  # 40 in the size range and 4 outside
    assert bool(updates) == (not sparse)
    assert ("OnlinePage" in capsys.readouterr().out) == (not sparse)


def test_a_stopped_cell_ends_the_watch(online, monkeypatch, capsys):
    monkeypatch.setenv(SPARSE, "1")
    monkeypatch.setattr(online, "step", lambda: signal.raise_signal(signal.SIGINT))
    watch(online, stop_after=None)
    assert capsys.readouterr().out == "stopped\n"
