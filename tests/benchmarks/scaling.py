"""How time and memory of classification grow with the number of patterns, from the file to the selection.

A network as in the profile `demo` (YOLOv2, 96 pixels, a quarter of the filters), five checkpoints of it after one to
five iterations: the time does not depend on what the weights have learnt. Simulated patterns are repeated by a virtual
data set. Each number of patterns is a process of its own, whose most memory is that of its whole life.

    python tests/benchmarks/scaling.py                               # results/benchmarks/scaling.csv, .png and .pdf
    python tests/benchmarks/scaling.py --patterns 1000 10000         # without the longest
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import pandas as pd
import torch
from demo_family import train_demo_family
from matplotlib.figure import Figure
from record import PATH, record

from helpers.classification.files import classify_file
from helpers.figures import save_figure
from helpers.figures.colours import HIGHLIGHT, QUIET
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, styled
from helpers.simulation import simulate
from helpers.system import write_csv

PATTERNS = (1000, 10_000, 100_000)
_TWIN = 500
_WANTED = 0.9  # of the memory for the fewest patterns over that for the most


def write_repeated(path: Path, twin: Path, patterns: int) -> None:
    """Write a virtual file with the patterns of the twin again and again."""
    with h5py.File(twin) as file:
        source = file["entry_1/image_1/data"]
        layout = h5py.VirtualLayout((patterns, *source.shape[1:]), source.dtype)
        for start in range(0, patterns, len(source)):
            length = min(len(source), patterns - start)
            layout[start : start + length] = h5py.VirtualSource(source)[:length]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry_1/data_1/data", layout)


def measure(path: Path, model: Path, threads: int) -> None:
    """Classify a file in this process, and print seconds and the most memory [MB]."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    said = classify_file(path, model, output=path.with_suffix(".csv"))
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()  # getrusage would count the process that started this one, too
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000
    print(said, flush=True)
    print(json.dumps({"seconds": seconds, "peak_mb": peak}), flush=True)


def in_a_process(path: Path, model: Path, threads: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(path), str(model), "--threads", str(threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@styled
def scaling_figure(table: pd.DataFrame) -> Figure:
    """Time and memory against patterns; gray is in proportion."""
    figure = new_figure(TWO_COLUMNS, 2.4)
    panels = figure.subplots(1, 2)
    for axes, column, label in zip(panels, ("seconds", "peak_mb"), ("seconds", "most memory [MB]"), strict=True):
        axes.semilogx(table["patterns"], table[column], "o-", markersize=3, color=HIGHLIGHT)
        axes.set_xlabel("patterns")
        axes.set_ylabel(label)
    last = table.iloc[-1]
    panels[0].plot(
        table["patterns"],
        last["seconds"] * table["patterns"] / last["patterns"],
        color=QUIET,
        linewidth=0.8,
        zorder=0.5,
    )
    panels[0].set_yscale("log")
    panels[1].set_ylim(0, 1.3 * table["peak_mb"].max())
    letter(panels)
    return figure


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patterns", type=int, nargs="+", default=PATTERNS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure, arguments.threads)
        return
    rows = []
    with tempfile.TemporaryDirectory() as name:
        twin = Path(name) / "twin.cxi"
        simulate(twin, patterns=_TWIN, outside=(0, 0), seed=2)
        model = train_demo_family(twin, Path(name))
        for patterns in sorted(arguments.patterns):
            path = Path(name) / f"patterns_{patterns}.cxi"
            write_repeated(path, twin, patterns)
            rows.append({"patterns": patterns, **in_a_process(path, model, arguments.threads)})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table["patterns_per_second"] = table["patterns"] / table["seconds"]
    write_csv(PATH.with_name("scaling.csv"), table)
    save_figure(scaling_figure(table), PATH.with_name("scaling"))
    fewest, most = table.iloc[0], table.iloc[-1]
    name = f"classification, memory for {most['patterns']:.0f} patterns and for {fewest['patterns']:.0f}"
    record(name=name, ours=most["peak_mb"], peer=fewest["peak_mb"], unit="MB", wanted=_WANTED)


if __name__ == "__main__":
    main()
