"""Online classification: a writer at 120 Hz for a minute, every pattern scored once, and the delay.

    python tests/benchmarks/online.py                            # trains a small network of the demo's size first
    python tests/benchmarks/online.py --model demo/yolov2-jet-linear

The writer is a process of its own (`helpers.beamline`) that says of each pattern when it was on disk; the log says when
its scores were. The delay may be 100 ms and the time of one batch, the median one of this run. The load of the machine
is printed, because the figures hold for that: writer and network share its cores with all else.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from demo_family import train_demo_family
from record import record

from helpers.classification import OnlineClassification
from helpers.simulation import beamline, simulate
from helpers.system import cores
from helpers.workbook.commands import model_folder

RATE = 120
SECONDS = 60
ALLOWED_MS = 100.0
PATIENCE_S = 30
"""Without patterns for so long the run is given up [s]."""


def follow(source: Path, model: Path, folder: Path, shots: int) -> tuple[pd.DataFrame, np.ndarray, list[float]]:
    """The log, when each pattern was written (Unix time [s]), and how long each batch took [s]."""
    live = folder / "live.cxi"
    batches = []
    with (
        OnlineClassification(live, model, log=folder / "scores.csv") as online,
        beamline(source, live, rate=RATE, shots=shots),
    ):
        last = time.monotonic()
        while online.total.scored < shots and time.monotonic() - last < PATIENCE_S:
            began = time.monotonic()
            if online.step() is None:
                time.sleep(online.following.pause)
                continue
            last = time.monotonic()
            batches.append(last - began)
        table = online.log.table()
    with h5py.File(live, "r", swmr=True, locking=False) as file:
        return table, file["entry_1/image_1/written_at"][:], batches


def main() -> None:
    """Measure, print the load, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="RUN/FAMILY or its folder")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    shots = RATE * given.seconds
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), Path(name) / "twin.cxi"
        simulate(source, patterns=240, manual_fraction=0.25, seed=34117, outside=(2, 8))
        model = model_folder(given.model) if given.model else train_demo_family(source, folder)
        before = os.getloadavg()[0]
        table, written_at, batches = follow(source, model, folder, shots)
    print(
        f"{model.name}: {cores()} cores, {torch.get_num_threads()} threads; load average {before:.1f} before, "
        f"{os.getloadavg()[0]:.1f} after {given.seconds} s at {RATE} patterns/s"
    )
    delay = 1e3 * (table["scored_at"].to_numpy() - written_at[table["index"]])
    print(
        f"delay: median {np.median(delay):.0f} ms, 95 % {np.percentile(delay, 95):.0f} ms, longest {delay.max():.0f} ms"
    )
    print(f"{len(batches)} batches, of {len(table) / len(batches):.1f} patterns on average")
    batch = 1e3 * float(np.median(batches))
    once = int((table.groupby("index").size() == 1).sum())
    for_a_minute = f"{RATE} Hz for {given.seconds} s"
    record(
        name=f"online: patterns scored once, {for_a_minute}",
        ours=once,
        peer=shots,
        unit="patterns",
        wanted=1,
        better="more",
    )
    record(
        name=f"online: median delay, {for_a_minute}",
        ours=float(np.median(delay)),
        peer=ALLOWED_MS + batch,
        unit="ms",
        wanted=1,
    )


if __name__ == "__main__":
    main()
