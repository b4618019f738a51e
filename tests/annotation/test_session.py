import zlib

import numpy as np
import pytest

from helpers.annotation import Box, LabelsFile, held_share, propose_box, sum_patterns
from helpers.annotation.queue import Queue
from helpers.annotation.session import MOST_FRAMES, AnnotationSession, levels
from helpers.errors import LabelsError
from helpers.rendering import colour_index

QUEUE = Queue(np.array([4, 9, 0, 4]), np.array([False, False, False, True]))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.json"


@pytest.fixture
def session(to_label, path):
    return AnnotationSession(to_label, LabelsFile(path, to_label), QUEUE, labeller=" anna ", positives=[1, 4])


def ask(session, kind, **content):
    return session.answer({"kind": kind, "view": "here", "revision": 1, **content})[0]


def show(session, *positions):
    ask(session, "frames", positions=list(positions))


def label(session, position, name):
    return ask(session, "label", position=position, pattern=int(QUEUE.patterns[position]), label=name)


def test_an_answer_bears_the_marks_of_its_message(session):
    answer, _ = session.answer({"kind": "ping", "view": "abc", "revision": 17})
    assert answer == {"kind": "pong", "view": "abc", "revision": 17}


def test_a_label_is_on_disk_when_it_is_answered(session, path, to_label):
    show(session, 0, 1)
    answer = label(session, 1, "unsure")
    assert (answer["kind"], answer["position"], answer["pattern"], answer["label"]) == ("labelled", 1, 9, "u")
    said = LabelsFile(path, to_label).labels[9]
    assert (said.label, said.labeller) == ("unsure", "anna")


@pytest.mark.parametrize(
    "message",
    [
        {"position": 0, "pattern": 9, "label": "single"},  # another pattern is on screen
        {"position": 1, "pattern": 4, "label": "single"},
        {"position": 2, "pattern": 0, "label": "single"},  # its picture was never sent
        {"position": 4, "pattern": 4, "label": "single"},
        {"position": -1, "pattern": 4, "label": "single"},
        {"position": "0", "pattern": 4, "label": "single"},
        {"position": 0, "pattern": 4, "label": "double"},
        {"position": 0, "pattern": 4},
        {"pattern": 4, "label": "single"},
    ],
)
def test_a_key_for_another_pattern_than_the_one_on_screen_is_refused(session, path, message):
    show(session, 0, 1)
    answer = ask(session, "label", **message)
    assert answer["kind"] == "refused"
    assert answer["reason"]
    assert answer["revision"] == 1
    assert not path.exists()


@pytest.mark.parametrize(
    "message",
    [{}, {"kind": "dance"}, {"kind": ["label"]}, {"kind": "frames", "positions": [99]}, {"kind": "box", "edges": [1]}],
)
def test_a_message_that_makes_no_sense_is_refused(session, message):
    assert session.answer(message)[0]["kind"] == "refused"


def test_a_change_that_cannot_be_written_is_refused_with_its_reason(session, path):
    path.mkdir()
    show(session, 0)
    assert "labels.json" in label(session, 0, "single")["reason"]
    assert ask(session, "undo")["kind"] == "nothing"


def test_a_repeat_does_not_replace_the_first_judgement(session):
    show(session, 0, 3)
    label(session, 0, "single")
    label(session, 3, "not single")
    assert session.file.labels[4].label == "single"
    assert session.file.repeats[4].label == "not single"
    assert ask(session, "begin")["labels"] == "s--n"


def test_undo_goes_back_change_by_change_and_says_where(session):
    show(session, 0, 1)
    label(session, 0, "single")
    label(session, 0, "unsure")
    ask(session, "box", edges=[0, 3, 0, 4])
    label(session, 1, "not single")
    steps = [ask(session, "undo") for _ in range(5)]
    assert [(step["kind"], step.get("position")) for step in steps] == [
        ("undone", 1), ("undone", None), ("undone", 0), ("undone", 0), ("nothing", None),
    ]  # fmt: skip
    assert [step.get("label") for step in steps] == ["-", None, "s", "-", None]
    assert steps[1]["drawn"] is False
    assert (dict(session.file.labels), session.file.box) == ({}, None)


def test_labels_and_box_of_before_are_there_at_the_beginning(session, path, to_label):
    show(session, 1)
    label(session, 1, "single")
    ask(session, "box", edges=[0, 3, 0, 4])
    later = AnnotationSession(to_label, LabelsFile(path, to_label), QUEUE, labeller="ben")
    state = ask(later, "begin")
    assert (state["labels"], state["edges"], state["drawn"]) == ("-s--", [0, 3, 0, 4], True)


def test_frames_tell_photons_size_and_both_scales(session, to_label):
    answer, buffers = session.answer({"kind": "frames", "positions": [1, 2]})
    assert [(frame["position"], frame["pattern"]) for frame in answer["frames"]] == [(1, 9), (2, 0)]
    assert [frame["photons"] for frame in answer["frames"]] == [12, 3]
    assert [frame["brightest"] for frame in answer["frames"]] == [10, 2]
    assert [frame["size_nm"] for frame in answer["frames"]] == [60.5, 60.5]
    counts = to_label.read(np.array([9, 0]))
    for pattern, buffer in zip(counts, buffers, strict=True):
        shown = np.frombuffer(zlib.decompress(buffer), np.uint8).reshape(2, 6, 8)
        for plane, scale in zip(shown, ("linear", "log"), strict=True):
            np.testing.assert_array_equal(plane, colour_index(pattern, scale))


