from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from helpers.errors import ProfileError
from helpers.system import STRICT, validated


@dataclass(frozen=True, config=STRICT)
class Network:
    size: Annotated[int, Field(gt=0)]
    decay: float = 0.5
    steps: tuple[int, ...] = ()
    band: tuple[int, int] = (1, 2)
    resize: Literal["stretch", "letterbox"] = "stretch"

    def __post_init__(self):
        if self.decay > self.size:
            raise ValueError(f"decay must be at most size, got {self.decay}")


@dataclass(frozen=True, config=STRICT)
class Settings:
    networks: dict[str, Network]
    flip: bool = True


def read(**values):
    mapping = {"networks": {"yolov2": {"size": 3} | values.pop("network", {})}} | values
    return validated(Settings, mapping, error=ProfileError, source="mine.yaml")


def test_plain_values_become_dataclasses_and_lists_tuples():
    found = read(network={"steps": [4, 5], "decay": 1}, flip=False)
    assert found == Settings({"yolov2": Network(3, 1.0, (4, 5))}, flip=False)
    assert isinstance(found.networks["yolov2"].decay, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": 1}, "unknown key colour; known are networks, flip"),
        ({"network": {"sise": 1}}, "unknown key networks.yolov2.sise; known are size, decay, steps, band, resize"),
        ({"networks": {"a": {}}}, "missing key networks.a.size"),
        ({"networks": 3}, "networks must be a mapping of keys to values, got 3"),
        ({"networks": {"a": 3}}, "networks.a must be a mapping of keys to values, got 3"),
        ({"network": {"size": 0}}, "networks.yolov2.size must be greater than 0, got 0"),
        ({"network": {"size": "3"}}, "networks.yolov2.size must be a whole number, got '3'"),
        ({"network": {"size": True}}, "networks.yolov2.size must be a whole number, got True"),
        ({"network": {"size": 3.5}}, "networks.yolov2.size must be a whole number, got 3.5"),
        (
            {"network": {"decay": "5e-4"}},
            "networks.yolov2.decay must be a number, got '5e-4' (YAML needs a dot and a sign in an exponent: 1.0e-4)",
        ),
        ({"network": {"decay": float("inf")}}, "networks.yolov2.decay must be a finite number, got inf"),
        ({"network": {"decay": 9.0}}, "networks.yolov2: decay must be at most size, got 9.0"),
        ({"network": {"steps": "ab"}}, "networks.yolov2.steps must be a list, got 'ab'"),
        ({"network": {"steps": [1, "b"]}}, "networks.yolov2.steps.1 must be a whole number, got 'b'"),
        ({"network": {"band": [1, 2, 3]}}, "networks.yolov2.band must be a shorter list, got [1, 2, 3]"),
        ({"network": {"resize": "crop"}}, "networks.yolov2.resize must be 'stretch' or 'letterbox', got 'crop'"),
        ({"flip": 1}, "flip must be true or false, got 1"),
        ({"two\nlines": 1}, "unknown key two lines; known are networks, flip"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_and_key(values, message):
    with pytest.raises(ProfileError) as caught:
        read(**values)
    assert str(caught.value) == f"mine.yaml: {message}; correct it"


@pytest.mark.parametrize("content", [None, [1], "text", {"flip": {1, 2}}])
def test_what_is_no_mapping_of_plain_values_is_refused(content):
    with pytest.raises(ProfileError, match=r"^mine\.yaml: (must hold a mapping|holds other than plain values)"):
        validated(Settings, content, error=ProfileError, source="mine.yaml")
