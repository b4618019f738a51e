import pytest
import torch

from helpers.errors import NetworkFileError
from helpers.family import Family
from helpers.training import is_ultralytics, load_ultralytics
from helpers.training.ultralytics_networks import described

CPU = torch.device("cpu")


def test_only_networks_that_darknet_lacks_are_ultralytics():
    names = ("yolov2-jet-log", "yolov3-jet-log", "yolo11n-jet-log")
    assert [is_ultralytics(Family.from_name(name)) for name in names] == [False, False, True]


def test_a_checkpoint_of_another_kind_is_named(tmp_path):
    torch.save({"weights": {}}, tmp_path / "other.safetensors")
    with pytest.raises(NetworkFileError, match=r"other\.safetensors"):
        load_ultralytics(tmp_path / "other.safetensors", CPU)


@pytest.mark.parametrize(("model", "scale"), [("yolo11n.yaml", "n"), ("yolo11x.yaml", "x"), ("yolov8s.yaml", "s")])
def test_a_description_is_ultralytics_own_at_the_scale_of_the_name(model, scale):
    found = described(model)
    assert (found["scale"], found["yaml_file"]) == (scale, model)
    assert scale in found["scales"]


@pytest.mark.parametrize("model", ["yolo11n", "yolo0n.yaml", "../yolo11n.yaml", "yolo11n.pt", None, {"nc": 1}])
def test_a_model_that_the_package_has_not_is_refused(model):
    with pytest.raises(ValueError, match="ultralytics has no model"):
        described(model)
