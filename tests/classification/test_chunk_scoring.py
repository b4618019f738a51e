from dataclasses import replace

import numpy as np
import pytest

from helpers.classification import score_stack
from helpers.classification.chunk_scoring import Source, compute_in_a_loop, compute_in_worker, load_once, tasks_left
from helpers.classification.chunks import ChunkFolder, chunks_of
from helpers.classification.provenance import family_state, origin_of
from helpers.errors import ClusterError
from helpers.patterns import DEFAULTS, open_stack


@pytest.fixture
def tasks(twin, model, tmp_path):
    """The twin in chunks of 16 patterns."""
    with open_stack(twin) as stack:
        origin = origin_of(stack, model, DEFAULTS, batch=16)
        chunks = chunks_of(twin, len(stack), batch=16)
    source = Source(twin, DEFAULTS, model, family_state(model), origin, ChunkFolder(tmp_path / "chunks"))
    return [(source, chunk) for chunk in chunks]


def stored(tasks):
    return np.concatenate([source.folder.read(chunk, source.origin) for source, chunk in tasks])


def test_the_loop_and_workers_give_the_same_scores_to_the_last_bit(tasks, model, twin, tmp_path, monkeypatch):
    compute_in_a_loop(tasks, load_once(model), label="classifying")
    assert tasks_left(tasks) == []
    elsewhere = [(replace(source, folder=ChunkFolder(tmp_path / "by_workers")), chunk) for source, chunk in tasks]
    for task in elsewhere[::-1]:
        compute_in_worker(*task)
    np.testing.assert_array_equal(stored(elsewhere), stored(tasks))
    monkeypatch.setattr("helpers.classification.consensus.patterns_a_batch", lambda _: 16)
    with open_stack(twin) as stack:
        table = score_stack(stack, load_once(model))
    np.testing.assert_array_equal(stored(tasks), table.drop(columns="pattern").to_numpy())


def test_a_chunk_is_stored_when_it_is_complete_and_only_then(tasks, model, monkeypatch):
    source, _ = tasks[0]
    there = []
    monkeypatch.setattr(
        "helpers.classification.chunk_scoring.progress",
        lambda batches, **_: (there.append(len(list(source.folder.path.iterdir()))) for _ in batches),
    )
    compute_in_a_loop(tasks, load_once(model), label="classifying")
    assert there == list(range(1, len(tasks) + 1))


def test_a_worker_does_nothing_twice(tasks):
    source, chunk = tasks[0]
    compute_in_worker(source, chunk)
    before = (source.folder.path / chunk.name).stat().st_mtime_ns
    compute_in_worker(source, chunk)
    assert (source.folder.path / chunk.name).stat().st_mtime_ns == before


def test_a_worker_keeps_the_family_until_it_changes(model):
    assert load_once(model) is load_once(model)


def test_a_worker_with_other_code_refuses(tasks):
    source, chunk = tasks[0]
    other = replace(source, origin=source.origin.replace('"code": "', '"code": "0'))
    with pytest.raises(ClusterError, match="another version of this workbook"):
        compute_in_worker(other, chunk)
    assert not source.folder.path.exists()
