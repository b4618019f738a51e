"""The live page: what it shows is what was scored, and drawing is rare."""

import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from helpers.classification import OnlineClassification, OnlinePage, latest_figure, rates
from helpers.classification.online.page import EACH_S
from helpers.classification.online.scoring import Batch, Tally


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
