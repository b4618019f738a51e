import numpy as np
import pytest
import torch

from helpers.classification import load_family, score_stack
from helpers.errors import MissingStepError, NetworkFileError
from helpers.patterns import open_stack
from helpers.system import load_tensors, save_tensors
from helpers.training import FamilyFolder, detected_boxes
from helpers.training.family_folder import darknet_line

CPU = torch.device("cpu")


def test_scores_of_a_repeated_checkpoint_replace_it_and_all_later_ones(tmp_path):
    folder = FamilyFolder(tmp_path)
    patterns = np.array([3, 8])
    for iteration, score in ((100, 0.1), (200, 0.2), (300, 0.3), (200, 0.25)):
        folder.add_scores("validation", patterns, iteration, np.full(2, score))
    table = folder.scores("validation")
    assert list(table.columns) == ["pattern", "iteration_000100", "iteration_000200"]
    assert list(table["iteration_000200"]) == [0.25, 0.25]


def test_scores_keep_every_digit(tmp_path):
    scores = np.random.default_rng(0).random(50, dtype=np.float32)
    FamilyFolder(tmp_path).add_scores("test", np.arange(50), 100, scores)
    read = FamilyFolder(tmp_path).scores("test")["iteration_000100"].to_numpy()
    assert np.array_equal(read.astype(np.float32), scores)


def test_a_folder_of_another_training_is_moved_aside_and_one_with_another_threshold_is_not(tmp_path, capsys):
    folder = FamilyFolder(tmp_path / "families" / "yolov2-jet-linear")
    folder.claim({"settings": {"seed": 1}, "threshold": 0.24})
    save_tensors(folder.state, {"iteration": 1})
    folder.claim({"settings": {"seed": 1}, "threshold": 0.3})
    assert folder.state.exists()
    assert folder.description()["threshold"] == 0.3
    assert capsys.readouterr().out == ""
    folder.claim({"settings": {"seed": 2}, "threshold": 0.3})
    assert [path.name for path in folder.path.iterdir()] == ["family.json"]
    assert "yolov2-jet-linear is stale (settings.seed changed); it is made anew" in capsys.readouterr().out
    aside = FamilyFolder(tmp_path / "families" / "stale" / "yolov2-jet-linear-1")
    assert aside.state.exists()
    assert aside.description() == {"settings": {"seed": 1}, "threshold": 0.3}
    assert [path.parent.name for path in (tmp_path / "families").glob("*/family.json")] == ["yolov2-jet-linear"]


def test_missing_artefacts_name_the_step_that_makes_them(tmp_path):
    folder = FamilyFolder(tmp_path)
    for read in (folder.description, folder.loss, lambda: folder.scores("test")):
        with pytest.raises(MissingStepError, match="first"):
            read()
    with pytest.raises(NetworkFileError, match="train the family first"):
        load_tensors(folder.checkpoint(100), CPU)


def test_history_is_written_as_a_table_without_times_and_as_darknet_prints_it(tmp_path):
    row = {"iteration": 1, "loss": 2.5, "average_loss": 2.5, "learning_rate": 1e-4, "images_seen": 64, "seconds": 0.25}
    FamilyFolder(tmp_path).write_history([row])
    assert "seconds" not in FamilyFolder(tmp_path).loss().columns
    assert darknet_line(row) == "1: 2.500000, 2.500000 avg, 0.000100 rate, 0.250000 seconds, 64 images"
    assert (tmp_path / "training.log").read_text() == darknet_line(row) + "\n"


def test_the_best_box_of_a_picture_comes_with_the_score_of_the_last_checkpoint(model, twin):
    with open_stack(twin) as stack:
        counts = stack.read(slice(0, 3))
        stored = score_stack(stack, load_family(model, CPU), np.arange(3))
    pictures, boxes = detected_boxes(FamilyFolder(model), counts)
    assert (pictures.shape, pictures.dtype, boxes.shape) == ((3, 64, 64, 3), np.uint8, (3, 5))
    np.testing.assert_allclose(boxes[:, 4], stored["iteration_000006"], atol=1e-5)
