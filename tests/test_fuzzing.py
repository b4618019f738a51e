"""Damaged and hostile files against every reader: some of them, and all four thousand (`python tests/fuzzing`)."""

import pytest

from tests.fuzzing import harness
from tests.fuzzing.harness import Outcome
from tests.fuzzing.readers import READERS

ONE_IN = 15
"""Of the files that differ only in where they are damaged, one in so many is tried each time."""


@pytest.fixture(scope="module")
def outcomes():
    return harness.run(harness.corpus(READERS))


def test_a_damaged_file_gives_an_error_of_ours_or_a_right_result_in_bounded_time_and_memory():
    jobs = [job for job in harness.corpus(READERS) if job[2] % ONE_IN == 0]
    assert {name for name, _, _ in jobs} == set(READERS)
    assert [outcome for outcome in harness.run(jobs) if outcome.failure] == []


@pytest.mark.whole
def test_every_damaged_file_gives_an_error_of_ours_or_a_right_result_in_bounded_time_and_memory(outcomes):
    assert len(outcomes) == sum(reader.files for reader in READERS.values()) > 2000
    assert [outcome for outcome in outcomes if outcome.failure] == []


@pytest.mark.whole
@pytest.mark.parametrize("name", READERS)
def test_the_corpus_damages_what_a_reader_looks_at(outcomes, name):
    verdicts = [outcome.verdict for outcome in outcomes if outcome.job[0] == name]
    assert len(verdicts) == READERS[name].files
    if name not in ("checksums", "stamp of a step"):  # these are made again where they are damaged
        assert verdicts.count("refused") > len(verdicts) / 5


@pytest.mark.whole
def test_the_same_job_is_the_same_file():
    jobs = [("stack: ours", 0, 3), ("profile", 1, 7), ("EM state", 1, 2), ("labels, JSON", 2, 5)]
    first, again = (
        {one.job: (one.mutation, one.verdict) for one in harness.run(jobs, processes=processes)} for processes in (1, 2)
    )
    assert again == first


@pytest.mark.parametrize(
    ("verdict", "seconds", "mebibytes", "failure"),
    [
        ("refused", 0.1, 3, None),
        ("read", 0.1, 3, None),
        ("read", 2.1, 3, "slow"),
        ("refused", 0.1, 501, "big"),
        ("library", 0.1, 3, "library"),
        ("crash", 0.0, 0, "crash"),
        ("not made", 0.0, 0, "not made"),
    ],
)
def test_only_a_refusal_or_a_result_within_the_limits_is_no_failure(verdict, seconds, mebibytes, failure):
    assert Outcome(("box", 0, 0), "flip_bits", verdict, "", seconds, mebibytes).failure == failure


def test_the_table_counts_every_outcome():
    outcomes = [
        Outcome(("box", 0, 0), "flip_bits", "refused"),
        Outcome(("box", 0, 1), "flip_bits", "read", "", 9.0),
        Outcome(("cfg", 0, 0), "truncate", "crash"),
    ]
    lines = [line.split() for line in harness.table(outcomes).splitlines()]
    assert lines[1][:3] == ["box", "2", "1"]
    assert lines[-1][:2] == ["all", "3"]
    assert sum(map(int, lines[-1][2:])) == 3


@pytest.mark.whole
def test_a_worker_that_dies_is_an_outcome_and_not_the_end(tmp_path):
    worker = harness._Worker(tmp_path)
    try:
        assert worker.run(("no such reader", 0, 0)).verdict == "crash"
        assert worker.run(("box", 0, 0)).verdict in ("refused", "read")
    finally:
        worker.stop()
