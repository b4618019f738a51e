import signal
import socket
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import ROOT
from helpers.errors import ProfileError, TrainingDivergedError
from helpers.family import Family
from helpers.training import FamilyFolder, TrainingSettings, load_ultralytics, score_counts, ultralytics_training
from helpers.training.families import train_family
from tests.training.test_darknet_training import checkpoint_bytes, examples, patterns, plan

CPU = torch.device("cpu")
FAMILY = Family.from_name("yolo11n-gray-linear")
SETTINGS = TrainingSettings(size=64, iterations=6, checkpoint_every=2, batch=4, learning_rate=0.01, burn_in=2, seed=3)


def trained(folder, settings=SETTINGS, **options):
    return train_family(plan(settings, FAMILY, threshold=0.25, **options), folder)


def test_an_ultralytics_family_leaves_the_same_artefacts_and_asks_the_network_for_nothing(tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise AssertionError(f"a connection was asked for: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    threads = torch.get_num_threads()
    artefacts = trained(tmp_path / "family")
    assert set(checkpoint_bytes(artefacts.path)) == {"iteration_000004.safetensors", "iteration_000006.safetensors"}
    assert list(artefacts.loss()["iteration"]) == [1, 2, 3, 4, 5, 6]
    assert list(artefacts.scores("validation").columns) == [
        "pattern",
        "iteration_000002",
        "iteration_000004",
        "iteration_000006",
    ]
    assert torch.get_num_threads() == threads


def test_a_checkpoint_scores_as_the_averaged_weights_did_during_training(tmp_path):
    artefacts = trained(tmp_path / "family")
    scorer = load_ultralytics(artefacts.checkpoint(6), CPU)
    scores = score_counts(
        examples().validation_counts, [scorer], FAMILY.representation, size=64, resize="stretch", device=CPU
    )
    np.testing.assert_allclose(scores[:, 0], artefacts.scores("validation")["iteration_000006"], rtol=1e-5)
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.whole
def test_a_present_day_detector_tells_the_disks_from_noise(tmp_path):
    settings = TrainingSettings(
        size=64, iterations=120, checkpoint_every=40, batch=8, learning_rate=0.02, burn_in=10,
        hue=0, saturation=1, exposure=1, jitter=0.05,
    )  # fmt: skip
    artefacts = trained(tmp_path / "family", settings, consensus=[120])
    score = artefacts.scores("validation")["iteration_000120"].to_numpy()
    positive = patterns(8, seed=2)[1]
    assert score[positive].min() > score[~positive].max()


KILLED = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[2])
    import torch
    torch.set_num_threads(1)
    from tests.training import test_ultralytics_training
    from helpers.training import ultralytics_training

    def note(trainer):
        if len(trainer.history) == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        original(trainer)

    original, ultralytics_training._note_loss = ultralytics_training._note_loss, note
    from pathlib import Path
    test_ultralytics_training.trained(Path(sys.argv[1]))
"""


@pytest.mark.whole
def test_an_ultralytics_training_killed_with_sigkill_goes_on_to_the_same_checkpoint_bytes(tmp_path):
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "killed", ROOT], check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = FamilyFolder(tmp_path / "killed")
    assert len(resumed.loss()) == 4
    trained(resumed.path)
    whole = trained(tmp_path / "whole")
    assert checkpoint_bytes(resumed.path) == checkpoint_bytes(whole.path)
    pd.testing.assert_frame_equal(resumed.loss(), whole.loss())
    pd.testing.assert_frame_equal(resumed.scores("validation"), whole.scores("validation"))


def test_settings_of_darknet_are_refused(tmp_path):
    with pytest.raises(ProfileError, match="steps"):
        trained(tmp_path / "family", TrainingSettings(size=64, steps=[5], scales=[0.1]))


def test_a_loss_that_is_no_number_stops_with_its_iteration(tmp_path, monkeypatch):
    def overflow(trainer):
        trainer.loss_items = dict.fromkeys(trainer.loss_items, torch.tensor(torch.inf))
        original(trainer)

    original = ultralytics_training._note_loss
    monkeypatch.setattr(ultralytics_training, "_note_loss", overflow)
    with pytest.raises(TrainingDivergedError, match="inf at iteration 1 "):
        trained(tmp_path / "family")


def test_a_description_in_the_working_directory_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolo11n.yaml").write_text(f"activation: \"__import__('os').system('touch {tmp_path / 'pwned'}')\"\n")
    trainer = object.__new__(ultralytics_training._trainer_class())
    trainer.data, trainer.args = {"nc": 1, "channels": 3}, SimpleNamespace(cls_remap=None)
    assert len(trainer.get_model("yolo11n.yaml", verbose=False).state_dict()) > 100
    trainer.plan = SimpleNamespace(family=Family.from_name("yolo11n-jet-log"))
    with pytest.raises(ProfileError, match="ultralytics has no model"):
        trainer.get_model("../yolo11n.yaml", verbose=False)
    assert not (tmp_path / "pwned").exists()
