"""Input of a network: the fast way to it against the written-out one, and what of a pattern is lost on the way."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from helpers.experiment import Experiment
from helpers.family import REPRESENTATIONS, Representation
from helpers.rendering.images import png_to_network_input, render, to_png
from helpers.rendering.resampling import RESIZES, Taps, enlarged_shape, letterbox_shape, resize_axes

PAPER_SIZES = (416, 608)  # sides of the input of YOLOv2 and YOLOv3 in the paper (section 2.5) [pixels]


def brightest(counts: np.ndarray) -> np.ndarray:
    """The pattern (rows, columns) with the most photons of (patterns, rows, columns)."""
    return counts[counts.sum(axis=(1, 2)).argmax()]


def input_sizes(networks: Mapping[str, Mapping[str, Any]]) -> list[int]:
    """Input sizes that are compared: the paper's and those of a profile's networks, ascending [pixels]."""
    ours = {int(values["size"]) for values in networks.values() if "size" in values}
    return sorted({*PAPER_SIZES, *ours})


def written_out(pattern: np.ndarray, representation: Representation, size: int, resize: str = "stretch") -> np.ndarray:
    """Network input (3, size, size) of a pattern by way of a picture file, as the paper made it (section 2.5).

    Parameters are those of `render`, but for a single pattern (rows, columns).
    """
    with TemporaryDirectory() as folder:
        to_png(Path(folder) / "pattern.png", pattern, representation)
        return png_to_network_input(Path(folder) / "pattern.png", size, resize)


def table_rendering(example: np.ndarray, sizes: Iterable[int]) -> pd.DataFrame:
    """Largest difference of any pixel between the fast and the written-out way, in all representations.

    Parameters
    ----------
    example
        Photon counts (rows, columns).
    sizes
        Sides of the network input [pixels].

    Returns
    -------
    pandas.DataFrame
        representation, resize, size, largest_difference (images are in 0 to 1).
    """
    sizes, rows = tuple(sizes), []
    with TemporaryDirectory() as folder:
        for representation in REPRESENTATIONS:
            picture = Path(folder) / f"{representation}.png"
            to_png(picture, example, representation)
            for resize, size in product(RESIZES, sizes):
                fast = render(example[None], representation, size, resize=resize)[0].numpy()
                difference = float(np.abs(fast - png_to_network_input(picture, size, resize)).max())
                rows.append((str(representation), resize, size, difference))
    return pd.DataFrame(rows, columns=["representation", "resize", "size", "largest_difference"])


def table_resize(shape: Sequence[int], sizes: Iterable[int], experiment: Experiment) -> pd.DataFrame:
    """Share of the detector pixels that reach the input, and the finest fringes that survive.

    An axis needs two samples a period, and fringes of the period P are those of two particles at λD / (p P).

    Parameters
    ----------
    shape
        Rows and columns of a pattern [pixels].
    sizes
        Sides of the network input [pixels].
    experiment
        Wavelength, distance, pixel.

    Returns
    -------
    pandas.DataFrame
        resize, size, pixels_read, then along rows and columns the shortest period [pixels of the detector] and the
        distance of two particles that makes it [nm].
    """
    rows = []
    for resize, size in product(RESIZES, sizes):
        read = [_share_read(taps, pixels) for taps, pixels in zip(resize_axes(shape, size, resize), shape, strict=True)]
        covered = (size, size) if resize == "stretch" else letterbox_shape(enlarged_shape(shape), size)
        periods = [2 * max(1.0, pixels / target) for pixels, target in zip(shape, covered, strict=True)]
        limits = [1 / (period * experiment.frequency_step) for period in periods]
        rows.append((resize, size, read[0] * read[1], *periods, *limits))
    names = ["period_rows", "period_columns", "distance_rows", "distance_columns"]
    return pd.DataFrame(rows, columns=["resize", "size", "pixels_read", *names])


def _share_read(taps: Taps, pixels: int) -> float:
    """Share of the detector pixels along an axis that any input pixel is made of."""
    read = torch.cat([taps.first[taps.share < 1], taps.second[taps.share > 0]])
    return len(read[read >= 0].unique()) / pixels
