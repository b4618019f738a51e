import pytest

from helpers.errors import ProfileError
from helpers.family import PAPER_FAMILIES, REPRESENTATIONS, Family, Representation


@pytest.mark.parametrize("name", [*PAPER_FAMILIES, "yolo11n-jet-linear"])
def test_a_name_survives_reading_and_writing(name):
    assert str(Family.from_name(name)) == name


def test_the_four_representations_are_those_of_figure_5_in_its_order():
    assert [str(item) for item in REPRESENTATIONS] == ["jet-linear", "jet-log", "gray-linear", "gray-log"]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("yolov2-jet-linear", "YOLOv2 color, linear"),
        ("yolov2-gray-log", "YOLOv2 grayscale, log"),
        ("yolo11n-jet-linear", "YOLO11n color, linear"),
        ("unknown-gray-linear", "unknown grayscale, linear"),
    ],
)
def test_titles_are_in_the_words_of_the_paper(name, title):
    assert Family.from_name(name).title == title


@pytest.mark.parametrize("name", ["", "yolov2", "yolov2-jet", "-jet-linear", "yolov2-jet-linear-x"])
def test_a_name_of_another_form_is_refused_and_repeated(name):
    with pytest.raises(ProfileError, match=rf"network-colour-scale .*, got {name!r}"):
        Family.from_name(name)


def test_a_wrong_colour_is_refused():
    with pytest.raises(ProfileError, match="colour must be one of jet, gray, got 'red'"):
        Family.from_name("yolov2-red-linear")


def test_a_wrong_scale_is_refused():
    with pytest.raises(ProfileError, match="scale must be one of linear, log, got 'sqrt'"):
        Representation("jet", "sqrt")
