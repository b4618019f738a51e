import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.annotation import Box, LabelsFile
from helpers.annotation.labels_file import LABELS, Judgement
from helpers.errors import BoxError, LabelsError
from helpers.experiment import AMOX34117
from helpers.patterns import open_stack
from helpers.patterns.writing import write_stack


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels" / "anna.json"


@pytest.fixture
def file(path, to_label):
    return LabelsFile(path, to_label)


def test_opening_writes_nothing(file, path):
    assert not path.parent.exists()
    assert (dict(file.labels), dict(file.repeats), file.box) == ({}, {}, None)


def test_the_file_says_who_said_what_about_which_pattern(file, path):
    file.give(7, "single", labeller="anna")
    file.give(3, "unsure", labeller="ben")
    file.give(7, "not single", labeller="anna", repeat=True)
    file.draw(Box(0, 4, 2, 7), share=0.9)
    content = json.loads(path.read_text())
    assert content.pop("checksum")
    assert content == {
        "file": "to_label.cxi",
        "patterns": 12,
        "shape": [6, 8],
        "box": {"rows": [0, 4], "columns": [2, 7], "share": 0.9},
        "labels": [
            {"pattern": 7, "event_id": 70, "label": "single", "labeller": "anna"},
            {"pattern": 3, "event_id": 30, "label": "unsure", "labeller": "ben"},
        ],
        "repeats": [{"pattern": 7, "event_id": 70, "label": "not single", "labeller": "anna"}],
    }


changes = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 11), st.sampled_from([None, *LABELS]), st.text(min_size=1, max_size=5), st.booleans()),
        st.none() | st.builds(Box, st.just(0), st.integers(1, 6), st.integers(0, 3), st.integers(4, 8)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes)
def test_whatever_is_said_comes_back(tmp_path_factory, to_label, said):
    path = tmp_path_factory.mktemp("said") / "labels.json"
    file, expected, box = LabelsFile(path, to_label), ({}, {}), None
    for change in said:
        if isinstance(change, tuple):
            pattern, label, labeller, repeat = change
            file.give(pattern, label, labeller=labeller, repeat=repeat)
            expected[repeat].pop(pattern, None) if label is None else expected[repeat].update(
                {pattern: Judgement(label, labeller)}
            )
        else:
            file.draw(change)
            box = change
    for seen in (file, LabelsFile(path, to_label)):
        assert (dict(seen.labels), dict(seen.repeats), seen.box) == (*expected, box)


def test_patterns_of_a_label_are_in_order(file):
    for pattern, label in ((9, "single"), (2, "single"), (5, "unsure")):
        file.give(pattern, label, labeller="anna")
    assert file.labelled("single").tolist() == [2, 9]
    assert file.labelled("not single").tolist() == []


@pytest.mark.parametrize(
    ("pattern", "label"),
    [(-1, "single"), (12, "single"), (True, "single"), ("3", "single"), (3, "double"), (3.0, "unsure")],
)
def test_a_label_for_no_pattern_or_an_unknown_one_changes_nothing(file, path, pattern, label):
    file.give(1, "single", labeller="anna")
    before = path.read_bytes()
    with pytest.raises(LabelsError, match=r"single|0 to 11"):
        file.give(pattern, label, labeller="anna")
    assert path.read_bytes() == before


def test_a_box_beyond_the_patterns_changes_nothing(file, path):
    with pytest.raises(BoxError, match="row 7"):
        file.draw(Box(0, 7, 0, 8))
    assert file.box is None
    assert not path.exists()


def test_what_could_not_be_written_is_not_remembered(file, path):
    file.give(1, "single", labeller="anna")
    path.unlink()
    path.mkdir()
    for change in (lambda: file.give(2, "single", labeller="anna"), lambda: file.draw(Box(0, 1, 0, 1))):
        with pytest.raises(LabelsError, match=r"anna\.json"):
            change()
    assert (list(file.labels), file.box) == ([1], None)


