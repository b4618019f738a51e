"""How the time of an EM iteration grows with patterns, classes and rotations: by transforms, and by one matrix product.

The product is the plain way: every class in every rotation is a column, every pattern a row, E = K @ log(M)ᵀ and
M = Pᵀ @ K. Simulated patterns are repeated where more are needed; the time does not depend on what is in them.

    python tests/benchmarks/em_growth.py               # tables and a figure in results/benchmarks/
    python tests/benchmarks/em_growth.py --whole       # one iteration on 18 213 patterns: seconds, and peak memory
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from record import PATH, record

from helpers.em import EMSettings, PolarGrid, PolarPatterns
from helpers.em.expectation_maximisation import CHUNK, begin, iterate, noise
from helpers.figures import save_figure
from helpers.figures.colours import HIGHLIGHT, NEUTRAL, QUIET
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, styled
from helpers.patterns import open_stack
from helpers.simulation import simulate
from helpers.simulation.twin import PATTERNS
from helpers.system import write_csv

CPU = torch.device("cpu")
SETTINGS = EMSettings()
USUAL = {"patterns": 1000, "classes": SETTINGS.classes, "rotations": SETTINGS.rotations}
VARIED = {
    "patterns": (125, 250, 500, 1000, 2000, 4000),
    "classes": (2, 5, 10, 20, 40),
    "rotations": (10, 20, 50, 100, 200),
}
TRANSFORMS, PRODUCT = "transforms", "matrix product"
_PRODUCT_PATTERNS = 1000
_WANTED_GB = 8.0


def repeated(counts: np.ndarray, patterns: int) -> Iterator[np.ndarray]:
    """Blocks of as many patterns as are wanted."""
    for start in range(0, patterns, CHUNK):
        yield counts[np.arange(start, min(start + CHUNK, patterns)) % len(counts)]


def by_transforms(counts: np.ndarray, mask: np.ndarray, centre: tuple, amounts: dict) -> Callable[[], None]:
    """An iteration as the workbook does it."""
    settings = replace(SETTINGS, classes=amounts["classes"], rotations=amounts["rotations"])
    grid = PolarGrid.of_detector(mask, centre, settings)
    data = PolarPatterns.from_counts(repeated(counts, amounts["patterns"]), grid, settings, CPU)
    state = iterate(data, begin(data, settings, noise(data, settings, seed=1, run=1)), settings)
    return lambda: iterate(data, state, settings)


def by_product(counts: np.ndarray, mask: np.ndarray, centre: tuple, amounts: dict) -> Callable[[], None]:
    """An iteration with one matrix product for the E-step and one for the M-step."""
    settings = replace(SETTINGS, classes=amounts["classes"], rotations=amounts["rotations"])
    grid = PolarGrid.of_detector(mask, centre, settings)
    cells = [grid.of_patterns(block, intensity="log") for block in repeated(counts, amounts["patterns"])]
    patterns = torch.as_tensor(np.concatenate(cells)).flatten(1)
    exposure = torch.as_tensor(grid.exposure).flatten()
    step = grid.shape[1] // settings.rotations
    state = torch.rand((settings.classes, *grid.shape), dtype=torch.float64) + 0.5
    scale = patterns.sum(1) / (exposure.sum() * state.mean())

    def iteration() -> None:
        turned = torch.stack([state.roll(-j * step, 2) for j in range(settings.rotations)], 1).flatten(0, 1).flatten(1)
        likelihood = patterns @ turned.log().T - scale[:, None] * (turned @ exposure)
        posterior = likelihood.softmax(1)
        photons = (posterior.T @ patterns).unflatten(0, (settings.classes, -1)).unflatten(2, grid.shape)
        seen = (scale @ posterior).unflatten(0, (settings.classes, -1))
        exposures = torch.stack(
            [exposure.unflatten(0, grid.shape).roll(j * step, 1) for j in range(settings.rotations)]
        )
        weight = torch.einsum("kj,jra->kra", seen, exposures)
        summed = sum(photons[:, j].roll(j * step, 2) for j in range(settings.rotations))
        summed.div_(weight.clamp_min(1e-9))

    return iteration


def least_seconds(iteration: Callable[[], None], repeats: int) -> float:
    """The shortest of several."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        iteration()
        taken.append(time.perf_counter() - began)
    return min(taken)


