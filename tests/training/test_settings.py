import pytest

from helpers import ROOT
from helpers.errors import ProfileError
from helpers.family import Family
from helpers.training import TrainingSettings, is_ultralytics
from helpers.training.darknet_networks import _variant
from helpers.workbook import load_profile


def test_rate_of_yolo_voc_2_0_rises_tenfold_at_iteration_100():
    settings = TrainingSettings(size=416, learning_rate=1e-4, steps=[100, 25_000, 35_000], scales=[10, 0.1, 0.1])
    rates = {k: settings.learning_rate_at(k) for k in (1, 99, 100, 24_999, 25_000, 35_000)}
    assert rates == pytest.approx({1: 1e-4, 99: 1e-4, 100: 1e-3, 24_999: 1e-3, 25_000: 1e-4, 35_000: 1e-5})


def test_burn_in_rises_with_the_fourth_power():
    settings = TrainingSettings(size=608, learning_rate=1e-3, burn_in=1000)
    assert settings.learning_rate_at(500) == pytest.approx(1e-3 / 16)
    assert settings.learning_rate_at(1000) == 1e-3


def test_random_size_changes_every_ten_iterations_within_320_to_608():
    settings = TrainingSettings(size=608, random_size=True, seed=5)
    sides = [settings.side_at(k) for k in range(1, 2001)]
    assert set(sides) == set(range(320, 609, 32))
    assert all(len(set(sides[k : k + 10])) == 1 for k in range(0, 2000, 10))
    assert TrainingSettings(size=416).side_at(17) == 416


def test_settings_survive_their_mapping():
    settings = TrainingSettings(size=96, steps=(10,), scales=(0.1,), backbone="x")
    assert TrainingSettings.from_mapping(settings.to_mapping()) == settings


def test_checkpoints_end_with_the_last_iteration():
    assert TrainingSettings(size=96, iterations=300, checkpoint_every=100).checkpoints() == [100, 200, 300]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 96, "sise": 96}, "unknown key sise; known are size, width"),
        ({}, r"training settings: missing key size; correct it"),
        ({"size": 96, "batch": 10, "subdivisions": 4}, "multiple of subdivisions"),
        ({"size": 96, "steps": [10], "scales": []}, "one length"),
        ({"size": 96.5}, "size must be a whole number, got 96.5"),
        ({"size": 96, "learning_rate": 2}, "learning_rate must be less than or equal to 1, got 2"),
        ({"size": 96, "decay": "5e-4"}, r"decay must be a number, got '5e-4' \(YAML needs a dot"),
        ({"size": 96, "iterations": 150}, "multiple of checkpoint_every"),
        ({"size": 96, "resize": "crop"}, "resize must be 'stretch' or 'letterbox', got 'crop'"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ProfileError, match=message):
        TrainingSettings.from_mapping(wrong)


@pytest.mark.parametrize("name", ["demo", "paper", ROOT / "tests" / "tiny.yaml"], ids=lambda name: str(name)[-9:])
def test_every_profile_has_settings_for_its_networks_that_score_its_consensus(name):
    profile = load_profile(name)
    for family in map(Family.from_name, profile.families):
        settings = TrainingSettings.from_mapping({"seed": profile.seed} | profile.networks[family.network])
        assert set(profile.consensus) <= set(settings.checkpoints())
        if not is_ultralytics(family):
            _variant(family, settings)


def test_the_paper_profile_is_the_papers():
    profile = load_profile("paper")
    yolov2, yolov3 = (TrainingSettings.from_mapping(profile.networks[name]) for name in ("yolov2", "yolov3"))
    assert (yolov2.size, yolov3.size) == (416, 608)
    assert yolov2.iterations == yolov3.iterations == 5000
    assert yolov2.checkpoint_every == yolov3.checkpoint_every == 100
    assert yolov3.batch < yolov2.batch
    assert profile.consensus == (4000, 4100, 4200, 4300, 4400)
    assert (profile.thresholds["yolov2"], profile.thresholds["yolov3"]) == (0.24, 0.5)
