"""Independent runs of EM classification, each in a folder: what is written after an iteration is where it goes on.

state.safetensors  models, scales, classes and rotations after the last iteration
em.json            settings, seed, run, checksums of patterns and code
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.em.expectation_maximisation import CHUNK, EMState, PolarPatterns, begin, iterate, noise
from helpers.em.settings import EMSettings
from helpers.errors import NetworkFileError
from helpers.patterns import PatternStack
from helpers.system import begin_long_computation, claim_folder, code_digest, load_tensors, progress, save_tensors


def blocks(stack: PatternStack, patterns: np.ndarray) -> Iterator[np.ndarray]:
    """Photon counts of some patterns of a stack (n, rows, columns), as many at a time as EM takes.

    Parameters
    ----------
    stack
        File of patterns.
    patterns
        (N,) numbers of the patterns in the stack.
    """
    for start in progress(range(0, len(patterns), CHUNK), label="reading patterns"):
        yield stack.read(patterns[start : start + CHUNK])


def classify(
    data: PolarPatterns,
    settings: EMSettings,
    folder: Path,
    *,
    seed: int,
    run: int = 1,
    model: torch.Tensor | None = None,
) -> EMState:
    """Run EM until it has converged, or go on with a run that was killed; each iteration prints a line.

    Parameters
    ----------
    data
        Patterns on the polar grid, transformed.
    settings
        Number of classes, iterations, tolerance.
    folder
        Folder of this run; what lies there from other patterns, settings or code is moved aside (`claim_folder`).
    seed, run
        Seed of the noise that the run starts from, and its number.
    model
        (classes, rings, angles) to start from instead of noise.

    Returns
    -------
    EMState
        After the last iteration.
    """
    first = noise(data, settings, seed=seed, run=run) if model is None else model.to(data.totals)
    description = _description(data, settings, first, {"seed": seed, "run": run})
    claim_folder(folder, description, written_in="em.json")
    path = folder / "state.safetensors"
    state = read_state(path, data.totals.device) if path.exists() else None
    if state is None or _went_too_far(state, settings):
        state = begin(data, settings, first)
    while state.iteration < settings.iterations and not converged(state, settings):
        begin_long_computation(f"run {run} of EM")
        state = iterate(data, state, settings)
        write_state(path, state)
        print(f"run {run}, {iteration_line(state)}", flush=True)
    return state


def classify_runs(data: PolarPatterns, settings: EMSettings, folder: Path, *, seed: int) -> list[EMState]:
    """All independent runs of EM, one after the other, each in a folder `run_1`, `run_2`, … of its own.

    Parameters
    ----------
    data, settings, seed
        As in `classify`.
    folder
        Of all runs.

    Returns
    -------
    list of EMState
        Of each run, after its last iteration.
    """
    runs = range(1, settings.runs + 1)
    return [classify(data, settings, folder / f"run_{run}", seed=seed, run=run) for run in runs]


def converged(state: EMState, settings: EMSettings) -> bool:
    """True if the last iteration gained less log-likelihood per pattern than the tolerance."""
    if state.iteration < 2:
        return False
    return state.log_likelihood[-1] - state.log_likelihood[-2] < settings.tolerance


def _went_too_far(state: EMState, settings: EMSettings) -> bool:
    """True if a run with these settings would have ended before this state."""
    gains = np.diff(state.log_likelihood)
    return state.iteration > settings.iterations or bool((gains[:-1] < settings.tolerance).any())


def iteration_line(state: EMState) -> str:
    """The objective after an iteration, and how many patterns have changed their class."""
    return (
        f"iteration {state.iteration}: log-likelihood of a pattern {state.log_likelihood[-1]:.4f}, "
        f"{state.changed[-1]} patterns changed class"
    )


def write_state(path: Path, state: EMState) -> None:
    """Write a state, whole or not at all; equal states give equal bytes."""
    values = {name: getattr(state, name) for name in EMState.__dataclass_fields__}
    # copies, because the last model may be a snapshot too, and no two tensors of a file may share memory
    save_tensors(path, values | {"snapshots": {done: model.clone() for done, model in state.snapshots.items()}})


def read_state(path: Path, device: torch.device) -> EMState:
    """Read what `write_state` wrote.

    Raises
    ------
    NetworkFileError
        If the file is missing or damaged, or its parts do not fit each other.
    """
    values = load_tensors(path, device)
    if set(values) != set(EMState.__dataclass_fields__) or not _fits(values):
        raise NetworkFileError(f"{path}: holds no state of EM, or parts of different ones; delete it and run EM anew")
    histories = {name: tuple(values[name]) for name in ("log_likelihood", "changed")}
    return EMState(**values | histories | {"snapshots": {int(k): one for k, one in values["snapshots"].items()}})


def _fits(values: dict) -> bool:
    """True if the parts of a state are of the right kind, and of the same patterns, classes and iterations."""
    model, scale, likelihood, changed = (values[name] for name in ("model", "scale", "log_likelihood", "changed"))
    tensors = (model, scale, values["classes"], values["rotations"])
    if not all(torch.is_tensor(one) and one.numel() for one in tensors) or not isinstance(values["snapshots"], dict):
        return False
    models = [model, *values["snapshots"].values()]
    return (
        all(torch.is_tensor(one) and one.ndim == 3 and one.shape == model.shape and _finite(one) for one in models)
        and all(done.isdecimal() for done in values["snapshots"])
        and scale.ndim == 1
        and _finite(scale)
        and all(one.shape == scale.shape and one.dtype == torch.int64 and one.min() >= 0 for one in tensors[2:])
        and int(values["classes"].max()) < len(model)
        and all(isinstance(one, list) for one in (likelihood, changed))
        and len(likelihood) == len(changed)
        and all(type(one) is float and math.isfinite(one) for one in likelihood)
        and all(type(one) is int and one >= 0 for one in changed)
    )


def _finite(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and bool(torch.isfinite(tensor).all())


def _description(data: PolarPatterns, settings: EMSettings, model: torch.Tensor, given: dict) -> dict[str, Any]:
    """All that a run follows from; `given` are its seed and number."""
    return given | {
        "settings": {name: value for name, value in settings.to_mapping().items() if name not in _MAY_CHANGE},
        "patterns": data.digest(),
        "start": float(model.double().std()),
        "code": code_digest("helpers.em.expectation_maximisation"),
        "device": data.totals.device.type,
    }


_MAY_CHANGE = ("iterations", "runs", "tolerance")
"""Settings that say how long and how often, not what an iteration does: a run that is there may go on with others."""
