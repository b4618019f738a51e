"""Background of each pixel from histograms of its counts, and how it is taken out of a pattern.

The published method takes the peak of a pixel's histogram over all frames. Where the background is far below one photon
a pixel, as in AMOX34117, every histogram peaks at 0, and nothing is taken away. Frames without a hit tell the rate of
the background there, however small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HISTOGRAM_BINS = 50
OVERFLOW = 70
"""Published defaults: counts 0…49 make the histogram; pixels over 70 photons are left as they are."""

FEWEST_FRAMES = 10

_FITTED_PIXELS = 4096
_FIT_STEPS = 30
_ROUNDING = 1e-9
_PRIOR_SHAPE = 4.0


class PixelHistograms:
    """Histograms of the counts of each pixel, filled block by block.

    Parameters
    ----------
    shape
        Rows and columns.
    bins
        Counts from 0 to bins − 1 are counted, larger ones are not.
    """

    def __init__(self, shape: tuple[int, int], bins: int = HISTOGRAM_BINS) -> None:
        self.shape = shape
        self.bins = bins
        self.frames = 0
        self._counts = np.zeros(bins * shape[0] * shape[1], np.uint32)

    @property
    def counts(self) -> np.ndarray:
        """(bins, rows, columns) frames in which a pixel had a count."""
        return self._counts.reshape(self.bins, *self.shape)

    def add(self, photons: np.ndarray) -> None:
        """Count the photons (n, rows, columns) of more frames."""
        photons = np.asarray(photons).reshape(len(photons), self.shape[0] * self.shape[1])
        pixels = photons.shape[1]
        self.frames += len(photons)
        lit_frame, lit_pixel = np.nonzero(photons)
        count = photons[lit_frame, lit_pixel].astype(np.intp)
        # most pixels are dark in most frames: they are not looked at one by one
        self._counts[:pixels] += (len(photons) - np.bincount(lit_pixel, minlength=pixels)).astype(np.uint32)
        inside = count < self.bins
        np.add.at(self._counts, count[inside] * pixels + lit_pixel[inside], np.uint32(1))


def histogram_peak(histograms: np.ndarray) -> np.ndarray:
    """Background as published: floor(µ) of a Gaussian fitted to each pixel's histogram, 0 where its mode is 0.

    A·N(x; µ, σ) is fitted from µ = m, σ = m/5 with the mode m; where the fit fails, the mode is taken.

    Parameters
    ----------
    histograms
        (bins, rows, columns), see `PixelHistograms`.

    Returns
    -------
    ndarray (rows, columns)
        Whole numbers, not negative [photons].

    Raises
    ------
    ValueError
        If a histogram holds fewer than 10 frames.
    """
    if histograms.sum(axis=0).max(initial=0) < FEWEST_FRAMES:
        raise ValueError(f"a background from histograms needs at least {FEWEST_FRAMES} frames")
    background = histograms.argmax(axis=0).astype(float)
    lit = np.argwhere(background > 0)
    for part in np.array_split(lit, -(-len(lit) // _FITTED_PIXELS) or 1):
        place = tuple(part.T)
        mode = background[place]
        mean = _fitted_means(histograms[:, *place].T.astype(float), mode)
        found = np.isfinite(mean) & (mean < len(histograms))
        background[place] = np.where(found, np.maximum(np.floor(np.where(found, mean, 0) + _ROUNDING), 0), mode)
    return background


def _fitted_means(histograms: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """Means of the Gaussians through histograms (n, bins): by Levenberg and Marquardt; NaN where that fails."""
    count = np.arange(histograms.shape[1])
    bell = np.stack([histograms.max(axis=1), mode, mode / 5], axis=1)
    damping = np.full(len(bell), 1e-3)
    with np.errstate(all="ignore"):
        value, change = _bells(bell, count)
        misfit = ((value - histograms) ** 2).sum(axis=1)
        for _ in range(_FIT_STEPS):
            curvature = change.transpose(0, 2, 1) @ change
            diagonal = np.diagonal(curvature, axis1=1, axis2=2)
            curvature = curvature + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(3)
            slope = change.transpose(0, 2, 1) @ (histograms - value)[:, :, None]
            trial = bell + np.linalg.solve(curvature, slope)[:, :, 0]
            trial_value, trial_change = _bells(trial, count)
            trial_misfit = ((trial_value - histograms) ** 2).sum(axis=1)
            better = trial_misfit <= misfit
            damping = np.where(better, damping / 10, damping * 10).clip(1e-12, 1e12)
            bell[better], value[better], change[better] = trial[better], trial_value[better], trial_change[better]
            misfit = np.where(better, trial_misfit, misfit)
    return np.where(np.isfinite(misfit), bell[:, 1], np.nan)


def _bells(bell: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians (n, bins) of height, mean and deviation (n, 3), and their derivatives (n, bins, 3)."""
    height, mean, deviation = bell.T[:, :, None]
    away = (count - mean) / deviation
    shape = np.exp(-(away**2) / 2)
    slope = height * shape * away / deviation
    return height * shape, np.stack([shape, slope, slope * away], axis=2)


def subtract_peak(photons: np.ndarray, background: np.ndarray, *, overflow: int = OVERFLOW) -> np.ndarray:
    """Counts less the published background: not below 0, and unchanged where they are over `overflow`.

    Parameters
    ----------
    photons
        (N, rows, columns) whole photons.
    background
        (rows, columns) from `histogram_peak` [photons].
    overflow
        [photons].

    Returns
    -------
    ndarray (N, rows, columns)
        The type of `photons`.
    """
    whole = background.astype(photons.dtype)
    return np.where(photons > overflow, photons, photons - np.minimum(photons, whole))


