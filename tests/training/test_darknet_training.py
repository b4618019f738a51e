import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import ROOT, darknet
from helpers.annotation import Box
from helpers.errors import NetworkFileError, ProfileError, TrainingDivergedError
from helpers.family import Family
from helpers.patterns import open_stack
from helpers.system import load_tensors
from helpers.training import Examples, FamilyFolder, Plan, TrainingSettings, darknet_training, load_network
from helpers.training.darknet_networks import build_network
from helpers.training.darknet_training import train
from helpers.training.loss_history import RANDOM_WEIGHTS, history_row
from helpers.training.plan import MiniBatches

CPU = torch.device("cpu")
FAMILY = Family.from_name("yolov2-gray-linear")
SETTINGS = TrainingSettings(
    size=64, width=0.125, iterations=6, checkpoint_every=2, batch=4, learning_rate=0.01, batch_norm_momentum=0.1, seed=3
)


def patterns(number, seed):
    """Bright disks for positives, flat noise for negatives."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:123, :240]
    disk = 20.0 * ((rows - 30) ** 2 + (columns - 120) ** 2 < 30**2)
    positive = np.arange(number) % 2 == 0
    return rng.poisson(0.2 + disk * positive[:, None, None]).astype(np.float32), positive


def examples(number=12):
    counts, positive = patterns(number, seed=1)
    boxes = np.full((number, 4), np.nan, np.float32)
    boxes[positive] = Box(0, 60, 90, 150).relative((123, 240))
    return Examples(counts, boxes, patterns(8, seed=2)[0], np.arange(100, 108))


def trained(folder, settings=SETTINGS, family=FAMILY, **options):
    return train(plan(settings, family, **options), folder)


def plan(settings=SETTINGS, family=FAMILY, **options):
    return Plan(family, examples(), settings, **{"consensus": [4, 6], "threshold": 0.24, "device": CPU} | options)


def checkpoint_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "checkpoints").iterdir())}


def test_training_leaves_what_classification_and_the_tables_need(tmp_path):
    artefacts = trained(tmp_path / "family")
    assert set(checkpoint_bytes(artefacts.path)) == {"iteration_000004.safetensors", "iteration_000006.safetensors"}
    assert list(artefacts.loss()["iteration"]) == [1, 2, 3, 4, 5, 6]
    assert list(artefacts.loss()["images_seen"]) == [4, 8, 12, 16, 20, 24]
    scores = artefacts.scores("validation")
    assert list(scores["pattern"]) == list(range(100, 108))
    assert list(scores.columns[1:]) == ["iteration_000002", "iteration_000004", "iteration_000006"]
    assert artefacts.description()["start"] == RANDOM_WEIGHTS
    assert len((artefacts.path / "training.log").read_text().splitlines()) == 6


def test_the_same_seed_trains_the_same_bytes_and_another_seed_other_ones(tmp_path):
    first = trained(tmp_path / "first")
    again = trained(tmp_path / "again")
    other = trained(tmp_path / "other", TrainingSettings.from_mapping({**SETTINGS.to_mapping(), "seed": 4}))
    assert checkpoint_bytes(first.path) == checkpoint_bytes(again.path)
    assert checkpoint_bytes(first.path) != checkpoint_bytes(other.path)
    pd.testing.assert_frame_equal(first.loss(), again.loss())


def test_a_checkpoint_scores_as_the_network_did_during_training(tmp_path):
    artefacts = trained(tmp_path / "family")
    network = load_network(artefacts.checkpoint(6), CPU)
    from helpers.training import score_counts

    scores = score_counts(
        examples().validation_counts,
        [lambda images: darknet.scores(network, images)],
        FAMILY.representation,
        size=64,
        resize="stretch",
        device=CPU,
    )
    np.testing.assert_array_equal(scores[:, 0], artefacts.scores("validation")["iteration_000006"].astype(np.float32))


@pytest.mark.parametrize("network", ["yolov2", "yolov3"])
def test_the_loss_falls_and_the_disks_are_told_from_noise(tmp_path, network):
    settings = TrainingSettings(
        size=64, width=0.125, iterations=60, checkpoint_every=20, batch=8, learning_rate=0.01, burn_in=5,
        hue=0, saturation=1, exposure=1, jitter=0.05, batch_norm_momentum=0.2,
    )  # fmt: skip
    artefacts = trained(tmp_path / "family", settings, Family.from_name(f"{network}-gray-linear"), consensus=[60])
    loss = artefacts.loss()["loss"]
    assert loss[-10:].mean() < loss[:10].mean() / 3
    score = artefacts.scores("validation")["iteration_000060"].to_numpy()
    positive = patterns(8, seed=2)[1]
    assert score[positive].min() > score[~positive].max()


def test_mini_batches_of_one_iteration_hold_its_batch_whatever_the_subdivisions():
    whole = MiniBatches(plan()).at(5)
    halves = MiniBatches(plan(TrainingSettings(**{**SETTINGS.to_mapping(), "subdivisions": 2}))).at(5)
    assert [len(images) for images, _ in whole] == [4]
    assert [len(images) for images, _ in halves] == [2, 2]
    negatives = [truth[:, 0, 2] == 0 for _, truth in (*whole, *halves)]
    assert torch.equal(negatives[0], torch.cat(negatives[1:]))


def test_one_iteration_is_darknets_step(tmp_path):
    """w ← w + lr/B (Σ grad − decay·B·w) in the first iteration; biases and scales do not decay."""
    settings = TrainingSettings(**{**SETTINGS.to_mapping(), "iterations": 1, "checkpoint_every": 1})
    network = build_network(FAMILY, settings, None).to(memory_format=torch.channels_last)
    [(images, truth)] = MiniBatches(plan(settings)).at(1)
    network.train()
    loss, _ = darknet.loss(network, images, truth, seen=4)
    loss.backward()
    artefacts = trained(tmp_path / "family", settings, consensus=[1])
    after = load_tensors(artefacts.checkpoint(1), CPU)["weights"]
    for name, before in network.named_parameters():
        decay = settings.decay if before.ndim == 4 else 0
        step = -settings.learning_rate * (before.grad / settings.batch + decay * before)
        torch.testing.assert_close(after[name], (before + step).detach(), rtol=1e-6, atol=1e-8)


class Waits(TorchDispatchMode):
    """Counts operations that wait for a GPU: they need a value on the CPU, or send one there."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "unique")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        name = function.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            tensor is not None and tensor.dtype == torch.bool
            for indices in arguments[1:2]
            if isinstance(indices, list | tuple)
            for tensor in indices
        )
        if name in self.NAMES or by_mask:
            self.found.append(name)
        return function(*arguments, **(named or {}))


