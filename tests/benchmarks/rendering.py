"""Rendering beside the paper's route: colours, enlargement to 954 × 1855, a PNG file, reading it, resizing.

The route (section 2.5) is timed twice on the same simulated patterns: in the plain steps of `to_png` and
`png_to_network_input`, and with OpenCV, whose writer, reader and resizer are the fastest at hand (its resizing differs
from Darknet's, so its pixels are not compared). All run in one thread; files lie in the temporary folder. Ours starts
from photon counts in memory and ends with the network's input, in batches of at most 16 patterns and 32 MB of images;
what a pattern takes in the batches of `scoring` is printed besides: larger ones are slower on a CPU, because their
memory is new each time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from record import record

from helpers.family import Representation
from helpers.patterns import open_stack
from helpers.rendering import colour_table, render, to_png, to_rgb
from helpers.rendering.images import png_to_network_input
from helpers.rendering.resampling import detector_pixel, enlarged_shape
from helpers.simulation import simulate
from helpers.training import patterns_a_batch

BATCH, BATCH_BYTES = 16, 2**25
JET, GRAY = Representation("jet", "linear"), Representation("gray", "log")
CASES = ((416, "stretch", JET), (416, "stretch", GRAY), (96, "stretch", JET), (608, "letterbox", JET))
WANTED = 50
ROUNDING = float(np.finfo(np.float32).eps)


def milliseconds(work: Callable[[], object], patterns: int, repeats: int) -> float:
    """Time of a pattern, the best of some repeats [ms]."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken) / patterns * 1000


def written_out(counts: np.ndarray, representation: Representation, size: int, resize: str, path: Path) -> np.ndarray:
    """Network input of one pattern by way of a file, in plain steps."""
    to_png(path, counts, representation)
    return png_to_network_input(path, size, resize)


def by_opencv(counts: np.ndarray, representation: Representation, size: int, path: Path) -> np.ndarray:
    """Network input of one pattern by way of a file, with OpenCV: (3, size, size), stretched."""
    colours = to_rgb(counts, representation)
    tall, wide = enlarged_shape(colours.shape[:2])
    rows = detector_pixel(np.arange(tall), colours.shape[0], tall)
    columns = detector_pixel(np.arange(wide), colours.shape[1], wide)
    cv2.imwrite(str(path), colours[:, columns][rows])
    small = cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(small.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def largest_step(representation: Representation) -> float:
    """Largest difference of a channel between neighbouring levels of the colour map, 1/255 for gray."""
    return float(np.abs(np.diff(colour_table(representation.colour).astype(int), axis=0)).max()) / 255


def measure(counts: np.ndarray, size: int, resize: str, representation: Representation, folder: Path) -> None:
    """Time and difference of one case."""
    case, path = f"{representation}, {size} pixels, {resize}", folder / "pattern.png"
    batch, few = counts[: min(BATCH, BATCH_BYTES // (12 * size**2))], counts[:4]

    def ours() -> torch.Tensor:
        return render(batch, representation, size, resize=resize)

    images = ours()
    inputs = [written_out(pattern, representation, size, resize, path) for pattern in few]
    difference = max(np.abs(image.numpy() - other).max() for image, other in zip(images, inputs, strict=False))
    taken = milliseconds(ours, len(batch), 20)
    plain = milliseconds(
        lambda: [written_out(pattern, representation, size, resize, path) for pattern in few], len(few), 3
    )
    record(name=f"rendering, {case}, PNG route", ours=taken, peer=plain, unit="ms a pattern", wanted=WANTED)
    if resize == "stretch":
        fast = milliseconds(lambda: [by_opencv(pattern, representation, size, path) for pattern in few], len(few), 3)
        name = f"rendering, {case}, PNG route with OpenCV"
        record(name=name, ours=taken, peer=fast, unit="ms a pattern", wanted=WANTED)
    record(
        name=f"rendering, {case}, largest difference of a pixel (peer: a step of the colour map)",
        ours=max(float(difference), ROUNDING),
        peer=largest_step(representation),
        unit="of 1",
        wanted=1,
    )
    many = np.resize(counts, (patterns_a_batch(size), *counts.shape[1:]))
    together = milliseconds(lambda: render(many, representation, size, resize=resize), len(many), 5)
    print(f"{case}: {1000 / taken:.0f} patterns/s; in batches of {len(many)} {1000 / together:.0f} patterns/s")


def main() -> None:
    """Simulate, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the simulated patterns")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        twin = Path(name) / "twin.cxi"
        simulate(twin, patterns=BATCH, manual_fraction=0.5, outside=(0, 0), seed=arguments.seed)
        with open_stack(twin) as stack:
            counts = stack.read(slice(None))
        for case in CASES:
            measure(counts, *case, Path(name))


if __name__ == "__main__":
    main()
