"""Training of yolo11n at 96 pixels on counts in memory, beside stock ultralytics on PNG files.

Both train the same network with ultralytics' own trainer, SGD, float32, batches of 8, one thread, no worker processes,
no validation; the time of an iteration is the median from the end of one batch to the end of the next, so that it holds
what brings the images in. Ours renders each image from counts. Stock reads the pictures of 954 × 1855 pixels (section
2.5): with its default augmentation, where four pictures make an image; with one picture an image, as ours; and so with
the pictures kept in memory, shrunk (`cache="ram"`). Stock keeps the last 64 shrunk pictures anyway, a quarter of those
here. Augmentations differ otherwise: each does its own.

Printed besides: our share of the matrix-product rate that this machine reaches in the same run, for yolo11n and for the
demo's yolov2. Their operations are those of the convolutions, forward and backward, as torch counts them.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from record import record
from torch.utils.flop_counter import FlopCounterMode

from helpers import darknet
from helpers.annotation import Box, export_darknet
from helpers.family import Family
from helpers.patterns import PatternStack, open_stack
from helpers.simulation import simulate
from helpers.system import write_text
from helpers.training import Examples, Plan, TrainingSettings, ultralytics_networks, ultralytics_training
from helpers.training.darknet_networks import build_network
from helpers.training.plan import MiniBatches

PATTERNS, SIZE, BATCH = 256, 96, 8
BOX = Box(0, 80, 60, 180)
FAMILY = Family.from_name("yolo11n-jet-linear")
CPU = torch.device("cpu")
STOCK = {
    "default augmentation": {},
    "one picture an image": {"mosaic": 0.0},
    "one picture an image, in memory": {"mosaic": 0.0, "cache": "ram"},
}


def matrix_rate(side: int = 2048) -> float:
    """Best rate of a float32 matrix product [FLOP/s]."""
    left, right = torch.rand(2, side, side)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        left @ right
        taken.append(time.perf_counter() - began)
    return 2 * side**3 / min(taken)


def between(stamps: list[float]) -> float:
    """Median time from one stamp to the next, the first few left out [s]."""
    return statistics.median(np.diff(stamps[3:]))


def plan(found: Examples, name: str, **settings: Any) -> Plan:
    """A training of the demo's size, without changes of colours."""
    plain = {"size": SIZE, "hue": 0, "saturation": 1, "exposure": 1, "learning_rate": 0.005, "burn_in": 20}
    given = TrainingSettings(**plain | settings)
    return Plan(Family.from_name(name), found, given, consensus=[], threshold=0.25, device=CPU)


def seconds_of_ours(found: Examples, iterations: int, folder: Path) -> float:
    """Time of an iteration of `ultralytics_training.train_ultralytics`."""
    stamps: list[float] = []
    original = ultralytics_training._note_loss

    def note(trainer: Any) -> None:
        original(trainer)
        stamps.append(time.perf_counter())

    ultralytics_training._note_loss = note
    try:
        given = {"batch": BATCH, "iterations": iterations, "checkpoint_every": iterations, "jitter": 0.02}
        ultralytics_training.train_ultralytics(plan(found, str(FAMILY), **given), folder)
    finally:
        ultralytics_training._note_loss = original
    return between(stamps)


def write_pictures(stack: PatternStack, sets: pd.DataFrame, folder: Path) -> Path:
    """Pictures and label files of the training set, and ultralytics' description of them."""
    export_darknet(folder, stack, sets, BOX, representation=FAMILY.representation)
    pictures = sorted(folder.glob("training/*.png"))
    write_text(folder / "pictures.txt", "".join(f"{picture}\n" for picture in pictures))
    lists = "train: pictures.txt\nval: pictures.txt\n"
    write_text(folder / "pictures.yaml", f"path: {folder}\n{lists}names:\n  0: single hit\n")
    return folder / "pictures.yaml"