def test_what_waits_for_a_device_is_counted():
    values = torch.arange(4.0)
    with Waits() as waits:
        float(values.sum())
        values[values > 1]
        values.nonzero()
        torch.tensor([1.0])
    assert waits.found == ["_local_scalar_dense", "index", "nonzero", "lift_fresh"]


@pytest.mark.parametrize("name", ["yolov2-jet-linear", "yolov3-gray-log"])
@pytest.mark.parametrize("method", ["crop", "place"])
def test_iterations_wait_for_the_device_only_where_losses_are_read(tmp_path, name, method):
    settings = TrainingSettings(**{**SETTINGS.to_mapping(), "subdivisions": 2, "augmentation": method})
    start = plan(settings, Family.from_name(name))
    run, batches = darknet_training._Run.begin(start, FamilyFolder(tmp_path), None), MiniBatches(start)
    batches.at(1)  # sends the colour table
    with Waits() as waits:
        costs = [darknet_training._iterate(run, batches, iteration) for iteration in (1, 2)]
    assert waits.found == []
    run.unread += costs
    with Waits() as waits:
        darknet_training._read_losses(run)
    assert len(waits.found) <= 2
    assert [row["loss"] for row in run.history] == [float(cost) / settings.batch for cost in costs]


def test_losses_that_are_read_late_are_those_of_each_iteration(tmp_path, monkeypatch):
    late = trained(
        tmp_path / "late", TrainingSettings(**{**SETTINGS.to_mapping(), "checkpoint_every": 6}), consensus=[6]
    )
    monkeypatch.setattr(darknet_training, "_LOSSES_AT_ONCE", 1)
    at_once = trained(tmp_path / "at_once")
    pd.testing.assert_frame_equal(late.loss(), at_once.loss())


@pytest.mark.parametrize(("change", "dtype"), [(0, torch.uint16), (0.5, torch.float32), (70000, torch.float32)])
def test_counts_wait_on_the_device_in_16_bits_where_these_hold_them(change, dtype):
    whole = examples()
    counts = whole.training_counts.copy()
    counts[0, 0, 0] += change
    batches = MiniBatches(Plan(FAMILY, replace(whole, training_counts=counts), SETTINGS, [6], 0.24, CPU))
    assert batches.counts.dtype == dtype
    np.testing.assert_array_equal(batches.counts.numpy(), counts)


