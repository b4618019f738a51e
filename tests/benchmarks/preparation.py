"""Preparation against spi-processing 0.1.3, the co-author's published tool, on the same simulated patterns.

It needs an environment of its own, because numpy 1.24 breaks it:

    python3.11 -m venv .peers/spi-processing
    .peers/spi-processing/bin/pip install "numpy<1.24" spi-processing==0.1.3
    python tests/benchmarks/preparation.py --peer .peers/spi-processing/bin/python

Whole programs are timed as a user waits for them: start, compilation, reading and writing count; the better of two
runs, or of one where it takes long.

* "preparing": background from histograms, sizes, centre, and the patterns of 55-84 nm in a new file. Ours finds the
  centre of each pattern; the peer refines one centre a file, from the sizes.
* "preparing, own centres": the peer, too, finds a centre for each pattern: it gets a file for each of a few patterns,
  and its time is scaled up.
* "sizing" and "background": one step alone. Sizing uses the same centre, radii and diameters in both. Half of our time
  is the start of the program, so sizing in memory, after the peer has compiled, is printed besides.
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
import pandas as pd
from record import record

from helpers import ROOT
from helpers.experiment import AMOX34117 as EXPERIMENT
from helpers.patterns import open_stack
from helpers.preparation import SIZE_RANGE_NM, particle_sizes
from helpers.simulation import simulate

PEER = ROOT / ".peers" / "spi-processing" / "bin" / "python"
SIZES_NM = (40.0, 100.0)
STEP_NM = (SIZES_NM[1] - SIZES_NM[0]) / 299
RUNS = 2
GEOMETRY = ["-w", f"{10 * EXPERIMENT.wavelength_nm:g}", "-d", f"{EXPERIMENT.distance_m:g}"]
GEOMETRY += ["--pix", f"{EXPERIMENT.pixel_m:g}"]
RANGE = ["-m", f"{10 * SIZES_NM[0]:g}", "-M", f"{10 * SIZES_NM[1]:g}"]

OUR_SIZING = """
import sys
import pandas as pd
from helpers.patterns import open_stack
from helpers.experiment import AMOX34117
from helpers.system import write_csv
from helpers.preparation import particle_sizes
import numpy as np
path, output, first, stop, smallest, largest = sys.argv[1:]
with open_stack(path) as stack:
    parts = []
    for _, counts in stack.batches(64):
        centres = np.tile(stack.centre, (len(counts), 1))
        given = {"size_range": (float(smallest), float(largest)), "radii": (int(first), int(stop))}
        parts.append(particle_sizes(counts, stack.mask, centres, AMOX34117, **given))
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
    for _ in range(RUNS):
        shutil.copy(twin, sized)
        times.append(seconds([peer / "python", peer / "spi_estimate_size.py", *GEOMETRY, *RANGE, sized]))
    theirs, radii = peer_sizes(sized)
    output = folder / "sizes.csv"
    ours = min(seconds([sys.executable, "-c", OUR_SIZING, twin, output, *radii, *SIZES_NM]) for _ in range(RUNS))
    unit = f"s per {patterns} patterns"
    record(name="sizing alone, spi-processing 0.1.3", ours=ours, peer=min(times), unit=unit, wanted=1)
    found = pd.read_csv(output)["size_nm"].to_numpy()
    agree = np.mean(np.abs(found - theirs) <= STEP_NM * 1.01)
    record(
        name="sizes within one step, spi-processing 0.1.3",
        ours=agree,
        peer=1.0,
        unit="share",
        wanted=0.95,
        better="more",
    )
    alone = seconds_of_the_peers_functions(peer, twin, folder)
    print(f"sizing in memory, compiled: ours {seconds_in_memory(twin, radii):.2f}, peer {alone:.2f} {unit}")


def seconds_in_memory(twin: Path, radii: tuple[int, int]) -> float:
    """Our sizing of patterns in memory: the best of three."""
    taken = []
    with open_stack(twin) as stack:
        counts, centres = stack.read(slice(None)).astype(stack.dtype), np.tile(stack.centre, (len(stack), 1))
        for _ in range(3):
            start = time.perf_counter()
            particle_sizes(counts, stack.mask, centres, EXPERIMENT, size_range=SIZES_NM, radii=radii)
            taken.append(time.perf_counter() - start)
    return min(taken)