def blank_rate(histograms: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Expected background of each pixel, from histograms of frames without a hit.

    The rate of a pixel is (n + a) / (N + a/ρ): n photons in its N frames, and the mean rate ρ of the good pixels at its
    distance from the beam, which counts as much as a = 4 photons would. So no pixel has the rate 0 because few frames
    were seen, hot pixels keep their own rate, and the photons of each ring stay what they are.

    Parameters
    ----------
    histograms
        (bins, rows, columns) of the blank frames; larger counts (a cosmic ray) are left out.
    mask
        (rows, columns), True = bad pixel.
    centre
        Beam centre (row, column) [pixels].

    Returns
    -------
    ndarray (rows, columns)
        Positive in good pixels, 0 in bad ones [photons per frame].
    """
    photons = np.tensordot(np.arange(len(histograms), dtype=float), histograms, axes=1)
    frames = histograms.sum(axis=0).astype(float)
    row, column = np.indices(mask.shape)
    ring = np.rint(np.hypot(row - centre[0], column - centre[1])).astype(np.intp)
    good = ~mask

    def ring_sum(values: np.ndarray) -> np.ndarray:
        return np.bincount(ring[good], values[good], minlength=ring.max() + 1)[ring]

    # a ring in which no blank frame had a photon: not over one photon in all of them
    expected = np.maximum(ring_sum(photons), 0.5) / np.maximum(ring_sum(frames), 1)
    return np.where(good, (photons + _PRIOR_SHAPE) / (frames + _PRIOR_SHAPE / expected), 0.0)


@dataclass(frozen=True)
class Background:
    """Expected background of a frame, and how much it varies from frame to frame."""

    rate: np.ndarray
    """(rows, columns) [photons per frame]."""

    spread: float
    """Standard deviation of the logarithm of its level among blank frames."""


def level_spread(photons: np.ndarray) -> float:
    """How much the level of the background varies, from the photons in blank frames, without their counting noise.

    Parameters
    ----------
    photons
        (n,) sums of the blank frames [photons].

    Returns
    -------
    float
        Standard deviation of the logarithm of the level, between 0.05 and 1.
    """
    photons = np.asarray(photons, dtype=float)
    if photons.size < 2 or photons.mean() <= 0:
        return 1.0
    relative_variance = (photons.var(ddof=1) - photons.mean()) / photons.mean() ** 2
    return float(np.clip(np.sqrt(np.log1p(max(relative_variance, 0.0))), 0.05, 1.0))


def remove_photons(
    photons: np.ndarray,
    rate: np.ndarray,
    *,
    number: np.ndarray,
    profiles: np.ndarray,
    centres: np.ndarray,
    generators: Sequence[np.random.Generator],
) -> np.ndarray:
    """Take the expected number of background photons out of patterns of whole photons.

    Nobody knows which photons are background; a photon in pixel p is one with a probability proportional to
    rate(p) / profile(r(p)). Photons are drawn with these probabilities, scaled so that they add up to the number of
    background photons that is expected. Counts stay whole and are never negative, and their sum is what subtraction
    gives: there is nothing to clip, so there is no bias.

    Parameters
    ----------
    photons
        (N, rows, columns) whole photons.
    rate
        (rows, columns) expected background, in any unit.
    number
        (N,) expected background photons in the pattern; one more or one less makes up for fractions.
    profiles
        (N, radii) what is expected in a pixel at each whole radius, signal and background, from
        `profile.radial_average`; only ratios within a pattern matter.
    centres
        (N, 2) row, column [pixels].
    generators
        N generators, one a pattern.

    Returns
    -------
    ndarray (N, rows, columns)
        The type of `photons`.
    """
    kept = np.array(photons, order="C")
    for pattern, profile, centre, wanted, rng in zip(kept, profiles, centres, number, generators, strict=True):
        flat = pattern.reshape(-1)
        lit = np.flatnonzero(flat)
        row, column = np.divmod(lit, pattern.shape[1])
        radius = np.rint(np.hypot(row - centre[0], column - centre[1])).astype(np.intp)
        share = rate.reshape(-1)[lit] / np.maximum(profile[np.minimum(radius, profile.size - 1)], 1e-12)
        times = flat[lit].astype(np.intp)
        place, weight = np.repeat(lit, times), np.repeat(share, times)
        np.subtract.at(flat, _drawn(place, _probabilities(weight, wanted), rng), flat.dtype.type(1))
    return kept


def _probabilities(weight: np.ndarray, number: float) -> np.ndarray:
    """Probabilities (n,) proportional to weights and at most 1 that add up to a number, or all 1 if it is over n."""
    probability = np.maximum(weight, 1e-9)
    free = np.ones(weight.size, bool)
    while free.any():
        scale = max(number - (weight.size - free.sum()), 0) / probability[free].sum()
        over = free & (probability * scale >= 1)
        if not over.any():
            return np.where(free, probability * scale, 1.0)
        free &= ~over
    return np.ones(weight.size)


def _drawn(items: np.ndarray, probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Items drawn with these probabilities, as many as they add up to: every unit of their sum in random order."""
    order = rng.permutation(items.size)
    passed = np.floor(np.cumsum(probability[order]) + rng.random())
    return items[order[np.diff(passed, prepend=0) > 0]]
