import json
import shutil
import subprocess
import sys
import threading
import tracemalloc

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from helpers.classification import load_family, score_stack, stored_scores, stored_selection
from helpers.classification.files import classify_file
from helpers.errors import MissingStepError, NetworkFileError, PatternFileError, RunFileError
from helpers.patterns import ReadOptions, open_stack
from helpers.patterns.selections import write_photons
from helpers.training import FamilyFolder
from tests.selection_lists import write_selection

CPU = torch.device("cpu")
NAME = "yolov2-jet-log"


def counts_of(twin):
    with open_stack(twin) as stack:
        return stack.read(slice(None)), stack.mask


def test_every_pattern_gets_a_score_at_each_checkpoint(twin, model):
    with open_stack(twin) as stack:
        table = score_stack(stack, load_family(model, CPU))
        some = score_stack(stack, load_family(model, CPU), np.array([3, 7, 30]))
    assert list(table.columns) == ["pattern", "iteration_000004", "iteration_000006"]
    assert len(table) == len(counts_of(twin)[0])
    np.testing.assert_allclose(some.drop(columns="pattern"), table.iloc[[3, 7, 30], 1:], rtol=1e-4)


def test_memory_does_not_grow_with_the_patterns(many, model, monkeypatch):
    monkeypatch.setattr("helpers.classification.consensus.patterns_a_batch", lambda _: 16)
    trained, peaks = load_family(model, CPU), []
    for patterns in (80, 800):
        with open_stack(many) as stack:
            tracemalloc.start()
            score_stack(stack, trained, np.arange(patterns))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    batch = 16 * 123 * 240 * 4
    assert batch < peaks[0] < 12 * batch
    assert peaks[1] - peaks[0] < 2 * batch  # of the 45 batches more


