import io
import json

import numpy as np
import pytest
from PIL import Image

from helpers.em import ClassPicker
from helpers.em.class_choice import read_choice


@pytest.fixture
def picker(tmp_path):
    pictures = np.random.default_rng(1).random((2, 3, 9, 9))
    pictures[:, :, 4, 4] = np.nan
    titles = [["0: 5 patterns", "1: 7 patterns", "2: 0 patterns"]] * 2
    return ClassPicker(pictures, titles, [[1], [0, 2]], path=tmp_path / "em" / "choice.json", key="abc")


def test_it_starts_with_the_choice_and_writes_nothing(picker, tmp_path):
    assert picker.choice == [[1], [0, 2]]
    assert picker.titles == ("run 1", "run 2")
    assert not (tmp_path / "em").exists()
    assert repr(picker) == "ClassPicker([[1], [0, 2]])"


def test_every_tick_is_on_disk_at_once_as_a_persons(picker, tmp_path):
    path = tmp_path / "em" / "choice.json"
    picker.ticks[0][2].value = True
    assert read_choice(path, key="abc", classes=3) == ([[1, 2], [0, 2]], "user")
    picker.ticks[1][0].value = False
    assert json.loads(path.read_text())["runs"] == [[1, 2], [2]]
    assert [file.name for file in path.parent.iterdir()] == ["choice.json"]


def test_each_class_has_its_picture_and_title(picker):
    cells = picker.children[1].children
    assert [cell.children[1].description for cell in cells] == ["0: 5 patterns", "1: 7 patterns", "2: 0 patterns"]
    picture = np.asarray(Image.open(io.BytesIO(cells[0].children[0].value)))
    assert picture.shape == (9, 9, 3)
    assert tuple(picture[4, 4]) == (187, 187, 187)  # outside the band
