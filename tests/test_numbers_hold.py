"""The same numbers from two runs, from other thread counts, and from a GPU.

two runs on one machine: byte for byte
1 and 2 threads:         training byte for byte, because each family is trained by one thread whatever the machine has;
                         scores of its checkpoints to 1e-5; log-likelihood of EM to 1e-9 of its value; the classes of
                         all patterns, and with them all tables, equal
processor and GPU:       scores of the same checkpoint to 1e-2, because a GPU multiplies float32 with 10 bits (TF32);
                         the loss of the first iteration to 1e-2 of its value; EM, in float64, as above

A training on a GPU is another one than on a processor: rounding grows from iteration to iteration.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import ROOT
from helpers.system import load_tensors

THREADS, LIKELIHOOD, GPU = 1e-5, 1e-9, 1e-2
FAMILIES = ("yolov2-jet-log", "yolov3-gray-linear")
TABLES = ("table_1", "table_2", "table_3", "table_4", "table_intervals")

SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch
twin, folder, trained_in, device = *map(Path, sys.argv[1:4]), torch.device(sys.argv[4])
from helpers.annotation import Box
from helpers.training import FamilyFolder
from helpers.classification import load_family, score_stack
from helpers.evaluation import references_of, table_intervals
from helpers.patterns import open_stack
from helpers.annotation import SetSizes, labels_of, split, table_1
from helpers.em import PolarPatterns
from helpers.em import PolarGrid
from helpers.em import blocks, classify
from helpers.em import EMSettings
from helpers.evaluation import stable_selection, table_2, table_3, table_4, validation_curve
from helpers.training import Examples, Plan
from helpers.training import train_families
from helpers.family import Family
from helpers.system import write_csv
from helpers.training import TrainingSettings

families = ("yolov2-jet-log", "yolov3-gray-linear")
settings = TrainingSettings(
    size=64, width=0.125, iterations=10, checkpoint_every=5, batch=4, learning_rate=0.01, batch_norm_momentum=0.1
)
with open_stack(twin) as stack:
    sets = split(labels_of(stack), SetSizes((4, 10), (2, 6), (0, 0)), seed=5)
    examples = Examples.from_stack(stack, sets, Box(0, 80, 60, 180))
    plans = {
        folder / name: Plan(
            Family.from_name(name), examples, settings, consensus=[5, 10], threshold=0.01, device=device
        )
        for name in families
    }
    train_families(plans, processes=1)
    label = sets.set_index("pattern")["label"]
    test = sets[sets["set"] == "test"].reset_index(drop=True)
    scores, curves, selections = {}, {}, {}
    for name in families:
        found = score_stack(stack, load_family(trained_in / name, device), test["pattern"].to_numpy())
        write_csv(folder / f"scores_{name}.csv", found)
        scores[name] = found
        checked = FamilyFolder(folder / name).scores("validation")
        curves[name] = validation_curve(checked, label[checked["pattern"]].to_numpy(), 0.01)
        selections[name] = stable_selection(found.drop(columns="pattern").to_numpy(), 0.01)
    references = references_of(test)
    write_csv(folder / "table_1.csv", table_1(sets))
    write_csv(folder / "table_2.csv", table_2(curves, first=5, last=10))
    write_csv(folder / "table_3.csv", table_3(scores, dict.fromkeys(scores, 0.01), [5, 10]))
    write_csv(folder / "table_4.csv", table_4(selections, references))
    write_csv(folder / "table_intervals.csv", table_intervals(selections, references, seed=1))
    em = EMSettings(classes=4, rotations=20, q_range=(15, 40), iterations=6, tolerance=0)
    grid = PolarGrid.of_detector(stack.mask, stack.centre, em)
    patterns = PolarPatterns.from_counts(blocks(stack, np.arange(len(stack))), grid, em, device)
    classify(patterns, em, folder / "em", seed=2)
print(torch.get_num_threads())
"""


@pytest.fixture(scope="module")
def computed(twin, tmp_path_factory):
    """Train, score, classify and make the tables in a fresh process; the folder with all of it."""

    def compute(threads=1, device="cpu", trained_in=None):
        folder = tmp_path_factory.mktemp("numbers")
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        environment = {**os.environ, **limits, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SCRIPT, twin, folder, trained_in or folder, device]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.split()[-1] == str(threads)
        return folder

    return compute


@pytest.fixture(scope="module")
def one_thread(computed):
    return computed()


def files(folder):
    """Every result below a folder → its bytes; the log of a training and its state hold how long iterations took."""
    timed = [folder / family / name for family in FAMILIES for name in ("training.log", "state.safetensors")]
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in timed]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_scores_agree(folder, wanted, tolerance):
    for name in FAMILIES:
        found, expected = (
            pd.read_csv(place / f"scores_{name}.csv").drop(columns="pattern") for place in (folder, wanted)
        )
        assert expected.to_numpy().max() > 10 * tolerance  # so that agreement means something
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def assert_em_agrees(folder, wanted):
    found, expected = (
        load_tensors(place / "em" / "state.safetensors", torch.device("cpu")) for place in (folder, wanted)
    )
    np.testing.assert_allclose(found["log_likelihood"], expected["log_likelihood"], rtol=LIKELIHOOD)
    assert torch.equal(found["classes"].cpu(), expected["classes"])
    assert len(expected["classes"].unique()) > 1


@pytest.mark.whole
def test_two_runs_on_one_machine_leave_the_same_bytes(computed, one_thread):
    found, wanted = files(computed()), files(one_thread)
    assert {"table_4.csv", "em/state.safetensors", "yolov2-jet-log/checkpoints/iteration_000010.safetensors"} <= set(
        found
    )
    assert [name for name in wanted if found.get(name) != wanted[name]] == []
    assert set(found) == set(wanted)


@pytest.mark.whole
def test_two_threads_agree_with_one(computed, one_thread):
    two = computed(threads=2)
    found, wanted = files(two), files(one_thread)
    trained = {name for name in wanted if name.startswith(FAMILIES)}
    equal = {*trained, *(f"{name}.csv" for name in TABLES)}
    assert len(trained) == 2 * len(["family.json", "loss.csv", "scores_validation.csv", "5", "10"])
    assert [name for name in sorted(equal) if found.get(name) != wanted[name]] == []
    assert_scores_agree(two, one_thread, THREADS)
    assert_em_agrees(two, one_thread)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_agrees_with_the_processor(computed, one_thread):
    gpu = computed(device="cuda", trained_in=one_thread)
    assert_scores_agree(gpu, one_thread, GPU)
    assert_em_agrees(gpu, one_thread)
    for name in FAMILIES:
        losses = [pd.read_csv(place / name / "loss.csv")["loss"][0] for place in (gpu, one_thread)]
        assert losses[0] == pytest.approx(losses[1], rel=GPU)
