"""EM classification beside the co-author's program, spi_em_class 0.1.7, on the same 1000 simulated patterns.

The program needs an environment of its own, because its numpy is older than ours:

    python3.11 -m venv .peers/spi-em-class
    .peers/spi-em-class/bin/pip install spi-em-class==0.1.7 "numpy<1.24" "scipy<1.11"
    python tests/benchmarks/em.py --peer .peers/spi-em-class/bin/python

Three questions: how long is an iteration; how likely are the models after as many iterations from the same noise; do
both give a pattern the same class if they start from the same model? The iterations are done in turn, one of each, so
that both see the same machine. The likelihood is measured twice, with the E-step of each, because a model has to be
brought from pixels to rings or back, and loses by it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from record import record
from scipy.ndimage import map_coordinates

from helpers import ROOT
from helpers.cxi import open_stack
from helpers.em import EMState, PolarPatterns, begin, expectation, fitting_scales, iterate
from helpers.em_polar import PolarGrid
from helpers.em_runs import blocks
from helpers.em_settings import EMSettings
from helpers.simulation import simulate

PEER = ROOT / ".peers" / "spi-em-class" / "bin" / "python"
SETTINGS = EMSettings()
CPU = torch.device("cpu")


class Peer:
    """The other program, iteration by iteration."""

    def __init__(self, python: Path, cxi: Path, folder: Path, threads: int) -> None:
        script = Path(__file__).parent / "peers" / "spi_em_class_iterations.py"
        amounts = ["--classes", str(SETTINGS.classes), "--rotations", str(SETTINGS.rotations)]
        band = ["--q-range", *map(str, SETTINGS.q_range)]
        self._process = subprocess.Popen(
            [str(python), str(script), str(cxi), str(folder / "state.h5"), *band, *amounts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": os.environ["PATH"], "NUMBA_NUM_THREADS": str(threads)},
        )
        self.shape = tuple(self._answer()["shape"])

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the other program has ended; run its command by hand to see why")
        return json.loads(line)

    def ask(self, *words: object) -> dict:
        """Send a command and wait for the answer."""
        print(*words, file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the program."""
        self._process.stdin.close()
        self._process.wait()


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
    """Mean log-likelihood of models under our E-step, with the scales that fit them."""
    state = begin(data, SETTINGS, torch.as_tensor(models).clamp_min(1e-4))
    for _ in range(2):
        posterior, found = expectation(data, state.model, state.scale)
        state = replace(state, scale=fitting_scales(data, posterior, state.model))
    return found


def their_likelihood_of(peer: Peer, models: np.ndarray, path: Path) -> float:
    """Mean log-likelihood of models under their E-step, with the scales that fit them."""
    np.save(path, models)
    peer.ask("start", path)
    peer.ask("expect")
    return peer.ask("expect")["log_likelihood"]


def compare(peer: Peer, data: PolarPatterns, grid: PolarGrid, folder: Path, iterations: int) -> None:
    """Time, likelihood from the same noise, classes from the same model."""
    noise = 0.99 + 0.01 * np.random.default_rng(1).random(peer.shape)
    np.save(folder / "noise.npy", noise)
    peer.ask("start", folder / "noise.npy")
    state = begin(data, SETTINGS, torch.as_tensor(to_rings(noise, grid)))
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
    record(name="EM, an iteration", ours=min(ours), peer=min(theirs), unit="s", wanted=10)
    peer.ask("save", folder / "end.npz")
    end = np.load(folder / "end.npz")["model"]
    _compare_classes(peer, data, grid, end, folder)
    _compare_likelihood(peer, data, grid, end, state, folder)


def _compare_classes(peer: Peer, data: PolarPatterns, grid: PolarGrid, end: np.ndarray, folder: Path) -> None:
    """Both start from the models of the other program and do two iterations."""
    np.save(folder / "end.npy", end)
    peer.ask("start", folder / "end.npy")
    state = begin(data, SETTINGS, torch.as_tensor(to_rings(end, grid)).clamp_min(1e-4))
    for number in (1, 2):
        peer.ask("iterate")
        state = iterate(data, state, SETTINGS)
        peer.ask("save", folder / "classes.npz")
        same = float((np.load(folder / "classes.npz")["classes"] == state.classes.numpy()).mean())
        print(f"from the same model, iteration {number}: the same class for {same:.1%} of the patterns")
    record(name="EM, same class from the same model", ours=same, peer=1.0, unit="fraction", wanted=0.95)


def _compare_likelihood(
    peer: Peer, data: PolarPatterns, grid: PolarGrid, end: np.ndarray, state: EMState, folder: Path
) -> None:
    """Gain of the end over a model without features, under both measures."""
    flat = np.ones_like(end)
    measured = {
        "our measure": [
            likelihood_of(data, m) for m in (to_rings(flat, grid), state.model.numpy(), to_rings(end, grid))
        ],
        "their measure": [
            their_likelihood_of(peer, m, folder / "model.npy")
            for m in (flat, to_pixels(state.model.numpy(), grid), end)
        ],
    }
    for measure, (without, ours, theirs) in measured.items():
        print(f"{measure}: no features {without:.2f}, ours {ours:.2f}, theirs {theirs:.2f} per pattern")
        record(
            name=f"EM, log-likelihood gained, {measure}",
            ours=ours - without,
            peer=theirs - without,
            unit="per pattern",
            wanted=1,
        )


def main() -> None:
    """Simulate, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=PEER, help="python of the environment with spi-em-class")
    parser.add_argument("--patterns", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=10)
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
        peer = Peer(arguments.peer, twin, folder, arguments.threads)
        try:
            compare(peer, data, grid, folder, arguments.iterations)
        finally:
            peer.close()


if __name__ == "__main__":
    main()
