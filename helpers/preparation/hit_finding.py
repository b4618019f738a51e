"""First pass over all frames: hits, histograms for the background, and the mean of the hits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Experiment
from helpers.preparation.background import PixelHistograms
from helpers.preparation.crop import Crop
from helpers.preparation.hits import LIT_ABOVE, LIT_PIXELS, are_hits, lit_pixels
from helpers.preparation.photons import CONVERSIONS, ImpossibleValues, to_photons, without_impossible
from helpers.system import progress

_BLOCK_BYTES = 16 << 20


class Frames(Protocol):
    """Stack of detector frames, such as a `patterns.PatternStack`."""

    mask: np.ndarray
    """(rows, columns), True = bad pixel."""

    def __len__(self) -> int: ...

    def read_frames(self, numbers: slice | np.ndarray) -> np.ndarray:
        """Values as stored (n, rows, columns), float32, of the frames with these numbers."""
        ...


@dataclass(frozen=True)
class HitRule:
    """Unit of the frames, and the condition for a hit.

    Raises
    ------
    ValueError
        If `conversion` is unknown.
    """

    adu_per_photon: float | None = None
    """Detector units that one photon makes; None if the frames hold photon counts [ADU/photon]."""

    conversion: str = "pairs"
    """Conversion of charge to photons, "pairs" or "round" (see `photons.to_photons`)."""

    lit_above: float = LIT_ABOVE
    """Value above which a pixel is lit [photons]."""

    lit_pixels: tuple[int, int | None] = LIT_PIXELS
    """Fewest and most lit pixels of a hit; None sets no upper limit."""

    def __post_init__(self) -> None:
        if self.conversion not in CONVERSIONS:
            raise ValueError(f"conversion must be one of {', '.join(CONVERSIONS)}, got {self.conversion!r}")


@dataclass(frozen=True)
class FrameStatistics:
    """Statistics of the N frames of a run, from one pass over all of them."""

    lit: np.ndarray
    """(N,) number of lit pixels of each frame."""

    hits: np.ndarray
    """(N,) bool, True = hit."""

    impossible: ImpossibleValues
    """Numbers of values in each frame that cannot be photons."""

    blank: PixelHistograms
    """Histograms over the blank frames."""

    everything: PixelHistograms
    """Histograms over all frames."""

    blank_frames: np.ndarray
    """(N,) bool, True = too few lit pixels for a hit."""

    photons: np.ndarray
    """(N,) number of photons in the good pixels of each frame."""

    mean_hit: np.ndarray
    """(rows, columns) mean over the hits, each divided by its photons, so that bright hits do not dominate it."""


def whole_photons(
    frames: np.ndarray, mask: np.ndarray, rule: HitRule
) -> tuple[np.ndarray, np.ndarray, ImpossibleValues]:
    """Photon counts of frames, and the numbers of their lit pixels.

    Parameters
    ----------
    frames
        (N, rows, columns) values as stored [ADU or photons].
    mask
        (rows, columns), True = bad pixel.
    rule
        Unit of the frames, conversion, and threshold for lit pixels.

    Returns
    -------
    photons : ndarray (N, rows, columns)
        Photon counts, uint16.
    lit : ndarray (N,)
        Number of lit pixels of each frame.
    impossible : ImpossibleValues
        Numbers of values in each frame that cannot be photons.

    Raises
    ------
    PatternFileError
        If photon counts are negative or fractional (then they are ADU), or exceed 65535.
    """
    clean, impossible = without_impossible(frames, mask)
    unit = rule.adu_per_photon or 1.0
    lit = lit_pixels(clean, mask, above=rule.lit_above * unit)
    if clean.max(initial=0) >= np.iinfo(np.uint16).max * unit:
        raise PatternFileError(
            f"the frames hold values up to {clean.max():g}, over 65535 photons; "
            f"correct adu_per_photon (--adu-per-photon), or mask these pixels"
        )
    if rule.adu_per_photon is not None:
        return to_photons(clean, rule.adu_per_photon, conversion=rule.conversion), lit, impossible
    photons = clean.astype(np.uint16)
    if (photons != clean).any() or impossible.negative.any():
        wrong = "negative values" if impossible.negative.any() else f"{clean[photons != clean][0]:g}"
        raise PatternFileError(
            f"the frames hold {wrong}, which is no number of photons; give the ADU that one photon makes "
            f"(adu_per_photon, --adu-per-photon)"
        )
    return photons, lit, impossible


def share_found(
    frames: np.ndarray, mask: np.ndarray, counted: np.ndarray, experiment: Experiment, conversion: str
) -> float:
    """Photons that a conversion finds in the paper's crop, as a share of those that were there.

    Parameters
    ----------
    frames, mask
        As in `whole_photons` [ADU].
    counted
        (N,) true photons in the crop of each frame [photons].
    experiment
        Of the frames.
    conversion
        How charge becomes photons, one of `CONVERSIONS`.

    Returns
    -------
    float
        1 where no photon is lost.
    """
    crop = Crop()
    photons, _, _ = whole_photons(frames, mask, HitRule(experiment.adu_per_photon, conversion))
    cut = crop.cut(photons, crop.corner(experiment.shape, experiment.centre))
    return float(cut.sum() / np.sum(counted))


def blocks(frames: Frames, chosen: np.ndarray, *, label: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chosen frames in blocks of about 16 MB, with a progress bar.

    Parameters
    ----------
    frames
        Open stack of detector frames.
    chosen
        (n,) numbers of the frames to read, in order.
    label
        Text of the progress bar.

    Yields
    ------
    numbers : ndarray (k,)
        Numbers of the frames of a block.
    values : ndarray (k, rows, columns)
        Their values as stored, float32.
    """
    size = max(_BLOCK_BYTES // (4 * frames.mask.size), 1)
    parts = [chosen[start : start + size] for start in range(0, len(chosen), size)]
    for numbers in progress(parts, label=label):
        yield numbers, frames.read_frames(numbers)


def frame_statistics(frames: Frames, rule: HitRule) -> FrameStatistics:
    """Find the hits and collect the histograms in one pass over all frames.

    Parameters
    ----------
    frames
        Open stack of detector frames.
    rule
        Unit of the frames, and the condition for a hit.

    Returns
    -------
    FrameStatistics
        Hits, histograms and photons of all frames.

    Raises
    ------
    PatternFileError
        If values cannot be photon counts (see `whole_photons`).
    """
    mask = frames.mask
    blank, everything = PixelHistograms(mask.shape), PixelHistograms(mask.shape)
    mean_hit = np.zeros(mask.shape)
    found = []
    for _, values in blocks(frames, np.arange(len(frames)), label="finding hits"):
        photons, lit, impossible = whole_photons(values, mask, rule)
        hits, dark = are_hits(lit, rule.lit_pixels), lit < rule.lit_pixels[0]
        blank.add(photons[dark])
        everything.add(photons)
        total = photons.sum(axis=(1, 2), dtype=float)
        mean_hit += np.tensordot(hits / np.maximum(total, 1), photons, axes=1)
        found.append((lit, hits, dark, total, impossible.nan, impossible.infinite, impossible.negative))
    lit, hits, dark, total, *counts = (np.concatenate(column) for column in zip(*found, strict=True))
    mean_hit /= max(hits.sum(), 1)
    return FrameStatistics(lit, hits, ImpossibleValues(*counts), blank, everything, dark, total, mean_hit)
