"""Preparation against spi-processing 0.1.3, the co-author's published tool, on the same simulated patterns.

It needs an environment of its own, because numpy 1.24 breaks it:

    python3.11 -m venv PEER
    PEER/bin/pip install "numpy<1.24" spi-processing==0.1.3
    python tests/benchmarks/preparation.py PEER/bin

Sizing is compared with patterns in memory, after the peer has compiled, so that neither start, files nor compilation
count: the best of three each. The times of the whole programs, which a user waits for, are printed. The chain
(background, a centre for each pattern, size, crop) is compared as whole programs: the peer refines one centre a file,
so it gets a file for each of a few patterns, and its time is scaled up.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from record import record

from helpers.cxi import open_stack
from helpers.experiment import AMOX34117 as EXPERIMENT
from helpers.preparation import particle_sizes
from helpers.simulation import simulate

SIZES_NM = (40.0, 100.0)
STEP_NM = (SIZES_NM[1] - SIZES_NM[0]) / 299
GEOMETRY = ["-w", f"{10 * EXPERIMENT.wavelength_nm:g}", "-d", f"{EXPERIMENT.distance_m:g}"]
GEOMETRY += ["--pix", f"{EXPERIMENT.pixel_m:g}"]
RANGE = ["-m", f"{10 * SIZES_NM[0]:g}", "-M", f"{10 * SIZES_NM[1]:g}"]

OUR_SIZING = """
import sys
import pandas as pd
from helpers.cxi import open_stack
from helpers.experiment import AMOX34117
from helpers.files import write_csv
from helpers.preparation import particle_sizes
import numpy as np
path, output, first, stop, smallest, largest = sys.argv[1:]
with open_stack(path) as stack:
    parts = []
    for _, counts in stack.batches(256):
        centres = np.tile(stack.centre, (len(counts), 1))
        parts.append(particle_sizes(counts, stack.mask, centres, AMOX34117, size_range=(float(smallest), float(largest)),
                                    radii=(int(first), int(stop))))
write_csv(output, pd.DataFrame(np.concatenate(parts, axis=1).T, columns=["size_nm", "size_score"]))
"""


def seconds(command: list[object], **options: object) -> float:
    """Wall time of a command, which must succeed."""
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, capture_output=True, **options)
    return time.perf_counter() - start


def peer_sizes(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    """What the peer wrote: sizes [nm], and the radii that it compared by its own rule."""
    with h5py.File(path) as file:
        psd = file["entry_1/image_1/psd"]
        profiles = psd["data"][()]
        return psd["size"][()] / 10, (int(np.argmax(profiles.max(axis=0) > 0)) + 2, profiles.shape[1])


def measured_sizing(peer: Path, twin: Path, folder: Path, patterns: int) -> None:
    """Sizes alone, all about the nominal centre."""
    sized = folder / "sized.cxi"
    times = []
    for _ in range(2):
        shutil.copy(twin, sized)
        times.append(seconds([peer / "python", peer / "spi_estimate_size.py", *GEOMETRY, *RANGE, sized]))
    theirs, radii = peer_sizes(sized)
    output = folder / "sizes.csv"
    given = [*radii, *SIZES_NM]
    ours = min(seconds([sys.executable, "-c", OUR_SIZING, twin, output, *given]) for _ in range(2))
    print(
        f"sizing {patterns} patterns, whole programs: ours {ours:.2f} s, peer {times[1]:.2f} s ({times[0]:.2f} s at first)"
    )
    with open_stack(twin) as stack:
        counts, centres = stack.read(slice(None)).astype(stack.dtype), np.tile(stack.centre, (len(stack), 1))
        inside = []
        for _ in range(3):
            start = time.perf_counter()
            found, _ = particle_sizes(counts, stack.mask, centres, EXPERIMENT, size_range=SIZES_NM, radii=radii)
            inside.append(time.perf_counter() - start)
    alone = seconds_of_the_peers_functions(peer, twin, folder)
    unit = f"s per {patterns} patterns"
    record(name="sizing, spi-processing 0.1.3", ours=min(inside), peer=alone, unit=unit, wanted=10)
    agree = np.mean(np.abs(found - theirs) <= STEP_NM * 1.01)
    record(
        name="sizes within one step, spi-processing 0.1.3",
        ours=agree,
        peer=1.0,
        unit="share",
        wanted=0.95,
        better="more",
    )


PEER_FUNCTIONS = """
import sys, time, h5py, numpy as np
from spi_processing import particle_size as p
path, smallest, largest, step = sys.argv[1], *map(float, sys.argv[2:])
with h5py.File(path) as f:
    image = f["entry_1/image_1"]
    data, mask, centre = image["data"][()], image["mask"][()], image["image_center"][()]
