"""Opening of our own file: beside plain h5py, and with `--before FOLDER` beside another checkout of this project.

Times are processor time in one thread, the best of some rounds; the two checkouts take turns in processes of their own.
Plain h5py opens the file, reads the mask and the centre and takes the data set: what a script of three lines would do.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from record import record

from helpers.patterns import open_stack, probe
from helpers.simulation import simulate

ROUNDS, OPENINGS = 7, 20
WANTED_OF_BEFORE = 3.0
WANTED_OF_H5PY = 0.1
BEFORE = """
import sys, time
try:
    from helpers.patterns import open_stack
except ImportError:
    from helpers.cxi import open_stack
open_stack(sys.argv[1]).close()
began = time.process_time()
for _ in range(int(sys.argv[2])):
    open_stack(sys.argv[1]).close()
print((time.process_time() - began) / int(sys.argv[2]) * 1000)
"""


def milliseconds(call: Callable[[], object]) -> float:
    """Processor time of a call, the best of some rounds [ms]."""
    call()
    best = np.inf
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(OPENINGS):
            call()
        best = min(best, (time.process_time() - began) / OPENINGS * 1000)
    return best


def milliseconds_in(folder: Path, path: Path) -> float:
    """Processor time of an opening by another checkout, in a process of its own [ms]."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BEFORE, str(path), str(OPENINGS)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout)


def plain(path: Path) -> None:
    """The opening in plain h5py."""
    with h5py.File(path) as file:
        image = file["entry_1/image_1"]
        _ = image["data"].shape, image["mask"][()], image["image_center"][()]


def everything(path: Path) -> None:
    """An opening after which all but the patterns is read."""
    with open_stack(path) as stack:
        _ = stack.event_ids, stack.experiment, stack.title, stack.table()


def main() -> None:
    """Print the times and record two rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="another checkout of this project")
    before = parser.parse_args().before
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "twin.cxi"
        simulate(path, patterns=200, seed=1, outside=(0, 0))
        ours = milliseconds(lambda: open_stack(path).close())
        print(f"all but the patterns read: {milliseconds(lambda: everything(path)):.2f} ms")
        print(f"probe in a child process: {1000 * wall_seconds(lambda: probe(path)):.1f} ms of wall time")
        peer = milliseconds(lambda: plain(path))
        record(name="open our own file, plain h5py", ours=ours, peer=peer, unit="ms", wanted=WANTED_OF_H5PY)
        if before is not None:
            here = Path(__file__).resolve().parents[2]
            both = [(milliseconds_in(here, path), milliseconds_in(before, path)) for _ in range(ROUNDS)]
            now, then = np.min(both, axis=0)
            record(name="open our own file, before", ours=now, peer=then, unit="ms", wanted=WANTED_OF_BEFORE)


def wall_seconds(call: Callable[[], object]) -> float:
    """Wall time of a call, the best of some rounds [s]."""
    call()
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return min(taken)


if __name__ == "__main__":
    main()