def seconds_of_stock(data: Path, iterations: int, **options: Any) -> float:
    """Time of an iteration of stock ultralytics."""
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Unvalidated(DetectionTrainer):
        """Trains as ever, but does not validate after the last epoch either."""

        def get_validator(self) -> SimpleNamespace:
            return SimpleNamespace(metrics=SimpleNamespace(keys=[]))

        def validate(self) -> tuple[dict[str, float], float]:
            return {}, 0.0

        def final_eval(self) -> None:
            """Nothing."""

    stamps: list[float] = []
    threads = torch.get_num_threads()
    model = YOLO(f"{FAMILY.network}.yaml", verbose=False)
    model.add_callback("on_train_start", lambda _: torch.set_num_threads(threads))
    model.add_callback("on_train_batch_end", lambda _: stamps.append(time.perf_counter()))
    given = {"imgsz": SIZE, "batch": BATCH, "nbs": BATCH, "optimizer": "SGD", "lr0": 0.005, "amp": False, "workers": 0}
    quiet = {"val": False, "save": False, "plots": False, "verbose": False, "exist_ok": True, "deterministic": False}
    epochs = -(-iterations // (PATTERNS // BATCH))
    places = {"data": str(data), "project": str(data.parent), "name": "stock", "device": "cpu"}
    trained_by = {"trainer": Unvalidated, "epochs": epochs, "close_mosaic": 0, "pretrained": False}
    with redirect_stdout(io.StringIO()):  # its progress bars
        model.train(**given, **quiet, **places, **trained_by, **options)
    return between(stamps)


def operations(step: Callable[[], torch.Tensor]) -> int:
    """Operations of one step, forward and backward [FLOP]."""
    with FlopCounterMode(display=False) as counter:
        step().backward()
    return counter.get_total_flops()


def operations_of_yolo11n() -> int:
    """Of a batch."""
    from ultralytics.nn.tasks import DetectionModel

    network = DetectionModel(f"{FAMILY.network}.yaml", nc=1, verbose=False).train()
    return operations(lambda: sum(part.sum() for part in _tensors(network(torch.rand(BATCH, 3, SIZE, SIZE)))))


def _tensors(outputs: Any) -> list[torch.Tensor]:
    """Every tensor with a gradient in nested outputs."""
    if isinstance(outputs, torch.Tensor):
        return [outputs] if outputs.requires_grad else []
    parts = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for part in parts for tensor in _tensors(part)]


def yolov2_of_the_demo(found: Examples, iterations: int) -> tuple[float, int]:
    """Time of an iteration of the demo's yolov2 [s], and its operations."""
    start = plan(found, "yolov2-jet-linear", width=0.25, batch=16, jitter=0, batch_norm_momentum=0.1)
    network = build_network(start.family, start.settings, None).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    batches, stamps = MiniBatches(start), []
    for iteration in range(1, iterations + 1):
        optimizer.zero_grad(set_to_none=True)
        [(images, truth)] = batches.at(iteration)
        darknet.loss(network, images, truth, seen=iteration * 16)[0].backward()
        optimizer.step()
        stamps.append(time.perf_counter())
    return between(stamps), operations(lambda: darknet.loss(network, images, truth, seen=16)[0])


def measure(folder: Path, iterations: int) -> None:
    """Simulate, train, record."""
    simulate(folder / "twin.cxi", patterns=PATTERNS, manual_fraction=0.3, outside=(0, 0), seed=1)
    with open_stack(folder / "twin.cxi") as stack:
        labels = stack.table()["label"].to_numpy(dtype=bool)
        sets = pd.DataFrame({"pattern": np.arange(PATTERNS), "label": labels, "set": "training"})
        found = Examples.from_stack(stack, sets, BOX)
        data = write_pictures(stack, sets, folder / "pictures")
    ultralytics_networks.ultralytics()
    before = matrix_rate()
    ours = seconds_of_ours(found, iterations, folder / "family")
    for name, options in STOCK.items():
        stock = seconds_of_stock(data, iterations, **options)
        record(
            name=f"training yolo11n at {SIZE} pixels, stock ultralytics, {name}",
            ours=BATCH / ours,
            peer=BATCH / stock,
            unit="images/s",
            wanted=1,
            better="more",
        )
    rate = max(before, matrix_rate())
    print(f"matrix product: {rate / 1e9:.1f} GFLOP/s on {torch.get_num_threads()} thread(s)")
    darknets, darknet_operations = yolov2_of_the_demo(found, max(8, iterations // 4))
    cases = {"yolo11n": (BATCH, ours, operations_of_yolo11n()), "demo's yolov2": (16, darknets, darknet_operations)}
    for name, (images, seconds, count) in cases.items():
        print(
            f"{name}: {images / seconds:.1f} images/s, {count / images / 1e9:.3f} GFLOP an image, "
            f"{count / seconds / rate:.0%} of the matrix-product rate"
        )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=64, help="of each training")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), arguments.iterations)


if __name__ == "__main__":
    main()