def test_an_error_in_the_file_reaches_the_caller(twin, model, tmp_path):
    shutil.copy(twin, tmp_path / "bad.cxi")
    counts, _ = counts_of(twin)
    with h5py.File(tmp_path / "bad.cxi", "r+") as file:
        del file["entry_1/image_1/data"]
        counts[30, 100, 200] = np.nan
        file["entry_1/image_1/data"] = counts
    with open_stack(tmp_path / "bad.cxi") as stack, pytest.raises(PatternFileError, match=r"NaN.* pattern 30"):
        score_stack(stack, load_family(model, CPU))
    assert [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")] == []


@pytest.mark.parametrize("dataset", ["entry_1/image_1/data", "entry_1/data_1/data"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_files_written_elsewhere_give_the_same_selection(twin, model, tmp_path, dataset, dtype):
    counts, mask = counts_of(twin)
    group = dataset.rpartition("/")[0]
    with h5py.File(tmp_path / "elsewhere.cxi", "w") as file:
        noisy = counts.copy()
        noisy[:, mask] = 999  # what a masked pixel holds must not matter
        file[dataset] = noisy.astype(dtype)
        file[f"{group}/mask"] = mask.astype(np.int32)
        file[f"{group}/event_id"] = np.arange(len(counts)) + 1000
    summary = classify_file(tmp_path / "elsewhere.cxi", model, output=tmp_path / "ours.csv")
    classify_file(twin, model, output=tmp_path / "twin.csv")
    ours, original = pd.read_csv(tmp_path / "ours.csv"), pd.read_csv(tmp_path / "twin.csv")
    assert list(ours.columns) == ["file", "index", "event_id", "score", "single"]
    assert list(ours["event_id"]) == list(range(1000, 1000 + len(counts)))
    np.testing.assert_allclose(ours["score"], original["score"], rtol=1e-5)
    assert f"{ours['single'].sum()} of {len(counts)} patterns" in summary
    assert str(tmp_path / "ours.csv") in summary


@pytest.mark.parametrize("suffix", [".csv", ".cxi", ".h5", ".emc"])
def test_the_suffix_chooses_the_form_of_the_selection(twin, model, tmp_path, suffix):
    output = tmp_path / f"selection{suffix}"
    with open_stack(twin) as stack:
        scores = score_stack(stack, load_family(model)).drop(columns="pattern").to_numpy().min(axis=1)
        threshold = float(np.median(scores))
        single = scores > threshold
        summary = classify_file(twin, model, output=output, threshold=threshold)
        assert f"{single.sum()} of {len(stack)} patterns" in summary
        if suffix == ".csv":
            assert pd.read_csv(output)["single"].astype(bool).tolist() == single.tolist()
            return
        with open_stack(output) as written:
            if suffix == ".emc":
                np.testing.assert_array_equal(written.read(slice(None)), stack.read(np.flatnonzero(single)))
                assert written.centre == pytest.approx(stack.centre)
            else:
                assert written.table()["single_hit/select"].astype(bool).tolist() == single.tolist()
                np.testing.assert_allclose(written.table()["single_hit/score"], scores, rtol=1e-5)


def test_a_form_that_cannot_be_written_is_told_before_the_work(twin, model, tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.classification.files.compute_in_a_loop", None)
    with pytest.raises(PatternFileError, match=r"\.txt: a selection is written as"):
        classify_file(twin, model, output=tmp_path / "selection.txt")


def test_photons_of_dragonfly_give_the_same_selection(twin, model, tmp_path):
    with open_stack(twin) as stack:
        write_photons(tmp_path / "twin.emc", stack)
    classify_file(tmp_path / "twin.emc", model, output=tmp_path / "emc.csv")
    (tmp_path / "twin_detector.h5").unlink()
    classify_file(
        tmp_path / "twin.emc", model, output=tmp_path / "shape.csv", options=ReadOptions(frame_shape=(123, 240))
    )
    classify_file(twin, model, output=tmp_path / "twin.csv")
    expected = pd.read_csv(tmp_path / "twin.csv")["score"]
    for name in ("emc.csv", "shape.csv"):
        np.testing.assert_allclose(pd.read_csv(tmp_path / name)["score"], expected, rtol=1e-5)


def test_the_score_of_a_selection_is_the_lowest_and_the_threshold_decides(twin, model, tmp_path):
    with open_stack(twin) as stack:
        scores = score_stack(stack, load_family(model)).drop(columns="pattern").to_numpy()
    threshold = float(np.median(scores.min(axis=1)))
    classify_file(twin, model, output=tmp_path / "selection.csv", threshold=threshold)
    selection = pd.read_csv(tmp_path / "selection.csv")
    np.testing.assert_allclose(selection["score"], scores.min(axis=1), rtol=1e-5)
    assert list(selection["single"].astype(bool)) == list((scores > threshold).all(axis=1))
    assert 0 < selection["single"].sum() < len(selection)


def test_stored_scores_are_not_computed_again_for_the_same_patterns(twin, model, tmp_path):
    folder = tmp_path / NAME
    shutil.copytree(model, folder)
    artefacts = FamilyFolder(folder)
    with open_stack(twin) as stack:
        first = stored_scores(artefacts, "test", stack, np.array([20, 21, 25]))
        shutil.rmtree(folder / "checkpoints")
        again = stored_scores(artefacts, "test", stack, np.array([20, 21, 25]))
        pd.testing.assert_frame_equal(first, again)
        with pytest.raises(NetworkFileError, match="iteration_000004"):
            stored_scores(artefacts, "test", stack, np.array([20, 21]))


def test_patterns_of_another_shape_are_refused_with_both_shapes(model, tmp_path):
    with h5py.File(tmp_path / "square.cxi", "w") as file:
        file["entry_1/data_1/data"] = np.ones((3, 64, 64), np.uint16)
    with pytest.raises(PatternFileError, match=r"64 × 64 pixels, yolov2-jet-log was trained on 123 × 240"):
        classify_file(tmp_path / "square.cxi", model, output=tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_a_folder_that_is_no_family_and_a_damaged_description_are_named(model, tmp_path):
    with pytest.raises(MissingStepError, match=r"family\.json"):
        load_family(tmp_path)
    folder = tmp_path / NAME
    shutil.copytree(model, folder)
    described = json.loads((folder / "family.json").read_text())
    del described["threshold"]
    (folder / "family.json").write_text(json.dumps(described))
    with pytest.raises(RunFileError, match=r"family\.json: missing key threshold"):
        load_family(folder)


def test_classification_needs_neither_jupyter_nor_ultralytics(twin, model, tmp_path):
    code = (
        "import sys\n"
        "for name in ('IPython', 'ipywidgets', 'anywidget', 'ultralytics', 'papermill', 'matplotlib', 'torchvision'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from helpers.classification.files import classify_file\n"
        "print(classify_file(Path(sys.argv[1]), Path(sys.argv[2]), output=Path(sys.argv[3])))\n"
    )
    output = tmp_path / "selection.csv"
    done = subprocess.run(
        [sys.executable, "-c", code, twin, model, output], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert output.exists()


def test_a_stored_selection_is_read_for_its_own_patterns_only(tmp_path):
    path = tmp_path / "em.csv"
    assert stored_selection(path, np.array([2, 5])) is None
    given = {"file": "twin.cxi", "event_ids": None, "scores": np.array([0.2, 0.8])}
    write_selection(path, patterns=np.array([2, 5]), selected=np.array([False, True]), **given)
    assert list(stored_selection(path, np.array([2, 5]))) == [False, True]
    with pytest.raises(MissingStepError, match=r"em\.csv is a selection of other patterns"):
        stored_selection(path, np.array([2, 6]))
