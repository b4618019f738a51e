import os
import time
from dataclasses import replace

import pytest
import torch

from helpers.errors import ProfileError
from helpers.family import Family
from helpers.training import TrainingSettings, table_families, train_families
from helpers.training.families import train_family, visible_gpus
from tests.training.test_darknet_training import checkpoint_bytes, plan

SETTINGS = TrainingSettings(size=64, width=0.05, iterations=4, checkpoint_every=2, batch=4, learning_rate=0.01, seed=3)
NAMES = ("yolov2-gray-linear", "yolov2-jet-log", "yolov3-gray-linear")


def plans(folder, **options):
    return {folder / name: plan(SETTINGS, Family.from_name(name), consensus=[4], **options) for name in NAMES}


@pytest.mark.whole
def test_families_trained_side_by_side_have_the_bytes_of_those_trained_alone(tmp_path):
    together = train_families(plans(tmp_path / "together"), processes=2)
    assert [artefacts.path.name for artefacts in together] == list(NAMES)
    for (folder, alone), artefacts in zip(plans(tmp_path / "alone").items(), together, strict=True):
        train_family(alone, folder)
        assert checkpoint_bytes(artefacts.path) == checkpoint_bytes(folder)
        assert (artefacts.path / "loss.csv").read_bytes() == (folder / "loss.csv").read_bytes()
        assert (artefacts.path / "scores_validation.csv").read_bytes() == (
            folder / "scores_validation.csv"
        ).read_bytes()


@pytest.mark.whole
def test_trained_families_are_left_as_they_are(tmp_path):
    train_families(plans(tmp_path), processes=2)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    train_families(plans(tmp_path), processes=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == written


def test_the_error_of_one_family_is_raised(tmp_path):
    wrong = plans(tmp_path)
    folder, first = next(iter(wrong.items()))
    wrong[folder] = replace(first, family=Family.from_name("yolo11n-gray-linear"))
    with pytest.raises(ProfileError, match="width"):
        train_families(wrong, processes=2)


def gpu_of(plan, folder):
    """Stands for a training, which needs a GPU: says which one it would see."""
    time.sleep(0.5)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize(("given", "names"), [(None, ["0", "1"]), ("4, GPU-8f,6", ["4", "GPU-8f"]), ("", ["0", "1"])])
def test_gpus_are_called_as_the_scheduler_calls_them(monkeypatch, given, names):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == names


def test_each_of_several_gpus_trains_families_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr("helpers.training.families.train_family", gpu_of)
    cuda = {folder: replace(given, device=torch.device("cuda")) for folder, given in plans(tmp_path).items()}
    found = train_families(cuda)
    assert len(found) == 3
    assert {name for _, name in found} == {"4", "6"}
    assert len(set(found)) == 2, "a process has changed its GPU"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6"


def test_one_gpu_trains_families_in_this_process(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    monkeypatch.setattr("helpers.training.families.train_family", gpu_of)
    cuda = {folder: replace(given, device=torch.device("cuda")) for folder, given in plans(tmp_path).items()}
    assert {process for process, _ in train_families(cuda)} == {os.getpid()}


def test_the_table_tells_the_start_and_the_end_of_each_loss(tmp_path):
    (folder, first), *_ = plans(tmp_path).items()
    artefacts = train_family(first, folder)
    loss = artefacts.loss()
    (row,) = table_families({NAMES[0]: artefacts}).to_dict("records")
    assert row == {
        "family": NAMES[0],
        "start": "random weights",
        "images_seen": 16,
        "first_loss": loss["loss"][0],
        "last_average_loss": loss["average_loss"][3],
    }
