import json
import os
import shutil

import h5py
import numpy as np
import pytest

from helpers.classification.provenance import code_in, family_state, origin_of, scoring_code
from helpers.errors import MissingStepError
from helpers.patterns import ReadOptions, open_stack


def origin(path, model, *, batch=8, **given):
    options = ReadOptions(**given)
    with open_stack(path, options) as stack:
        return origin_of(stack, model, options, batch=batch)


def later(path):
    """As if the file had been written again."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def test_the_origin_is_the_same_until_something_changes(twin, model, tmp_path):
    shutil.copy(twin, tmp_path / "a.cxi")
    before = origin(tmp_path / "a.cxi", model)
    assert origin(tmp_path / "a.cxi", model) == before
    assert code_in(before) == scoring_code()
    assert origin(tmp_path / "a.cxi", model, batch=16) != before
    assert origin(tmp_path / "a.cxi", model, nan_as_zero=True) != before
    later(tmp_path / "a.cxi")
    assert origin(tmp_path / "a.cxi", model) != before


def test_the_files_behind_a_virtual_or_linked_data_set_count(twin, model, tmp_path):
    shutil.copy(twin, tmp_path / "source.cxi")
    with h5py.File(tmp_path / "source.cxi") as file:
        source = file["entry_1/image_1/data"]
        layout = h5py.VirtualLayout(source.shape, source.dtype)
        layout[:] = h5py.VirtualSource("source.cxi", source.name, source.shape)
    with h5py.File(tmp_path / "virtual.cxi", "w") as file:
        file.create_virtual_dataset("entry_1/data_1/data", layout)
    with h5py.File(tmp_path / "linked.cxi", "w") as file:
        file["entry_1/data_1/data"] = h5py.ExternalLink("virtual.cxi", "entry_1/data_1/data")
    paths = [tmp_path / "virtual.cxi", tmp_path / "linked.cxi"]
    before = [origin(path, model) for path in paths]
    later(tmp_path / "source.cxi")
    assert all(origin(path, model) != was for path, was in zip(paths, before, strict=True))


def test_the_detector_counts(model, tmp_path):
    with h5py.File(tmp_path / "panels.cxi", "w") as file:
        file["entry_1/data_1/data"] = np.ones((2, 2, 3, 4), np.uint16)
    with h5py.File(tmp_path / "detector.h5", "w") as file:
        rows, columns = np.indices((6, 4)) * 1e-4
        file["xyz_map"] = np.stack([columns, rows, 0 * rows]).reshape(3, 2, 3, 4)
    before = origin(tmp_path / "panels.cxi", model, detector=tmp_path / "detector.h5")
    later(tmp_path / "detector.h5")
    assert origin(tmp_path / "panels.cxi", model, detector=tmp_path / "detector.h5") != before


@pytest.mark.parametrize("changed", ["family.json", "checkpoints/iteration_000006.safetensors"])
def test_the_family_is_its_description_and_its_checkpoints(model, tmp_path, changed):
    folder = tmp_path / model.name
    shutil.copytree(model, folder)
    before = family_state(folder)
    if changed == "family.json":
        described = json.loads((folder / changed).read_text())
        (folder / changed).write_text(json.dumps(described | {"threshold": 0.5}))
    else:
        later(folder / changed)
    assert family_state(folder) != before


def test_what_no_score_depends_on_does_not_count(model, tmp_path):
    folder = tmp_path / model.name
    shutil.copytree(model, folder)
    before = family_state(folder)
    later(folder / "loss.csv")
    (folder / "scores_test.csv").write_text("pattern\n")
    assert family_state(folder) == before


def test_a_folder_that_is_no_family_is_told(tmp_path):
    with pytest.raises(MissingStepError, match=r"family\.json"):
        family_state(tmp_path)
