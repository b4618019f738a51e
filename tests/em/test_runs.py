import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import ROOT
from helpers.em import EMSettings, PolarGrid, PolarPatterns, blocks, classify, classify_runs
from helpers.em.runs import converged, read_state
from helpers.errors import NetworkFileError
from helpers.patterns import open_stack

CPU = torch.device("cpu")
SETTINGS = EMSettings(classes=4, rotations=20, q_range=(15, 40), iterations=6, tolerance=0)


def patterns_of(path, settings=SETTINGS):
    with open_stack(path) as stack:
        grid = PolarGrid.of_detector(stack.mask, stack.centre, settings)
        return PolarPatterns.from_counts(blocks(stack, np.arange(len(stack))), grid, settings, CPU)


@pytest.fixture(scope="module")
def data(twin):
    return patterns_of(twin)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("em") / "run_1"
    classify(data, SETTINGS, folder, seed=2)
    return folder


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from tests.em.test_runs import SETTINGS, patterns_of
from helpers.em import classify
classify(patterns_of(Path({twin!r})), SETTINGS, Path({folder!r}), seed=2)
"""


@pytest.mark.parametrize("killed_after", [1, 4])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(data, undisturbed, twin, tmp_path, killed_after):
    code = CHILD.format(tests=str(ROOT), twin=str(twin), folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        if f"iteration {killed_after}:" in line:
            child.send_signal(signal.SIGKILL)
            break
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    assert read_state(tmp_path / "state.safetensors", CPU).iteration >= killed_after
    classify(data, SETTINGS, tmp_path, seed=2)
    assert (tmp_path / "state.safetensors").read_bytes() == (undisturbed / "state.safetensors").read_bytes()


def test_a_run_that_stops_after_any_iteration_goes_on_to_the_same_bytes(data, undisturbed, tmp_path):
    for iterations in range(1, SETTINGS.iterations + 1):
        shorter = EMSettings(**SETTINGS.to_mapping() | {"iterations": iterations})
        classify(data, shorter, tmp_path, seed=2)
        assert read_state(tmp_path / "state.safetensors", CPU).iteration == iterations
    assert (tmp_path / "state.safetensors").read_bytes() == (undisturbed / "state.safetensors").read_bytes()


def test_a_finished_run_is_read_not_computed(data, undisturbed, capsys):
    before = (undisturbed / "state.safetensors").stat().st_mtime_ns
    state = classify(data, SETTINGS, undisturbed, seed=2)
    assert capsys.readouterr().out == ""
    assert (undisturbed / "state.safetensors").stat().st_mtime_ns == before
    assert state.iteration == SETTINGS.iterations
    assert set(state.snapshots) == {0, 1, 2, 4}


def test_other_settings_seeds_or_patterns_start_anew_and_the_old_run_is_kept(data, tmp_path, capsys):
    folder = tmp_path / "run_1"
    classify(data, SETTINGS, folder, seed=2)
    first = (folder / "state.safetensors").read_bytes()
    classify(data, SETTINGS, folder, seed=3)
    assert (folder / "state.safetensors").read_bytes() != first
    assert (tmp_path / "stale" / "run_1-1" / "state.safetensors").read_bytes() == first
    other = EMSettings(**SETTINGS.to_mapping() | {"classes": 3})
    assert classify(data, other, folder, seed=3).model.shape[0] == 3
    assert "run_1 is stale (settings.classes, start changed)" in capsys.readouterr().out
    assert [path.parent.name for path in tmp_path.glob("run_*/state.safetensors")] == ["run_1"]


def test_a_run_ends_when_it_gains_less_than_the_tolerance(data, tmp_path):
    patient = EMSettings(**SETTINGS.to_mapping() | {"iterations": 60, "tolerance": 0.01})
    state = classify(data, patient, tmp_path, seed=2)
    gains = np.diff(state.log_likelihood)
    assert state.iteration < 60
    assert converged(state, patient)
    assert gains[-1] < 0.01 <= gains[:-1].min()


@pytest.mark.parametrize("sooner", [{"iterations": 3}, {"tolerance": 20.0}])
def test_a_run_that_would_have_ended_sooner_is_made_again(data, undisturbed, tmp_path, sooner):
    settings = EMSettings(**SETTINGS.to_mapping() | sooner)
    first = classify(data, settings, tmp_path / "fresh", seed=2)
    assert first.iteration < SETTINGS.iterations
    classify(data, SETTINGS, tmp_path / "longer", seed=2)
    again = classify(data, settings, tmp_path / "longer", seed=2)
    assert again.log_likelihood == first.log_likelihood
    assert (tmp_path / "longer" / "state.safetensors").read_bytes() == (
        tmp_path / "fresh" / "state.safetensors"
    ).read_bytes()


def test_each_iteration_prints_its_objective(data, tmp_path, capsys):
    state = classify(data, SETTINGS, tmp_path, seed=2, run=3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == SETTINGS.iterations
    assert lines[-1].startswith(f"run 3, iteration 6: log-likelihood of a pattern {state.log_likelihood[-1]:.4f}, ")


def test_a_run_may_start_from_a_model(data, tmp_path, undisturbed):
    model = read_state(undisturbed / "state.safetensors", CPU).model
    state = classify(data, SETTINGS, tmp_path, seed=2, model=model)
    assert torch.equal(state.snapshots[0], model)


def test_a_damaged_state_is_refused(data, tmp_path):
    classify(data, SETTINGS, tmp_path, seed=2)
    (tmp_path / "state.safetensors").write_bytes(b"not a state")
    with pytest.raises(NetworkFileError, match=r"state\.safetensors: not a"):
        classify(data, SETTINGS, tmp_path, seed=2)


def test_all_runs_have_folders_of_their_own_and_other_noise(data, undisturbed, tmp_path):
    settings = replace(SETTINGS, runs=2)
    states = classify_runs(data, settings, tmp_path, seed=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run_1", "run_2"]
    assert (tmp_path / "run_1" / "state.safetensors").read_bytes() == (undisturbed / "state.safetensors").read_bytes()
    assert states[0].log_likelihood != states[1].log_likelihood
