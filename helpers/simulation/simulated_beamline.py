"""A simulated beamline: another process that writes patterns with SWMR at a given rate, as a detector would.

python -m helpers.simulation.simulated_beamline SOURCE.cxi TARGET.cxi --rate 120 --shots 7200

The patterns of a file come over and over; shot k has the event id k, and `written_at` is when it was on disk (Unix
time [s]). A target that a killed writer left is copied to a new file that takes its name, and the shots go on after it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from helpers import ROOT
from helpers.patterns import open_stack
from helpers.system import end_with_parent

READY = "writing"
_IMAGE = "entry_1/image_1"
_IDS_A_CHUNK = 1024
_PATTERNS = 512
"""Patterns of the source that are used, in turn."""


def write_shots(source: Path, target: Path, *, rate: float, shots: int) -> None:
    """Write shots in the co-author's layout one by one, at `rate` [shots/s]; infinite is as fast as possible."""
    with open_stack(source) as stack:
        patterns = stack.read(slice(0, _PATTERNS)).astype(np.uint16)
        mask, centre = stack.mask, stack.centre or (0.0, 0.0)
    with _file(target, mask, centre) as image:
        first = image["data"].shape[0]
        print(READY, flush=True)
        began = time.perf_counter()
        for shot in range(first, first + shots):
            time.sleep(max(0.0, began + (shot - first) / rate - time.perf_counter()))
            _append(image["data"], patterns[shot % len(patterns)])
            _append(image["event_id"], shot)
            _append(image["written_at"], time.time())


def _append(data: h5py.Dataset, value: np.ndarray | float) -> None:
    """Add a value and bring it to disk: a reader sees no id before its pattern."""
    data.resize(data.shape[0] + 1, axis=0)
    data[-1] = value
    data.flush()


@contextmanager
def _file(target: Path, mask: np.ndarray, centre: tuple[float, float]) -> Iterator[h5py.Group]:
    """Group of the images in SWMR mode; the shots of an earlier writer are taken over."""
    begun = target.with_name(f".{target.name}.begun")
    with h5py.File(begun, "w", libver="latest") as file:
        file["entry_1/title"] = "simulated beamline"
        image = file.create_group(_IMAGE)
        image["mask"] = mask.astype(np.uint32)
        image["image_center"] = np.array([centre[1], centre[0], 0.0])
        ids = {"shape": (0,), "maxshape": (None,), "chunks": (_IDS_A_CHUNK,)}
        image.create_dataset("event_id", dtype=np.int64, **ids)
        image.create_dataset("written_at", dtype=np.float64, **ids)
        shape = mask.shape
        image.create_dataset(
            "data", (0, *shape), np.uint16, maxshape=(None, *shape), chunks=(1, *shape), compression="lzf"
        )
        if target.exists():
            _take_over(target, image)
        file.swmr_mode = True
        os.replace(begun, target)
        yield image


def _take_over(target: Path, image: h5py.Group) -> None:
    """Copy the shots that are whole in the file of an earlier writer."""
    with h5py.File(target, "r", swmr=True, locking=False) as old:
        names = ("data", "event_id", "written_at")
        shots = min(len(old[_IMAGE][name]) for name in names)
        for name in names:
            image[name].resize(shots, axis=0)
            for shot in range(shots):
                image[name][shot] = old[_IMAGE][name][shot]


@contextmanager
def beamline(source: Path, target: Path, *, rate: float, shots: int) -> Iterator[subprocess.Popen]:
    """Run a simulated beamline in a process of its own; it ends with the block at the latest, or with this process.

    Parameters
    ----------
    source
        File of photon counts whose patterns are written.
    target
        File that grows.
    rate
        Shots a second; as fast as possible if infinite.
    shots
        Number of shots to write.

    Yields
    ------
    subprocess.Popen
        The process, which has begun to write.

    Raises
    ------
    RuntimeError
        If it does not begin to write.
    """
    command = [sys.executable, "-m", "helpers.simulation.simulated_beamline", source, target]
    command += ["--rate", rate, "--shots", shots, "--end-with", os.getpid()]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    ) as process:
        try:
            if process.stdout.readline().strip() != READY:
                raise RuntimeError(f"the simulated beamline did not begin to write {target}")
            yield process
        finally:
            process.kill()


def main() -> None:
    """Write shots until there are enough."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--rate", type=float, default=120.0, help="shots a second")
    parser.add_argument("--shots", type=int, default=7200)
    parser.add_argument("--end-with", type=int, metavar="PID", help="end when this process, its parent, ends")
    given = parser.parse_args()
    if given.end_with is not None:
        end_with_parent(given.end_with)
    write_shots(given.source, given.target, rate=given.rate, shots=given.shots)


if __name__ == "__main__":
    main()
