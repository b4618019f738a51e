"""The first look at all frames: which are hits, what the background is, and the sum of the hits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from helpers.errors import PatternFileError
from helpers.preparation.background import PixelHistograms
from helpers.preparation.hits import LIT_ABOVE, LIT_PIXELS, are_hits, lit_pixels
from helpers.preparation.photons import CONVERSIONS, ImpossibleValues, to_photons, without_impossible
from helpers.system import progress

_BLOCK_BYTES = 16 << 20


class Frames(Protocol):
    """What a stack of detector frames must offer; `cxi.PatternStack` does."""

    mask: np.ndarray
    """(rows, columns), True = bad pixel."""

    def __len__(self) -> int: ...

    def read_frames(self, indices: slice | np.ndarray) -> np.ndarray:
        """Values as stored (n, rows, columns), float32."""
        ...


@dataclass(frozen=True)
class HitRule:
    """How frames become photons, and which of them are hits."""

    adu_per_photon: float | None = None
    """None: the frames hold photon counts already [ADU/photon]."""

    conversion: str = "pairs"
    """How charge becomes photons, see `photons.to_photons`."""

    lit_above: float = LIT_ABOVE
    """[photons]"""

    lit_pixels: tuple[int, int | None] = LIT_PIXELS
    """Fewest and most lit pixels of a hit."""

    def __post_init__(self) -> None:
        if self.conversion not in CONVERSIONS:
            raise ValueError(f"conversion must be one of {', '.join(CONVERSIONS)}, got {self.conversion!r}")


@dataclass(frozen=True)
class Survey:
    """What all frames together tell."""

    lit: np.ndarray
    """(N,) lit pixels."""

    hits: np.ndarray
    """(N,) bool."""

    impossible: ImpossibleValues

    blank: PixelHistograms
    """Of the blank frames."""

    everything: PixelHistograms

    blank_frames: np.ndarray
    """(N,) bool: too few lit pixels for a hit."""

    photons: np.ndarray
    """(N,) photons in good pixels."""

    mean_hit: np.ndarray
    """(rows, columns) mean over the hits, each divided by its photons, so that a bright one counts no more."""


def whole_photons(
    frames: np.ndarray, mask: np.ndarray, rule: HitRule
) -> tuple[np.ndarray, np.ndarray, ImpossibleValues]:
    """Photon counts of frames, and which of their pixels are lit.

    Parameters
    ----------
    frames
        (N, rows, columns) as stored.
    mask
        (rows, columns), True = bad pixel.
    rule
        The unit of the frames.

    Returns
    -------
    photons : ndarray (N, rows, columns)
        uint16
    lit : ndarray (N,)
        Lit pixels.
    impossible : ImpossibleValues

    Raises
    ------
    PatternFileError
        If counts are negative or have fractions (then they are ADU), or if values are too large.
    """
    clean, impossible = without_impossible(frames, mask)
    unit = rule.adu_per_photon or 1.0
    lit = lit_pixels(clean, mask, above=rule.lit_above * unit)
    if clean.max(initial=0) >= np.iinfo(np.uint16).max * unit:
        raise PatternFileError(
            f"the frames hold values up to {clean.max():g}, over 65535 photons; "
            f"give the right adu_per_photon (--adu-per-photon), or mask the pixels"
        )
    if rule.adu_per_photon is not None:
        return to_photons(clean, rule.adu_per_photon, conversion=rule.conversion), lit, impossible
    photons = clean.astype(np.uint16)
    if (photons != clean).any() or impossible.negative.any():
        wrong = "negative values" if impossible.negative.any() else f"{clean[photons != clean][0]:g}"
        raise PatternFileError(
            f"the frames hold {wrong}, which is no number of photons; say how many ADU a photon makes "
            f"(adu_per_photon, --adu-per-photon)"
        )
    return photons, lit, impossible


def blocks(frames: Frames, chosen: np.ndarray, *, label: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chosen frames in blocks of about 16 MB, with a progress bar.

    Parameters
    ----------
    frames
        The stack.
    chosen
        (n,) indices.
    label
        What is being done.

    Yields
    ------
    indices : ndarray (k,)
    values : ndarray (k, rows, columns)
        As stored.
    """
    size = max(_BLOCK_BYTES // (4 * frames.mask.size), 1)
    parts = [chosen[start : start + size] for start in range(0, len(chosen), size)]
    for indices in progress(parts, label=label):
        yield indices, frames.read_frames(indices)


def survey(frames: Frames, rule: HitRule) -> Survey:
    """Look at all frames once.

    Parameters
    ----------
    frames
        The stack.
    rule
        Units and thresholds.

    Returns
    -------
    Survey

    Raises
    ------
    PatternFileError
        As `whole_photons`.
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
    return Survey(lit, hits, ImpossibleValues(*counts), blank, everything, dark, total, mean_hit)
