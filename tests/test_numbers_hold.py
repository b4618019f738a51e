"""The same numbers from two runs byte for byte, and from other thread counts and a GPU within a stated tolerance.

A sum in another order is rounded otherwise, and training multiplies that. After ten iterations (learning rate 0.01),
with float32 networks and float64 EM:

loss               1e-3, relative
scores             1e-3
EM                 1e-9 of the log-likelihood; every pattern in the same class
Tables 2 to 4      equal, from equal scores: they are counts and their ratios
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import ROOT

LOSS, SCORES, LIKELIHOOD = 1e-3, 1e-3, 1e-9

SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch
twin, folder, threads, device = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), torch.device(sys.argv[4])
torch.set_num_threads(threads)
from helpers.annotation import Box
from helpers.artefacts import FamilyFolder
from helpers.classification import load_family, score_stack
from helpers.comparison import references_of, table_intervals
from helpers.cxi import open_stack
from helpers.dataset import SetSizes, labels_of, split, table_1
from helpers.em import PolarPatterns
from helpers.em_polar import PolarGrid
from helpers.em_runs import blocks, classify
from helpers.em_settings import EMSettings
from helpers.evaluation import stable_selection, table_2, table_3, table_4, validation_curve
from helpers.examples import Examples, Plan
from helpers.family import Family
from helpers.files import write_csv
from helpers.settings import TrainingSettings
from helpers.training import train

families = [Family.from_name(name) for name in ("yolov2-jet-log", "yolov3-gray-linear")]
settings = TrainingSettings(
    size=64, width=0.125, iterations=10, checkpoint_every=5, batch=4, learning_rate=0.01, batch_norm_momentum=0.1
)
with open_stack(twin) as stack:
    sets = split(labels_of(stack), SetSizes((4, 10), (2, 6), (0, 0)), seed=5)
    write_csv(folder / "table_1.csv", table_1(sets))
    examples = Examples.from_stack(stack, sets, Box(0, 80, 60, 180))
    label = sets.set_index("pattern")["label"]
    test = sets[sets["set"] == "test"].reset_index(drop=True)
    scores, curves, selections = {}, {}, {}
    for family in families:
        plan = Plan(family, examples, settings, kept=[5, 10], threshold=0.01, device=device)
        artefacts = train(plan, folder / str(family))
        found = score_stack(stack, load_family(artefacts.path, device), test["pattern"].to_numpy())
        write_csv(artefacts.scores_path("test"), found)
        scores[str(family)] = artefacts.scores("test")
        checked = artefacts.scores("validation")
        curves[str(family)] = validation_curve(checked, label[checked["pattern"]].to_numpy(), 0.01)
        selections[str(family)] = stable_selection(scores[str(family)].drop(columns="pattern").to_numpy(), 0.01)
    write_csv(folder / "table_2.csv", table_2(curves, first=5, last=10))
    write_csv(folder / "table_3.csv", table_3(scores, dict.fromkeys(scores, 0.01), [5, 10]))
    write_csv(folder / "table_4.csv", table_4(selections, references_of(test)))
    write_csv(folder / "table_intervals.csv", table_intervals(selections, references_of(test), seed=1))
    em = EMSettings(classes=4, rotations=20, q_range=(15, 40), iterations=6, tolerance=0)
    grid = PolarGrid.of_detector(stack.mask, stack.centre, em)
    patterns = PolarPatterns.from_counts(blocks(stack, np.arange(len(stack))), grid, em, device)
    classify(patterns, em, folder / "em", seed=2)
"""


@pytest.fixture(scope="module")
def computed(twin, tmp_path_factory):
    """Train, score, classify and make the tables in a fresh process; the folder with all of it."""

    def compute(threads=1, device="cpu"):
        folder = tmp_path_factory.mktemp("numbers")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SCRIPT, twin, folder, str(threads), device]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return folder

    return compute


@pytest.fixture(scope="module")
def one_thread(computed):
    return computed()


def files(folder):
    """Every result below a folder → its bytes; the log of a training and its state hold how long iterations took."""
    timed = [path for family in folder.glob("yolo*") for path in (family / "training.log", family / "state.pt")]
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in timed]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_numbers_agree(folder, wanted):
    for name in ("yolov2-jet-log", "yolov3-gray-linear"):
        losses = [pd.read_csv(place / name / "loss.csv") for place in (folder, wanted)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=LOSS)
        for scored in ("validation", "test"):
            scores = [pd.read_csv(place / name / f"scores_{scored}.csv") for place in (folder, wanted)]
            assert scores[1].drop(columns="pattern").to_numpy().std() > 10 * SCORES  # so that agreement means something
            np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=SCORES)
    states = [torch.load(place / "em" / "state.pt", weights_only=True) for place in (folder, wanted)]
    np.testing.assert_allclose(states[0]["log_likelihood"], states[1]["log_likelihood"], rtol=LIKELIHOOD)
    assert torch.equal(states[0]["classes"], states[1]["classes"])


def test_two_runs_on_one_machine_leave_the_same_bytes(computed, one_thread):
    found, wanted = files(computed()), files(one_thread)
    assert {"table_4.csv", "em/state.pt", "yolov2-jet-log/checkpoints/iteration_000010.pt"} <= set(found)
    assert [name for name in wanted if found.get(name) != wanted[name]] == []
    assert set(found) == set(wanted)


def test_two_threads_agree_with_one(computed, one_thread):
    assert_numbers_agree(computed(threads=2), one_thread)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_agrees_with_the_processor(computed, one_thread):
    assert_numbers_agree(computed(device="cuda"), one_thread)