radius = p._max_angle_distance(data.shape[1:], centre)
taken = []
for _ in range(4):
    start = time.perf_counter()
    psd = np.zeros((len(data), radius))
    p._compute_psd_array_numba(data, mask, centre, radius, psd)
    first = np.argmax(psd.max(axis=0) > 0) + 2
    fit = p._estimate_size_psd_sphere(psd, step, smallest, largest, first, radius, 5, 300)
    best = [p._get_fit_optimum(curve) for curve in fit["fit_diff"]]
    taken.append(time.perf_counter() - start)
print(min(taken[1:]))
"""


def seconds_of_the_peers_functions(peer: Path, twin: Path, folder: Path) -> float:
    """The peer's own functions for the same sizes on patterns in memory, compiled before."""
    step = EXPERIMENT.frequency_step / 10
    command = [peer / "python", "-c", PEER_FUNCTIONS, twin, 10 * SIZES_NM[0], 10 * SIZES_NM[1], step]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, cwd=folder)
    return float(done.stdout)


def measured_chain(peer: Path, twin: Path, folder: Path, patterns: int) -> None:
    """Background, centre of each pattern, size: the peer refines one centre a file, so it is given one pattern a file."""
    few = folder / "few"
    few.mkdir()
    single = min(patterns, 5)
    with open_stack(twin) as stack:
        counts = stack.read(slice(0, single)).astype(np.uint16)
    files = []
    for number, pattern in enumerate(counts):
        path = few / f"{number}.cxi"
        shutil.copy(twin, path)
        with h5py.File(path, "r+") as file:
            image = file["entry_1/image_1"]
            for name in [key for key in image if image[key].shape[:1] == (patterns,)]:
                del image[name]
            image["data"] = pattern[None]
        files.append(path)
    total = seconds([peer / "python", peer / "spi_estimate_size.py", *GEOMETRY, *RANGE, *files])
    total += seconds([peer / "python", peer / "spi_refine_center.py", *GEOMETRY, *files], cwd=few)
    theirs = total / single * 1000
    command = [sys.executable, "-m", "helpers", "prepare", twin, folder / "prepared.cxi", "--lit-pixels", 400]
    command += ["--wavelength", EXPERIMENT.wavelength_nm, "--distance", EXPERIMENT.distance_m]
    command += ["--pixel", EXPERIMENT.pixel_m, "--keep-sizes", 1, 1000]
    ours = seconds(command) / patterns * 1000
    record(name="preparing, spi-processing 0.1.3", ours=ours, peer=theirs, unit="s per 1000 patterns", wanted=10)


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", type=Path, help="the bin folder of the environment with spi-processing 0.1.3")
    parser.add_argument("--patterns", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        twin = folder / "twin.cxi"
        simulate(twin, patterns=arguments.patterns, manual_fraction=0.1, outside=(0, 0), seed=1)
        for measure in (measured_sizing, measured_chain):
            measure(arguments.peer.absolute(), twin, folder, arguments.patterns)


if __name__ == "__main__":
    main()
