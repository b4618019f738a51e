"""What a GPU reaches: file to verdict over batch sizes, training, and the share of the card's own bf16 matrix rate.

Needs CUDA; without it nothing is measured. The networks are the paper's at full width with random weights, which cost
what trained ones cost. "File to verdict" is reading simulated patterns from a CXI file and `scoring.score_counts`: the
counts sent, rendering, the network under bf16 autocast, the highest score of each pattern back in memory. Peers are the
times that are wanted (a ratio of 1 passes): 0.2 ms for YOLOv2 at 416 pixels, 0.6 ms for YOLOv3 at 608 pixels, 5 s for
100 iterations of YOLOv2 with batches of 64 (section 2.6: 280 s on the paper's card). The growth with the batch size is
plotted and listed in results/benchmarks/.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from record import PATH, record
from torch.utils.flop_counter import FlopCounterMode

from helpers import darknet
from helpers.annotation import Box
from helpers.family import Family, Representation
from helpers.patterns import PatternStack, open_stack
from helpers.simulation import simulate
from helpers.system import write_csv, written_whole
from helpers.training import (
    Examples,
    FamilyFolder,
    Plan,
    TrainingSettings,
    darknet_training,
    patterns_a_batch,
    score_counts,
)
from helpers.training.plan import MiniBatches

JET = Representation("jet", "linear")
CASES = (("YOLOv2", 416, "stretch", darknet.yolov2, 0.2), ("YOLOv3", 608, "letterbox", darknet.yolov3, 0.6))
BATCHES = (1, 2, 4, 8, 16, 32, 64)
PAPERS_SECONDS, WANTED_SECONDS, ITERATIONS = 280, 5, 100


def waited(work: Callable[[], object], device: torch.device) -> float:
    """Time until the device has done the work [s]."""
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def matrix_rate(device: torch.device, side: int = 8192) -> float:
    """Best rate of a bf16 matrix product [FLOP/s]."""
    left, right = torch.rand(2, side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / min(waited(lambda: left @ right, device) for _ in range(20))


def classify(stack: PatternStack, network: darknet.Network, size: int, resize: str, batch: int) -> np.ndarray:
    """Score every pattern of a stack, from the file to memory, as `scoring` does."""
    device = next(network.parameters()).device

    def scorer(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            return darknet.scores(network, images)

    starts = range(0, len(stack), batch)
    parts = [
        score_counts(stack.read(slice(start, start + batch)), [scorer], JET, size=size, resize=resize, device=device)
        for start in starts
    ]
    return np.concatenate(parts)


def operations(network: darknet.Network, size: int) -> int:
    """Of one image [FLOP]."""
    device = next(network.parameters()).device
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, size, size, device=device))
    return counter.get_total_flops()


def measure_classification(stack: PatternStack, device: torch.device, rate: float) -> pd.DataFrame:
    """Time of a pattern for each batch size; records the best."""
    rows = []
    for name, size, resize, build, wanted in CASES:
        network = build(size=size).to(device, memory_format=torch.channels_last).eval()
        for batch in [batch for batch in BATCHES if batch < patterns_a_batch(size)] + [patterns_a_batch(size)]:
            classify(stack, network, size, resize, batch)
            seconds = min(
                waited(lambda: classify(stack, network, size, resize, batch), device)  # noqa: B023
                for _ in range(3)
            )
            rows.append({"network": f"{name} at {size}", "batch": batch, "ms": 1000 * seconds / len(stack)})
            print(f"{name} at {size} pixels, batches of {batch}: {rows[-1]['ms']:.3f} ms a pattern", flush=True)
        best = min(row["ms"] for row in rows if row["network"] == f"{name} at {size}")
        title = f"GPU, {name} at {size} pixels, file to verdict (peer: wanted time)"
        record(name=title, ours=best, peer=wanted, unit="ms a pattern", wanted=1)
        share = operations(network, size) / (best / 1000) / rate
        print(f"{name} at {size} pixels: {share:.0%} of the card's bf16 matrix rate")
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame, folder: Path) -> None:
    """Growth with the batch size: `gpu_batches.csv` and `.png`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    write_csv(folder / "gpu_batches.csv", table)
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, rows in table.groupby("network"):
        axes.loglog(rows["batch"], rows["ms"], marker="o", label=name)
    axes.set(xlabel="patterns a batch", ylabel="ms a pattern", title=torch.cuda.get_device_name())
    axes.legend()
    with written_whole(folder / "gpu_batches.png") as partial:
        figure.savefig(partial, format="png", dpi=150)


def measure_training(stack: PatternStack, device: torch.device, rate: float, folder: Path) -> None:
    """100 iterations of YOLOv2 at 416 pixels, batches of 64 in one piece, bf16, with the paper's augmentation."""
    labels = stack.table()["label"].to_numpy(dtype=bool)
    sets = pd.DataFrame({"pattern": np.arange(len(stack)), "label": labels, "set": "training"})
    found = Examples.from_stack(stack, sets, Box(0, 80, 60, 180))
    settings = TrainingSettings(size=416, iterations=ITERATIONS, learning_rate=1e-4, precision="bfloat16")
    start = Plan(Family.from_name("yolov2-jet-linear"), found, settings, consensus=[], threshold=0.24, device=device)
    run, batches = darknet_training._Run.begin(start, FamilyFolder(folder), None), MiniBatches(start)

    def iterate(first: int, last: int) -> None:
        run.unread += [darknet_training._iterate(run, batches, iteration) for iteration in range(first, last + 1)]
        darknet_training._read_losses(run)

    run.began = time.perf_counter()
    iterate(1, 5)
    seconds = waited(lambda: iterate(6, 5 + ITERATIONS), device)
    name = f"GPU, {ITERATIONS} iterations of YOLOv2 at 416 pixels, batch 64"
    record(name=f"{name} (peer: wanted time)", ours=seconds, peer=WANTED_SECONDS, unit="s", wanted=1)
    record(name=f"{name} (peer: the paper's card)", ours=seconds, peer=PAPERS_SECONDS, unit="s", wanted=56)
    done = 3 * operations(run.network.eval(), 416) * settings.batch * ITERATIONS  # backward is twice forward
    print(f"training: {done / seconds / rate:.0%} of the card's bf16 matrix rate")


def main() -> None:
    """Measure where there is a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patterns", type=int, default=2048)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("not measured: PyTorch finds no CUDA device here")
        return
    device = torch.device("cuda")
    with tempfile.TemporaryDirectory() as name:
        twin = Path(name) / "twin.cxi"
        simulate(twin, patterns=arguments.patterns, manual_fraction=0.3, outside=(0, 0), seed=1)
        rate = matrix_rate(device)
        print(f"{torch.cuda.get_device_name()}: bf16 matrix product {rate / 1e12:.0f} TFLOP/s")
        with open_stack(twin) as stack:
            plot(measure_classification(stack, device, rate), PATH.parent)
            measure_training(stack, device, rate, Path(name) / "family")


if __name__ == "__main__":
    main()
