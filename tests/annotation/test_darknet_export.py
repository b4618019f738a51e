import numpy as np
import pandas as pd
import pytest
import torch

from helpers.annotation import Box, export_darknet, label_line
from helpers.errors import BoxError, LabelsError
from helpers.family import Representation
from helpers.patterns import open_stack
from helpers.rendering import render
from helpers.rendering.images import png_to_network_input
from helpers.training import Examples

BOX = Box(0, 80, 60, 180)
LINEAR = Representation("jet", "linear")


@pytest.fixture(scope="module")
def sets():
    names = ["training"] * 3 + ["validation"] * 2 + ["test", "unused"]
    return pd.DataFrame({"pattern": [7, 0, 12, 3, 4, 5, 6], "label": [1, 0, 1, 1, 0, 1, 1], "set": names}).astype(
        {"label": bool}
    )


@pytest.fixture(scope="module")
def exported(twin, sets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw images") / "darknet"
    with open_stack(twin) as stack:
        export_darknet(folder, stack, sets, BOX, representation=LINEAR)
    return folder


def label_path(path):
    """Where Darknet looks for the labels of a picture: src/data.c, fill_truth_detection; each first occurrence."""
    for find, replace in (("images", "labels"), ("JPEGImages", "labels"), ("raw", "labels"), (".jpg", ".txt"),
                          (".png", ".txt"), (".JPG", ".txt"), (".JPEG", ".txt")):  # fmt: skip
        path = path.replace(find, replace, 1)
    return path


def read_boxes(path):
    """The boxes that Darknet reads: whole lines of five numbers."""
    return [[float(value) for value in line.split()] for line in path.read_text().splitlines()]


def test_darknet_finds_every_picture_of_training_and_validation_with_its_boxes(exported, sets, twin):
    options = dict(line.split(" = ") for line in (exported / "single_hit.data").read_text().splitlines())
    assert options["classes"] == "1"
    assert (exported / options["names"]).read_text() == "single_hit\n"
    assert (exported / options["backup"]).is_dir()
    with open_stack(twin) as stack:
        examples = Examples.from_stack(stack, sets, BOX)
    for name, key in (("training", "train"), ("validation", "valid")):
        pictures = (exported / options[key]).read_text().splitlines()
        wanted = sets[sets["set"] == name]
        assert [int(picture[-10:-4]) for picture in pictures] == wanted["pattern"].tolist()
        for picture, positive in zip(pictures, wanted["label"], strict=True):
            assert (exported / picture).is_file()
            boxes = read_boxes(exported / label_path(picture))
            assert len(boxes) == positive
            if positive:
                np.testing.assert_allclose(boxes[0], [0, *examples.training_boxes[0]], atol=1e-6)


def test_the_test_set_is_not_touched(exported):
    pictures = {path.name for path in exported.rglob("*.png")}
    assert pictures == {f"pattern_{pattern:06d}.png" for pattern in (7, 0, 12, 3, 4)}


def test_a_picture_gives_the_network_what_training_gives_it(exported, twin):
    with open_stack(twin) as stack:
        ours = render(stack.read(np.array([7])), LINEAR, 64)[0]
    loaded = png_to_network_input(exported / "training" / "pattern_000007.png", 64)
    torch.testing.assert_close(ours, torch.from_numpy(loaded), atol=1e-5, rtol=0)


def test_the_line_of_a_positive():
    assert label_line(Box(0, 61, 60, 180), (122, 240)) == "0 0.500000 0.250000 0.500000 0.500000\n"


def test_sets_without_training_or_a_box_beyond_the_patterns_write_nothing(twin, sets, tmp_path):
    with open_stack(twin) as stack:
        with pytest.raises(LabelsError, match="no training pattern"):
            export_darknet(tmp_path, stack, sets[sets["set"] == "test"], BOX, representation=LINEAR)
        with pytest.raises(BoxError, match="row 124"):
            export_darknet(tmp_path, stack, sets, Box(0, 124, 0, 9), representation=LINEAR)
    assert list(tmp_path.iterdir()) == []