def measure(counts: np.ndarray, mask: np.ndarray, centre: tuple, repeats: int) -> dict[str, pd.DataFrame]:
    """What was varied → its table: seconds of both ways."""
    tables = {}
    for name, values in VARIED.items():
        rows = []
        for value in values:
            amounts = USUAL | {name: value}
            row = {name: value, TRANSFORMS: least_seconds(by_transforms(counts, mask, centre, amounts), repeats)}
            if amounts["patterns"] <= _PRODUCT_PATTERNS and amounts["rotations"] <= USUAL["rotations"]:
                row[PRODUCT] = least_seconds(by_product(counts, mask, centre, amounts), max(1, repeats // 3))
            rows.append(row)
            print(row, flush=True)
        tables[name] = pd.DataFrame(rows)
    return tables


def whole(counts: np.ndarray, mask: np.ndarray, centre: tuple) -> None:
    """One iteration on as many patterns as the paper has, and the most memory that the process ever had."""
    iteration = by_transforms(counts, mask, centre, USUAL | {"patterns": PATTERNS})
    print(f"{PATTERNS} patterns, 20 × 100: {least_seconds(iteration, 3):.1f} s for an iteration")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    record(name=f"EM, memory for {PATTERNS} patterns", ours=peak, peer=_WANTED_GB, unit="GB", wanted=1)


@styled
def growth_figure(timings: dict[str, pd.DataFrame]) -> Figure:
    """Seconds of an iteration against what was varied, a panel each, on logarithmic axes.

    Parameters
    ----------
    timings
        Varied amount ("patterns", "classes" or "rotations") → table with a column of that name, and a column of
        seconds for each way to compute; NaN where it was not measured.

    Returns
    -------
    Figure
        6.9 in wide; a gray line grows in proportion.
    """
    figure = new_figure(TWO_COLUMNS, 2.4)
    panels = figure.subplots(1, len(timings), sharey=True, squeeze=False)[0]
    for axes, (name, table) in zip(panels, timings.items(), strict=True):
        amounts = table[name].to_numpy(float)
        for way, colour in zip(table.columns.drop(name), (NEUTRAL, HIGHLIGHT, "#009E73"), strict=False):
            axes.loglog(amounts, table[way], "o-", markersize=3, color=colour, label=way)
        first = table.columns.drop(name)[0]
        axes.loglog(amounts, table[first].iloc[-1] * amounts / amounts[-1], color=QUIET, linewidth=0.8, zorder=0.5)
        axes.set_xlabel(name)
        axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts], size=6)
        axes.minorticks_off()
    panels[0].set_ylabel("seconds per iteration")
    letter(panels)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=3)
    return figure


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "twin.cxi"
        simulate(path, patterns=500, outside=(0, 0), seed=2)
        with open_stack(path) as stack:
            counts, mask, centre = stack.read(slice(None)), stack.mask, stack.centre
    if arguments.whole:
        whole(counts, mask, centre)
        return
    tables = measure(counts, mask, centre, arguments.repeats)
    usual = tables["classes"].set_index("classes").loc[USUAL["classes"]]
    record(name="EM, an iteration, transforms", ours=usual[TRANSFORMS], peer=usual[PRODUCT], unit="s", wanted=1)
    write_csv(PATH.with_name("em_growth.csv"), pd.concat(tables, names=["varied"]).reset_index("varied"))
    save_figure(growth_figure(tables), PATH.with_name("em_growth"))


if __name__ == "__main__":
    main()
