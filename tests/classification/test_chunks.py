from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.classification.chunks import PATTERNS_A_CHUNK, Chunk, ChunkFolder, chunks_of

CHUNK = Chunk("a-00000000-00000003.npz", 0, 3, 2)
SCORES = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], np.float32)


@given(patterns=st.integers(0, 5000), batch=st.integers(1, 256))
def test_chunks_hold_each_pattern_once_in_the_batches_of_one_pass(patterns, batch):
    chunks = chunks_of(Path("run.cxi"), patterns, batch=batch)
    batches = [batch for chunk in chunks for batch in chunk.batches()]
    assert batches == [slice(start, min(start + batch, patterns)) for start in range(0, patterns, batch)]
    assert all(len(chunk) <= max(batch, PATTERNS_A_CHUNK) for chunk in chunks)
    assert len({chunk.name for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize(("patterns", "chunks"), [(40, 2), (1000, 32), (18_213, 33), (100_000, 98)])
def test_small_files_have_chunks_for_many_processes_and_large_ones_have_not_too_many(patterns, chunks):
    assert len(chunks_of(Path("run.cxi"), patterns, batch=31)) == pytest.approx(chunks, abs=2)


def test_files_of_one_name_in_two_folders_have_chunks_of_two_names():
    names = {chunks_of(Path(folder, "run.cxi"), 3, batch=4)[0].name for folder in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("run-") and name.endswith("-00000000-00000003.npz") for name in names)


def test_scores_are_read_as_they_were_written_for_the_same_origin_only(tmp_path):
    folder = ChunkFolder.beside(tmp_path / "selection.csv")
    assert folder.path == tmp_path / "selection.csv.chunks"
    assert folder.read(CHUNK, "origin") is None
    assert folder.names() == set()
    folder.write(CHUNK, SCORES, "origin")
    assert folder.read(CHUNK, "another") is None
    stored = folder.read(CHUNK, "origin")
    np.testing.assert_array_equal(stored, SCORES)
    assert stored.dtype == np.float32
    assert folder.names() == {CHUNK.name}
    folder.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bytes_left", [0, 10, 200, -1])
def test_a_damaged_file_counts_as_none(tmp_path, bytes_left):
    folder = ChunkFolder(tmp_path)
    folder.write(CHUNK, SCORES, "origin")
    whole = (tmp_path / CHUNK.name).read_bytes()
    (tmp_path / CHUNK.name).write_bytes(whole[:bytes_left])
    assert folder.read(CHUNK, "origin") is None


def test_scores_of_fewer_patterns_count_as_none(tmp_path):
    ChunkFolder(tmp_path).write(CHUNK, SCORES[:2], "origin")
    assert ChunkFolder(tmp_path).read(CHUNK, "origin") is None


def test_a_write_that_fails_leaves_no_half_file(tmp_path, monkeypatch):
    def half(stream, **_):
        stream.write(b"PK half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="disk full"):
        ChunkFolder(tmp_path).write(CHUNK, SCORES, "origin")
    assert list(tmp_path.iterdir()) == []
