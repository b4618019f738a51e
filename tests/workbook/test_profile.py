import pytest
import yaml

from helpers.errors import ProfileError
from helpers.family import PAPER_FAMILIES
from helpers.training import TrainingSettings
from helpers.workbook import load_profile
from helpers.workbook.profile import PROFILES


@pytest.fixture
def written(tmp_path):
    """Write the demo profile with changes, given as dotted keys; a value of None removes the key."""

    def write(**changes):
        content = yaml.safe_load((PROFILES / "demo.yaml").read_text())
        for key, value in changes.items():
            *parents, last = key.split("__")
            section = content
            for parent in parents:
                section = section[parent]
            section[last] = value
            if value is None:
                del section[last]
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_our_profiles_hold_the_papers_families_and_an_ultralytics_one(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.families == (*PAPER_FAMILIES, "yolo11n-jet-linear")


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_the_consensus_and_table_2_are_checkpoints_of_each_network(name):
    profile = load_profile(name)
    for settings in map(TrainingSettings.from_mapping, profile.networks.values()):
        assert {*profile.consensus, profile.table_2.first, profile.table_2.last} <= set(settings.checkpoints())


def test_the_paper_profile_has_the_numbers_of_the_paper():
    paper = load_profile("paper")
    assert round(paper.simulation.manual_fraction * paper.simulation.patterns) == 1196
    assert (paper.dataset.training, paper.dataset.validation) == ((165, 390), (53, 283))
    assert paper.consensus == (4000, 4100, 4200, 4300, 4400)
    assert paper.thresholds == {"yolov2": 0.24, "yolov3": 0.5, "yolo11n": 0.25}
    assert {name: paper.networks[name]["size"] for name in ("yolov2", "yolov3")} == {"yolov2": 416, "yolov3": 608}


def test_the_demo_twin_has_enough_patterns_for_its_sets():
    demo = load_profile("demo")
    positives = round(demo.simulation.manual_fraction * demo.simulation.patterns)
    for kind, inside in enumerate((positives, demo.simulation.patterns - positives)):
        wanted = demo.dataset.training[kind] + demo.dataset.validation[kind] - demo.dataset.outside[kind]
        assert wanted < inside
        assert demo.dataset.outside[kind] <= demo.simulation.outside[kind]


def test_a_profile_may_be_a_path(written):
    assert load_profile(written(name="mine", seed=5)).seed == 5


def test_sections_are_plain_values():
    sections = load_profile("paper").sections()
    assert sections["dataset"]["training"] == [165, 390]
    assert sections["table_2"] == {"first": 2000, "last": 5000}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, r"unknown key colour; known are name, seed"),
        ({"simulation__pattern": 1}, r"unknown key simulation.pattern; known are patterns"),
        ({"simulation__patterns": None}, r"missing key simulation.patterns"),
        ({"seed": "now"}, r"seed must be a whole number, got 'now'"),
        ({"seed": True}, r"seed must be a whole number, got True"),
        ({"simulation__patterns": 0}, r"simulation.patterns must be greater than 0, got 0"),
        ({"simulation__manual_fraction": 1.5}, r"simulation.manual_fraction must be less than 1, got 1.5"),
        ({"simulation__outside": [1, 2, 3]}, r"simulation.outside must be a shorter list, got \[1, 2, 3\]"),
        ({"dataset__training": ["a", 2]}, r"dataset.training.0 must be a whole number, got 'a'"),
        ({"dataset__outside": [900, 1]}, r"dataset.*900 positives from outside the size range are more"),
        ({"box__share": 0}, r"box.share must be greater than 0, got 0"),
        ({"box": 3}, r"box must be a mapping of keys to values, got 3"),
        ({"families": []}, r"families must be one or more, each once, got \[\]"),
        ({"families": ["yolov2-jet"]}, r"a family is written network-colour-scale .* got 'yolov2-jet'"),
        ({"families": ["yolov9-jet-linear"]}, r"missing key networks.yolov9, for the family yolov9-jet-linear"),
        ({"families": ["yolov2-jet-log"] * 2}, r"families must be one or more, each once"),
        ({"networks__yolov2": 5}, r"networks.yolov2 must be a mapping of keys to values, got 5"),
        ({"networks__yolov2__decay": "5e-4"}, r"networks.yolov2: decay must be a number, got '5e-4' \(YAML"),
        ({"networks__yolov2__depth": 3}, r"networks.yolov2: unknown key depth; known are size"),
        ({"thresholds__yolov2": 24}, r"thresholds.yolov2 must be less than 1, got 24"),
        ({"thresholds__yolov2": "1e-1"}, r"thresholds.yolov2 must be a number, got '1e-1' \(YAML needs a dot"),
        ({"consensus": [1, 2, 3]}, r"consensus must be five ascending iterations, got \[1, 2, 3\]"),
        ({"consensus": [5, 4, 3, 2, 1]}, r"consensus must be five ascending iterations"),
        ({"table_2__last": 1}, r"table_2: last must be at least first \(450\), got 1"),
        ({"name": "../elsewhere"}, r"name must be a plain folder name, got '../elsewhere'"),
        ({"em__classes": 0}, r"em.classes must be greater than 0, got 0"),
    ],
)
def test_a_wrong_value_is_refused_with_file_and_key(written, changes, message):
    with pytest.raises(ProfileError, match=rf"mine.yaml: {message}"):
        load_profile(written(**changes))


def test_an_unknown_name_lists_those_that_are_known():
    with pytest.raises(ProfileError, match=r"no profile 'huge': take one of demo, paper, or the path"):
        load_profile("huge")


@pytest.mark.parametrize("text", ["a: [1", "- 1", "just text", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"broken.yaml"):
        load_profile(path)


def test_a_profile_cannot_run_code(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text(f"name: !!python/object/apply:os.mkdir [{tmp_path / 'made'}]\n")
    with pytest.raises(ProfileError, match=r"evil.yaml is not YAML"):
        load_profile(path)
    assert not (tmp_path / "made").exists()
