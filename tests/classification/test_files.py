import os
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest

from helpers.classification import classify_files
from helpers.classification.chunks import ChunkFolder
from helpers.classification.files import classify_file
from helpers.errors import ClusterError, PatternFileError
from helpers.patterns import open_stack

CHUNKS = 8


def finished(folder):
    """Files of chunks that bear their final names."""
    return sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))


def chunks_of_share(twin, model, output):
    """Compute the chunks of a selection without writing it; gives their folder."""
    classify_file(twin, model, output=output, share=(1, 1))
    return ChunkFolder.beside(output).path


@pytest.fixture
def two_files(twin, tmp_path):
    """The twin, and a file with its first ten patterns, doubled, in two data sets."""
    with open_stack(twin) as stack, h5py.File(tmp_path / "second.cxi", "w") as file:
        for entry in (1, 2):
            file[f"entry_{entry}/data_1/data"] = stack.read(slice(5 * entry - 5, 5 * entry)).astype(np.uint16) * 2
            file[f"entry_{entry}/data_1/mask"] = stack.mask.astype(np.int32)
    return [twin, tmp_path / "second.cxi"]


def test_one_list_of_several_files_and_one_list_each(two_files, model, tmp_path, monkeypatch):
    summary = classify_files(two_files, model, output=tmp_path / "all.csv", threshold=1e-6)
    table = pd.read_csv(tmp_path / "all.csv")
    assert list(table) == ["file", "index", "event_id", "score", "single", "dataset", "dataset_index"]
    assert f"{table['single'].sum()} of {len(table)} patterns in 2 files" in summary
    assert str(tmp_path / "all.csv") in summary
    summary = classify_files(two_files, model, output=tmp_path / "lists", threshold=1e-6)
    assert str(tmp_path / "lists") in summary
    monkeypatch.chdir(tmp_path)
    classify_files(two_files, model, threshold=1e-6)
    for path, rows in table.groupby("file", sort=False):
        name = f"{os.path.basename(path).removesuffix('.cxi')}.{model.name}.csv"
        for one in (pd.read_csv(tmp_path / "lists" / name), pd.read_csv(tmp_path / name)):
            for column in ("file", "index", "score", "single"):
                assert list(one[column]) == list(rows[column])
    assert table["file"].unique().tolist() == [str(path) for path in two_files]
    assert table["dataset_index"].tolist()[-10:] == [0, 1, 2, 3, 4] * 2
    assert not list(tmp_path.rglob("*.chunks"))


def test_a_list_of_files_with_one_data_set_each_does_not_name_it(twin, model, tmp_path):
    shutil.copy(twin, tmp_path / "copy.cxi")
    classify_files([twin, tmp_path / "copy.cxi"], model, output=tmp_path / "all.csv")
    assert list(pd.read_csv(tmp_path / "all.csv")) == ["file", "index", "event_id", "score", "single"]


def test_outputs_that_cannot_be_are_refused_before_the_work(two_files, model, tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.classification.files.compute_in_a_loop", None)
    with pytest.raises(PatternFileError, match=r"all\.cxi: holds the selection of one file, and 2 are given"):
        classify_files(two_files, model, output=tmp_path / "all.cxi")
    with pytest.raises(PatternFileError, match="is given twice"):
        classify_files([two_files[0], two_files[0].parent / "." / two_files[0].name], model, output=tmp_path / "a.csv")
    (tmp_path / "other").mkdir()
    shutil.copy(two_files[0], tmp_path / "other" / two_files[0].name)
    with pytest.raises(PatternFileError, match=r"would be the selection of .*twin\.cxi and of .*other/twin\.cxi"):
        classify_files([two_files[0], tmp_path / "other" / two_files[0].name], model, output=tmp_path)
    with pytest.raises(ClusterError, match="leave out --cluster or --chunks"):
        classify_files(two_files, model, output=tmp_path / "a.csv", cluster="local:1", share=(1, 2))


def test_shares_make_together_what_the_loop_makes(many, model, plain, tmp_path, capsys):
    output = tmp_path / "shares.csv"
    for number in (3, 1):
        said = classify_file(many, model, output=output, share=(number, 4))
        assert f"share {number} of 4: 2 of {CHUNKS} chunks are done" in said
        assert not output.exists()
    starts = [int(path.stem.split("-")[-2]) for path in finished(ChunkFolder.beside(output).path)]
    assert starts == [256 * chunk for chunk in (0, 2, 4, 6)]
    capsys.readouterr()
    classify_file(many, model, output=output)
    assert f"4 of {CHUNKS} chunks are there; going on with the others" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_csv(output), plain, check_exact=True)
    assert not ChunkFolder.beside(output).path.exists()