def test_a_size_that_was_not_measured_is_none(to_label, path):
    session = AnnotationSession(to_label, LabelsFile(path, to_label), Queue.of(np.array([3])), labeller="anna")
    assert session.answer({"kind": "frames", "positions": [0]})[0]["frames"][0]["size_nm"] is None


def test_frames_come_in_small_windows_whatever_is_asked_for(to_label, path, monkeypatch):
    session = AnnotationSession(to_label, LabelsFile(path, to_label), Queue.of(np.arange(12)), labeller="anna")
    monkeypatch.setattr("helpers.annotation.session.MOST_FRAMES", 5)
    answer, buffers = session.answer({"kind": "frames", "positions": list(range(12))})
    assert len(answer["frames"]) == len(buffers) == 5
    assert MOST_FRAMES <= 64


def test_the_box_is_proposed_on_the_positives_and_the_users_box_wins(session, to_label):
    positives = to_label.read(np.array([1, 4]))
    proposed = propose_box(positives, 0.9)
    answer, buffers = session.answer({"kind": "sum"})
    assert (answer["positives"], answer["drawn"]) == (2, False)
    assert Box(*answer["edges"]) == Box(*answer["proposal"]) == session.box == proposed
    assert zlib.decompress(buffers[0]) == zlib.decompress(levels(positives.sum(axis=0)[None])[0])
    drawn = ask(session, "box", edges=[0, 4, 0, 5])
    assert (drawn["kind"], drawn["drawn"], drawn["edges"]) == ("boxed", True, [0, 4, 0, 5])
    assert Box(*drawn["proposal"]) == proposed
    assert drawn["share"] == held_share(sum_patterns(positives), Box(0, 4, 0, 5))
    assert session.box == Box(0, 4, 0, 5)
    assert Box(*ask(session, "box", edges=None)["edges"]) == proposed


@pytest.mark.parametrize("edges", [[0, 0, 2, 4], [0, 7, 0, 5], [0, 4, 0], [0, 4, 0, 5.5], [0, 4, -1, 5], "box"])
def test_an_impossible_box_is_refused(session, path, edges):
    assert ask(session, "box", edges=edges)["kind"] == "refused"
    assert not path.exists()


def test_without_a_training_set_the_box_is_drawn_on_what_is_called_single_here(to_label, path):
    session = AnnotationSession(to_label, LabelsFile(path, to_label), QUEUE, labeller="anna")
    session.file.give(7, "single", labeller="anna")  # not in the queue: perhaps in the test set
    show(session, 0, 1, 2)
    for position, name in ((0, "single"), (1, "single"), (2, "unsure")):
        label(session, position, name)
    assert session.positives == {4, 9}
    assert session.summed[2, 3] == 5 + 10
    label(session, 0, "not single")
    assert session.summed[2, 3] == 10


def test_a_training_set_is_what_the_box_is_drawn_on_whatever_is_said_here(session):
    show(session, 0, 1)
    label(session, 0, "unsure")
    label(session, 1, "single")
    assert session.positives == {1, 4}


def test_without_positives_there_is_no_box_until_one_is_drawn(to_label, path):
    session = AnnotationSession(to_label, LabelsFile(path, to_label), QUEUE, labeller="anna")
    answer, buffers = session.answer({"kind": "sum"})
    assert (answer["positives"], answer["edges"], answer["share"], buffers) == (0, None, None, [])
    assert ask(session, "box", edges=[0, 2, 0, 2])["edges"] == [0, 2, 0, 2]
    assert session.box == Box(0, 2, 0, 2)


def test_the_sum_reads_a_pattern_once(to_label, path, monkeypatch):
    read = []
    file = LabelsFile(path, to_label)
    session = AnnotationSession(to_label, file, Queue.of(np.arange(12)), labeller="anna")
    original = to_label.read

    def note(indices):
        read.extend(np.atleast_1d(indices).tolist())
        return original(indices)

    monkeypatch.setattr(to_label, "read", note)
    for pattern, said in ((2, "single"), (5, "single"), (7, "single"), (5, "unsure")):
        file.give(pattern, said, labeller="anna")
        summed = session.summed.copy()
    np.testing.assert_array_equal(summed, original(np.array([2, 7])).sum(axis=0))
    assert read == [2, 5, 7, 5]


@pytest.mark.parametrize(
    ("queue", "labeller"), [(Queue.of(np.array([12])), "anna"), (Queue.of(np.array([])), "anna"), (QUEUE, " ")]
)
def test_a_queue_that_does_not_fit_or_nobody_at_work_is_refused(to_label, path, queue, labeller):
    with pytest.raises(LabelsError, match=r"0 to 11|labeller is empty"):
        AnnotationSession(to_label, LabelsFile(path, to_label), queue, labeller=labeller)


def test_the_counts_of_the_positives_are_read_in_the_order_of_their_numbers(session, to_label):
    np.testing.assert_array_equal(session.read_positives(), to_label.read(np.array([1, 4])))


def test_without_a_positive_the_next_step_is_named(to_label, path):
    session = AnnotationSession(to_label, LabelsFile(path, to_label), QUEUE, labeller="anna")
    with pytest.raises(LabelsError, match="no pattern is called single yet: label some"):
        session.read_positives()
