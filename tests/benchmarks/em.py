"""EM classification beside the co-author's program, spi_em_class 0.1.7, on the same 1000 simulated patterns.

The program needs an environment of its own, because its numpy is older than ours:

    python3.11 -m venv .peers/spi-em-class
    .peers/spi-em-class/bin/pip install spi-em-class==0.1.7 "numpy<1.24" "scipy<1.11"
    python tests/benchmarks/em.py --peer .peers/spi-em-class/bin/python

Three questions: how long is an iteration; how likely are the models after as many iterations from the same noise; do
both give a pattern the same class if they start from the same model? The iterations are done in turn, one of each, so
that both see the same machine. The likelihood is measured by each program. A model that is brought from pixels to rings
or back is blurred, so each program does one iteration more on every end before it measures.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from program import Program
from record import record
from scipy.ndimage import map_coordinates

from helpers import ROOT
from helpers.em import EMSettings, PolarGrid, PolarPatterns, blocks
from helpers.em.expectation_maximisation import EMState, begin, expectation, fitting_scales, iterate, noise
from helpers.patterns import open_stack
from helpers.simulation import simulate

PEER = ROOT / ".peers" / "spi-em-class" / "bin" / "python"
SETTINGS = EMSettings()
CPU = torch.device("cpu")
FORMED = 3
"""Iterations after which the classes have formed: from noise, rounding decides which of many equal ends is reached."""
STARTS = 10
"""Of ours, which together take less time than one of theirs."""


def started(python: Path, cxi: Path, folder: Path, threads: int) -> Program:
    """The other program, which goes iteration by iteration."""
    script = Path(__file__).parent / "peers" / "spi_em_class_iterations.py"
    amounts = ["--classes", SETTINGS.classes, "--rotations", SETTINGS.rotations]
    band = ["--q-range", *SETTINGS.q_range]
    environment = {"PATH": os.environ["PATH"], "NUMBA_NUM_THREADS": str(threads)}
    return Program([python, script, cxi, folder / "state.h5", *band, *amounts], environment, quiet=True)


def to_rings(models: np.ndarray, grid: PolarGrid) -> np.ndarray:
    """Models on pixels (classes, side, side) at the middles of the cells: (classes, rings, angles)."""
    angle = np.arange(grid.shape[1]) / grid.shape[1] * grid.period
    middle = models.shape[-1] // 2
    places = [middle + grid.radii[:, None] * np.sin(angle), middle + grid.radii[:, None] * np.cos(angle)]
    return np.stack([map_coordinates(model, places, order=1, mode="nearest") for model in models])


def to_pixels(models: np.ndarray, grid: PolarGrid) -> np.ndarray:
    """Models on rings (classes, rings, angles) on the pixels of the other program; the band is carried on outside."""
    wider = replace(
        grid, first_radius=grid.first_radius - 2, exposure=np.pad(grid.exposure, ((2, 2), (0, 0)), mode="edge")
    )
    pictures = wider.pictures(np.pad(models, ((0, 0), (2, 2), (0, 0)), mode="edge"))
    return np.nan_to_num(pictures, nan=float(models.min()))[:, 2:-2, 2:-2]


def likelihood_of(data: PolarPatterns, models: np.ndarray) -> float:
    """Mean log-likelihood of a pattern under our program, one iteration on from models."""
    state = begin(data, SETTINGS, torch.as_tensor(models).clamp_min(1e-4))
    posterior, _ = expectation(data, state.model, state.scale)
    state = iterate(data, replace(state, scale=fitting_scales(data, posterior, state.model)), SETTINGS)
    return expectation(data, state.model, state.scale)[1]


def their_likelihood_of(peer: Program, models: np.ndarray, path: Path) -> float:
    """Mean log-likelihood of a pattern under their program, one iteration on from models."""
    np.save(path, models)
    for command in (("start", path), ("expect",), ("iterate",)):
        peer.ask(*command)
    return peer.ask("expect")["log_likelihood"]


def on_from(data: PolarPatterns, models: np.ndarray, iterations: int) -> EMState:
    """Our program, some iterations on from models."""
    state = begin(data, SETTINGS, torch.as_tensor(models).clamp_min(1e-4))
    for _ in range(iterations):
        state = iterate(data, state, SETTINGS)
    return state


def run_both(peer: Program, data: PolarPatterns, grid: PolarGrid, folder: Path, iterations: int) -> EMState:
    """Iterations in turn from the same noise: their times; the other program's models are saved on the way."""
    first = 0.99 + 0.01 * np.random.default_rng(1).random(peer.greeting["shape"])
    np.save(folder / "noise.npy", first)
    peer.ask("start", folder / "noise.npy")
    state = begin(data, SETTINGS, torch.as_tensor(to_rings(first, grid)))
    theirs, ours = [], []
    for number in range(1, iterations + 1):
        answer = peer.ask("iterate")
        began = time.perf_counter()
        state = iterate(data, state, SETTINGS)
        ours.append(time.perf_counter() - began)
        theirs.append(answer["seconds"])
        print(
            f"iteration {number}: {ours[-1]:.3f} s and {theirs[-1]:.1f} s, log-likelihood of a pattern "
            f"{state.log_likelihood[-1]:.2f} and {answer['log_likelihood']:.2f}, each by its own measure",
            flush=True,
        )
        peer.ask("save", folder / f"after_{number}.npz")
    record(name="EM, an iteration", ours=min(ours), peer=min(theirs), unit="s", wanted=10)
    return state