def test_a_process_killed_in_the_middle_costs_one_chunk(many, model, plain, tmp_path, capsys):
    output = tmp_path / "killed.csv"
    folder = ChunkFolder.beside(output).path
    command = [sys.executable, "-m", "helpers", "classify", many, "--model", model, "--output", output]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while len(finished(folder)) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        for path in finished(folder):
            with np.load(path) as whole:
                assert whole["scores"].shape == (256, 2)
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = finished(folder)
    assert 2 <= len(done) < CHUNKS
    assert not output.exists()
    before = {path: path.read_bytes() for path in done}
    classify_file(many, model, output=output, share=(1, 1))
    assert f"{len(done)} of {CHUNKS} chunks are there" in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())
    classify_file(many, model, output=output)
    pd.testing.assert_frame_equal(pd.read_csv(output), plain, check_exact=True)
    assert not folder.exists()


@pytest.mark.parametrize("changed", ["the patterns", "the family", "the chunk"])
def test_scores_of_anything_else_are_computed_anew(twin, model, tmp_path, changed, capsys):
    path, family = tmp_path / "a.cxi", tmp_path / model.name
    shutil.copy(twin, path)
    shutil.copytree(model, family)
    folder = chunks_of_share(path, family, tmp_path / "a.csv")
    if changed == "the patterns":
        with h5py.File(path, "r+") as file:
            file["entry_1/image_1/data"][:] = file["entry_1/image_1/data"][:][::-1]
    elif changed == "the family":
        shutil.copy(
            family / "checkpoints/iteration_000004.safetensors", family / "checkpoints/iteration_000006.safetensors"
        )
    else:
        [chunk] = finished(folder)
        chunk.write_bytes(chunk.read_bytes()[:-100])
    classify_file(path, family, output=tmp_path / "a.csv")
    assert "1 chunks are of other files, family or code: computed anew" in capsys.readouterr().out
    classify_file(path, family, output=tmp_path / "fresh.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), pd.read_csv(tmp_path / "fresh.csv"))


def test_stored_scores_serve_any_threshold(twin, model, tmp_path, capsys, monkeypatch):
    chunks_of_share(twin, model, tmp_path / "a.csv")
    monkeypatch.setattr("helpers.classification.chunk_scoring.score_batches", None)
    classify_file(twin, model, output=tmp_path / "a.csv", threshold=0)
    assert "1 of 1 chunks are there" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "a.csv")["single"].all()


def test_a_file_that_changes_meanwhile_is_told(twin, model, tmp_path, monkeypatch):
    path = tmp_path / "a.cxi"
    shutil.copy(twin, path)
    monkeypatch.setattr("helpers.classification.files._compute", lambda *_: path.touch())
    with pytest.raises(PatternFileError, match="changed meanwhile; run the same command again"):
        classify_file(path, model, output=tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_each_file_is_opened_once(two_files, model, tmp_path, monkeypatch):
    opened = []

    def noted(path, options):
        opened.append(path)
        return open_stack(path, options)

    for module in ("files", "chunk_scoring"):
        monkeypatch.setattr(f"helpers.classification.{module}.open_stack", noted)
    classify_file(two_files[0], model, output=tmp_path / "a.csv")
    assert opened == [two_files[0]]
    classify_files(two_files, model, output=tmp_path / "all.csv")
    assert opened[1:] == two_files