def measured_background(peer: Path, twin: Path, folder: Path, patterns: int) -> None:
    """Background from the peaks of the histograms, written back to a file."""
    copy = folder / "background.cxi"
    times = []
    for _ in range(RUNS):
        shutil.copy(twin, copy)
        times.append(seconds([peer / "python", peer / "spi_correct_background.py", copy], cwd=folder))
    ours = min(seconds([sys.executable, "-c", OUR_BACKGROUND, twin, folder / "ours.h5"]) for _ in range(RUNS))
    unit = f"s per {patterns} patterns"
    record(name="background alone, spi-processing 0.1.3", ours=ours, peer=min(times), unit=unit, wanted=10)


OUR_BACKGROUND = """
import sys
import h5py
import numpy as np
from helpers.patterns import open_stack
from helpers.system import written_whole
from helpers.preparation.background import PixelHistograms, histogram_peak, subtract_peak
with open_stack(sys.argv[1]) as stack:
    histograms = PixelHistograms(stack.shape[1:])
    for _, counts in stack.batches(64):
        histograms.add(counts.astype(np.uint16))
    background = histogram_peak(histograms.counts)
    with written_whole(sys.argv[2]) as partial, h5py.File(partial, "w") as file:
        data = file.create_dataset("data", stack.shape, np.uint16, chunks=(1, *stack.shape[1:]))
        for start, counts in stack.batches(64):
            data[start : start + len(counts)] = subtract_peak(counts.astype(np.uint16), background)
"""

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


def our_preparation(twin: Path, folder: Path, *options: object) -> float:
    """Our whole program, on photon counts that are all hits."""
    command = [sys.executable, "-m", "helpers", "prepare", twin, folder / "prepared.cxi", "--lit-pixels", 400]
    return min(seconds([*command, *options]) for _ in range(RUNS))


def measured_chain(peer: Path, twin: Path, folder: Path, patterns: int) -> None:
    """Background, sizes, centre, and the patterns of the paper's sizes in a new file, as the peer's users go."""
    copy = folder / "chain.cxi"
    shutil.copy(twin, copy)
    kept = ["-d", "psd/size", "-m", f"{10 * SIZE_RANGE_NM[0]:g}", "-M", f"{10 * SIZE_RANGE_NM[1]:g}"]
    steps = [
        ["spi_correct_background.py"],
        ["spi_estimate_size.py", *GEOMETRY, *RANGE],
        ["spi_refine_center.py", *GEOMETRY],
        ["spi_filter.py", *kept, "--outfile", folder / "kept.cxi"],
    ]
    theirs = [seconds([peer / "python", peer / script, *options, copy], cwd=folder) for script, *options in steps]
    for (script, *_), taken in zip(steps, theirs, strict=True):
        print(f"{script}: {taken:.1f} s")
    ours = our_preparation(twin, folder, "--background", "peak")
    unit = f"s per {patterns} patterns"
    record(name="preparing, spi-processing 0.1.3", ours=ours, peer=sum(theirs), unit=unit, wanted=10)


def measured_own_centres(peer: Path, twin: Path, folder: Path, patterns: int) -> None:
    """Size and centre of each pattern, without background; the peer gets a file for each of a few patterns."""
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
    ours = our_preparation(twin, folder) / patterns * 1000
    name = "preparing, own centres, spi-processing 0.1.3"
    record(name=name, ours=ours, peer=total / single * 1000, unit="s per 1000 patterns", wanted=10)


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=PEER, help="python of the environment with spi-processing")
    parser.add_argument("--patterns", type=int, default=1000)
    arguments = parser.parse_args()
    if not arguments.peer.is_file():
        print(f"not measured: there is no {arguments.peer}.{__doc__.partition('.')[2]}")
        sys.exit(0)
    peer = arguments.peer.absolute().parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        twin = folder / "twin.cxi"
        simulate(twin, patterns=arguments.patterns, manual_fraction=0.1, outside=(0, 0), seed=1)
        for measure in (measured_chain, measured_own_centres, measured_sizing, measured_background):
            measure(peer, twin, folder, arguments.patterns)


if __name__ == "__main__":
    main()