def compare_classes(peer: Program, data: PolarPatterns, grid: PolarGrid, end: np.ndarray, folder: Path) -> None:
    """Both start from the models of the other program and do two iterations."""
    np.save(folder / "end.npy", end)
    peer.ask("start", folder / "end.npy")
    same = []
    for number in (1, 2):
        peer.ask("iterate")
        peer.ask("save", folder / "classes.npz")
        ours = on_from(data, to_rings(end, grid), number).classes.numpy()
        same.append(float((np.load(folder / "classes.npz")["classes"] == ours).mean()))
        print(f"from the same model, iteration {number}: the same class for {same[-1]:.1%} of the patterns")
    name = "EM, same class under the same model"
    record(name=name, ours=same[0], peer=1.0, unit="fraction", wanted=0.95, better="more")


def compare_likelihood(
    peer: Program,
    data: PolarPatterns,
    grid: PolarGrid,
    ends: dict[str, np.ndarray],
    wanted: dict[str, float],
    folder: Path,
) -> None:
    """How likely the ends are for both programs, one iteration on, over how likely a pattern is for flat models."""
    path = folder / "model.npy"
    measured = {
        name: (
            likelihood_of(data, end if name.startswith("ours") else to_rings(end, grid)),
            their_likelihood_of(peer, to_pixels(end, grid) if name.startswith("ours") else end, path),
        )
        for name, end in ends.items()
    }
    flat = on_from(data, np.ones((SETTINGS.classes, *grid.shape)), 1).log_likelihood[0]
    for place, measure in enumerate(("our measure", "their measure")):
        found = {name: values[place] for name, values in measured.items()}
        print(f"{measure}, log-likelihood of a pattern:", *(f"{name} {value:.2f}" for name, value in found.items()))
        for name, least in wanted.items():
            title = f"EM, log-likelihood gained, {name}, {measure}"
            gained = {"ours": found[name] - flat, "peer": found["theirs"] - flat}
            record(name=title, **gained, unit="per pattern", wanted=least, better="more")


def compare(peer: Program, data: PolarPatterns, grid: PolarGrid, folder: Path, iterations: int) -> None:
    """Time, classes from the same model, likelihood from the same start and of the best of our starts."""
    state = run_both(peer, data, grid, folder, iterations)
    middle, end = (np.load(folder / f"after_{number}.npz")["model"] for number in (FORMED, iterations))
    compare_classes(peer, data, grid, end, folder)
    firsts = [noise(data, SETTINGS, seed=1, run=run).numpy() for run in range(1, STARTS + 1)]
    others = [on_from(data, first, iterations) for first in firsts]
    reached = [other.log_likelihood[-1] for other in others]
    spread = (max(reached) - min(reached)) / (np.mean(reached) - state.log_likelihood[0])
    print(f"the ends of {STARTS} starts of ours differ by {spread:.2%} of the gain")
    ends = {
        "theirs": end,
        "ours from the same noise": state.model.numpy(),
        "ours from their third model": on_from(data, to_rings(middle, grid), iterations - FORMED).model.numpy(),
        f"ours, best of {STARTS} starts": others[int(np.argmax(reached))].model.numpy(),
    }
    wanted = dict.fromkeys(list(ends)[1:], 1.0)
    compare_likelihood(peer, data, grid, ends, wanted, folder)


def main() -> None:
    """Simulate, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=PEER, help="python of the environment with spi-em-class")
    parser.add_argument("--patterns", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if not arguments.peer.is_file():
        print(f"not measured: there is no {arguments.peer}.{__doc__.partition('.')[2]}")
        sys.exit(0)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        twin = folder / "twin.cxi"
        simulate(twin, patterns=arguments.patterns, outside=(0, 0), seed=2)
        with open_stack(twin) as stack:
            grid = PolarGrid.of_detector(stack.mask, stack.centre, SETTINGS)
            data = PolarPatterns.from_counts(blocks(stack, np.arange(len(stack))), grid, SETTINGS, CPU)
        peer = started(arguments.peer, twin, folder, arguments.threads)
        try:
            compare(peer, data, grid, folder, arguments.iterations)
        finally:
            peer.close()


if __name__ == "__main__":
    main()