def test_counts_in_16_bits_are_drawn_as_the_same_images():
    start = plan()
    batches, as_floats = MiniBatches(start), MiniBatches(start)
    as_floats.counts = torch.from_numpy(start.examples.training_counts)
    assert batches.counts.dtype == torch.uint16
    for ours, theirs in zip(batches.at(3), as_floats.at(3), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_average_loss_is_nine_tenths_of_the_last_and_a_tenth_of_the_new():
    rows = [history_row([], 10.0, 1e-3, 64, 1.0)]
    rows.append(history_row(rows, 20.0, 1e-3, 64, 1.0))
    assert [row["average_loss"] for row in rows] == pytest.approx([10, 11])
    assert [row["images_seen"] for row in rows] == [64, 128]


KILLED = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[2])
    import torch
    torch.set_num_threads(1)
    from tests.training import test_darknet_training
    from helpers.training import darknet_training

    def iterate(*arguments):
        if arguments[-1] == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    original, darknet_training._iterate = darknet_training._iterate, iterate
    from pathlib import Path
    test_darknet_training.trained(Path(sys.argv[1]))
"""


@pytest.mark.whole
def test_a_training_killed_with_sigkill_goes_on_to_the_same_checkpoint_bytes(tmp_path, monkeypatch):
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "killed", ROOT], check=False)
    assert killed.returncode == -signal.SIGKILL
    resumed = FamilyFolder(tmp_path / "killed")
    assert list(resumed.loss()["iteration"]) == [1, 2, 3, 4]
    trained(resumed.path)
    whole = trained(tmp_path / "whole")
    assert checkpoint_bytes(resumed.path) == checkpoint_bytes(whole.path)
    for name in ("loss.csv", "scores_validation.csv", "family.json"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_finished_training_is_left_alone_and_other_settings_begin_anew(tmp_path):
    artefacts = trained(tmp_path / "family")
    written, before = artefacts.state.stat().st_mtime_ns, checkpoint_bytes(artefacts.path)
    trained(tmp_path / "family")
    assert artefacts.state.stat().st_mtime_ns == written
    trained(tmp_path / "family", TrainingSettings(**{**SETTINGS.to_mapping(), "iterations": 4}), consensus=[4])
    assert len(artefacts.loss()) == 4
    assert not artefacts.checkpoint(6).exists()
    aside = FamilyFolder(tmp_path / "stale" / "family-1")
    assert checkpoint_bytes(aside.path) == before
    assert len(aside.loss()) == 6


def test_a_changed_threshold_trains_nothing_anew(tmp_path):
    artefacts = trained(tmp_path / "family")
    before = artefacts.state.stat().st_mtime_ns
    trained(tmp_path / "family", threshold=0.3)
    assert artefacts.state.stat().st_mtime_ns == before
    assert artefacts.description()["threshold"] == 0.3


def test_a_loss_that_is_no_number_stops_with_its_iteration(tmp_path):
    settings = TrainingSettings(**{**SETTINGS.to_mapping(), "scales": [1e30], "steps": [1]})
    with pytest.raises(TrainingDivergedError, match=r"at iteration [2-6] \(learning rate 1e\+28\)"):
        trained(tmp_path / "family", settings)


def test_a_backbone_file_is_the_start_where_it_is_there(tmp_path):
    donor = darknet.yolov2(size=64, width=0.125)
    with torch.no_grad():
        for convolution in donor.convolutions:
            convolution.weights.fill_(0.01)
    weights = tmp_path / "weights"
    weights.mkdir()
    # the first three convolutions of a whole file, as `darknet partial` writes them
    darknet.write_weights(darknet.Network(donor.sections[:6]), weights / "first.conv.5", seen=0)
    settings = TrainingSettings(
        **{**SETTINGS.to_mapping(), "backbone": "first.conv.5", "learning_rate": 0.0, "decay": 0.0}
    )
    artefacts = trained(tmp_path / "family", settings, weights=weights)
    assert artefacts.description()["start"] == "first.conv.5"
    absent = trained(tmp_path / "absent", settings, weights=tmp_path)
    assert absent.description()["start"] == RANDOM_WEIGHTS


def test_options_of_yolov2_are_refused_for_yolov3_and_unknown_networks_named():
    with pytest.raises(ProfileError, match="only yolov2"):
        build_network(Family.from_name("yolov3-jet-log"), TrainingSettings(size=64, width=0.125, box_weight="1"), None)
    with pytest.raises(NetworkFileError, match="yolov9"):
        build_network(Family.from_name("yolov9-jet-log"), SETTINGS, None)


def test_examples_are_the_sets_of_the_stack_with_one_box_for_all_positives(twin):
    with open_stack(twin) as stack:
        sets = pd.DataFrame(
            {
                "pattern": [5, 2, 9, 7],
                "label": [True, False, True, False],
                "set": ["training", "training", "validation", "test"],
            }
        )
        box = Box(0, 60, 90, 150)
        found = Examples.from_stack(stack, sets, box)
        np.testing.assert_array_equal(found.training_counts, stack.read(np.array([5, 2])))
        np.testing.assert_allclose(found.training_boxes[0], box.relative(stack.shape[1:]), rtol=1e-6)
    assert np.isnan(found.training_boxes[1]).all()
    assert list(found.validation_patterns) == [9]