def test_two_programs_lose_nothing_of_each_other(file, path, to_label):
    other = LabelsFile(path, to_label)
    file.give(1, "single", labeller="anna")
    other.give(2, "unsure", labeller="ben")
    other.draw(Box(0, 2, 0, 2))
    file.give(3, "not single", labeller="anna")
    assert list(LabelsFile(path, to_label).labels) == list(file.labels) == [1, 2, 3]
    assert file.box == Box(0, 2, 0, 2)


def test_a_file_that_vanished_is_written_again_whole(file, path, to_label):
    file.give(1, "single", labeller="anna")
    path.unlink()
    file.give(2, "single", labeller="anna")
    assert list(LabelsFile(path, to_label).labels) == [1, 2]


def test_a_kill_in_the_middle_leaves_a_whole_file(path, to_label):
    code = (
        "import sys\nfrom helpers.patterns import open_stack\nfrom helpers.annotation import LabelsFile\n"
        "file = LabelsFile(sys.argv[2], open_stack(sys.argv[1]))\nnumber = 0\n"
        "while True:\n    file.give(number % 12, ['single', 'unsure'][number // 12 % 2], labeller='x' * 10_000)\n"
        "    number += 1\n    print(number, flush=True)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, to_label.path, path], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    with writer:
        for line in writer.stdout:
            if int(line) >= 30:
                break
        writer.kill()
    assert len(LabelsFile(path, to_label).labels) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("labels"),
        lambda content: content.update(labels=[{"pattern": 1, "label": "single"}]),
        lambda content: content["labels"].append(content["labels"][0]),
        lambda content: content["labels"][0].update(pattern=12),
        lambda content: content["labels"][0].update(label="twin"),
        lambda content: content["labels"][0].update(event_id=11),
        lambda content: content.update(box={"rows": [0, 9], "columns": [0, 2]}),
        lambda content: content.update(box={"rows": [0, 2]}),
    ],
)
def test_damaged_files_are_named_and_never_overwritten(file, path, to_label, change):
    file.give(1, "single", labeller="anna")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    before = path.read_bytes()
    with pytest.raises(LabelsError, match=r"anna\.json holds no labels .* move it away"):
        LabelsFile(path, to_label)
    with pytest.raises(LabelsError, match=r"anna\.json"):
        file.give(2, "single", labeller="anna")
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"patterns": 12}'])
def test_what_is_no_label_file_is_refused(path, to_label, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(LabelsError, match=r"anna\.json holds no labels"):
        LabelsFile(path, to_label)


@pytest.mark.parametrize("counts", [np.ones((12, 6, 8)), np.ones((11, 6, 8)), np.ones((12, 6, 7))])
def test_labels_of_other_patterns_are_refused(file, path, tmp_path, counts):
    file.give(1, "single", labeller="anna")
    mask = np.zeros(counts.shape[1:], bool)
    table = pd.DataFrame({"event_id": np.arange(len(counts)) * 10})
    write_stack(
        tmp_path / "other.cxi", counts.astype(np.uint16), mask=mask, centre=(0, 0), table=table, experiment=AMOX34117
    )
    with open_stack(tmp_path / "other.cxi") as other, pytest.raises(LabelsError, match=r"12 patterns .* other\.cxi"):
        LabelsFile(path, other)


def test_a_stack_without_event_ids_is_labelled_by_its_indices(path, tmp_path):
    counts = np.ones((3, 2, 2), np.uint16)
    mask = np.zeros((2, 2), bool)
    write_stack(
        tmp_path / "bare.cxi",
        counts,
        mask=mask,
        centre=(0, 0),
        table=pd.DataFrame(index=range(3)),
        experiment=AMOX34117,
    )
    with open_stack(tmp_path / "bare.cxi") as bare:
        LabelsFile(path, bare).give(2, "single", labeller="anna")
        assert LabelsFile(path, bare).labels == {2: Judgement("single", "anna")}
    assert json.loads(path.read_text())["labels"] == [{"pattern": 2, "label": "single", "labeller": "anna"}]
