"""Background of each pixel, estimated from histograms of its counts, and its removal from a pattern.

The published method takes the peak of a pixel's histogram over all frames. Far below one photon a pixel, as in
AMOX34117, every histogram peaks at 0 and nothing is removed; frames without a hit give the rate even then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

HISTOGRAM_BINS = 50
OVERFLOW = 70
"""Published defaults: histograms hold counts 0…49; pixels above 70 photons are left unchanged."""

FEWEST_FRAMES = 10
"""Frames that a background from histograms needs."""

_FITTED_PIXELS = 4096
"""Pixels whose histograms are fitted at a time."""
_FIT_STEPS = 30
_ROUNDING = 1e-9
_PRIOR_SHAPE = 4.0
"""Photons a, as which the mean rate of a ring counts in `blank_rate`."""


class PixelHistograms:
    """Histograms of the counts 0…49 of each pixel, filled block by block; larger counts are left out."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.frames = 0
        self._counts = np.zeros(HISTOGRAM_BINS * shape[0] * shape[1], np.uint32)

    @property
    def counts(self) -> np.ndarray:
        """Number of frames (bins, rows, columns) in which each pixel had each count."""
        return self._counts.reshape(HISTOGRAM_BINS, *self.shape)

    def add(self, photons: np.ndarray) -> None:
        """Add the photon counts (n, rows, columns) of further frames."""
        photons = np.asarray(photons).reshape(len(photons), self.shape[0] * self.shape[1])
        pixels = photons.shape[1]
        self.frames += len(photons)
        lit_frame, lit_pixel = np.nonzero(photons)
        count = photons[lit_frame, lit_pixel].astype(np.intp)
        # most pixels are dark in most frames: bin 0 is filled by subtraction, the lit pixels one by one
        self._counts[:pixels] += (len(photons) - np.bincount(lit_pixel, minlength=pixels)).astype(np.uint32)
        inside = count < HISTOGRAM_BINS
        np.add.at(self._counts, count[inside] * pixels + lit_pixel[inside], np.uint32(1))


def histogram_peak(histograms: np.ndarray) -> np.ndarray:
    """Published background (rows, columns) [whole photons]: floor(µ) of a Gaussian fitted to each pixel's histogram.

    `histograms` (bins, rows, columns) come from `PixelHistograms.counts`. The fit of A·N(x; µ, σ) starts from µ = m,
    σ = m/5 with the mode m; where it fails, or where m = 0, m is taken. ValueError below 10 frames.
    """
    if histograms.sum(axis=0).max(initial=0) < FEWEST_FRAMES:
        raise ValueError(f"a background from histograms needs at least {FEWEST_FRAMES} frames")
    background = histograms.argmax(axis=0).astype(float)
    lit = np.argwhere(background > 0)
    for part in np.array_split(lit, -(-len(lit) // _FITTED_PIXELS) or 1):
        pixels = tuple(part.T)
        mode = background[pixels]
        mean = _fitted_means(histograms[:, *pixels].T.astype(float), mode)
        found = np.isfinite(mean) & (mean < len(histograms))
        background[pixels] = np.where(found, np.maximum(np.floor(np.where(found, mean, 0) + _ROUNDING), 0), mode)
    return background


def _fitted_means(histograms: np.ndarray, mode: np.ndarray) -> np.ndarray:
    """Means µ (n,) of Gaussians fitted to histograms (n, bins) by Levenberg–Marquardt; NaN where the fit fails."""
    count = np.arange(histograms.shape[1])
    # one row a histogram: height, mean, standard deviation
    gaussian = np.stack([histograms.max(axis=1), mode, mode / 5], axis=1)
    damping = np.full(len(gaussian), 1e-3)
    with np.errstate(all="ignore"):
        value, derivative = _gaussians(gaussian, count)
        misfit = ((value - histograms) ** 2).sum(axis=1)
        for _ in range(_FIT_STEPS):
            # normal equations of all fits at once, their diagonals raised by the damping
            curvature = derivative.transpose(0, 2, 1) @ derivative
            diagonal = np.diagonal(curvature, axis1=1, axis2=2)
            curvature = curvature + (damping[:, None] * diagonal + 1e-12)[:, :, None] * np.eye(3)
            gradient = derivative.transpose(0, 2, 1) @ (histograms - value)[:, :, None]
            trial = gaussian + np.linalg.solve(curvature, gradient)[:, :, 0]
            trial_value, trial_derivative = _gaussians(trial, count)
            trial_misfit = ((trial_value - histograms) ** 2).sum(axis=1)
            # each fit accepts a step that does not make it worse, and is damped less after it, else more
            better = trial_misfit <= misfit
            damping = np.where(better, damping / 10, damping * 10).clip(1e-12, 1e12)
            gaussian[better], value[better] = trial[better], trial_value[better]
            derivative[better] = trial_derivative[better]
            misfit = np.where(better, trial_misfit, misfit)
    return np.where(np.isfinite(misfit), gaussian[:, 1], np.nan)


def _gaussians(parameters: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians (n, bins) of height, mean and deviation (n, 3), and their derivatives (n, bins, 3)."""
    height, mean, deviation = parameters.T[:, :, None]
    away = (count - mean) / deviation
    shape = np.exp(-(away**2) / 2)
    slope = height * shape * away / deviation
    return height * shape, np.stack([shape, slope, slope * away], axis=2)


def subtract_peak(photons: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Counts (N, rows, columns) minus the background of `histogram_peak`: not below 0, unchanged above 70 photons."""
    whole = background.astype(photons.dtype)
    return np.where(photons > OVERFLOW, photons, photons - np.minimum(photons, whole))


def blank_rate(histograms: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Mean background (rows, columns) [photons per frame] from histograms of frames without a hit; 0 in bad pixels.

    The rate of a pixel is (n + a) / (N + a/ρ) for n photons in its N frames: the mean of a gamma posterior whose prior
    is the mean rate ρ of the good pixels at the same distance from the beam, with the weight of a = 4 photons. So no
    pixel has the rate 0 merely because there were few frames, hot pixels keep their own rate, and the sum over each
    ring does not change.
    """
    # photons n and frames N of each pixel
    photons = np.tensordot(np.arange(len(histograms), dtype=float), histograms, axes=1)
    frames = histograms.sum(axis=0).astype(float)
    row, column = np.indices(mask.shape)
    ring = np.rint(np.hypot(row - centre[0], column - centre[1])).astype(np.intp)
    good = ~mask

    def ring_sum(values: np.ndarray) -> np.ndarray:
        return np.bincount(ring[good], values[good], minlength=ring.max() + 1)[ring]

    # a ring without a single photon gets half a photon in all of its frames, so that ρ is positive
    expected = np.maximum(ring_sum(photons), 0.5) / np.maximum(ring_sum(frames), 1)
    return np.where(good, (photons + _PRIOR_SHAPE) / (frames + _PRIOR_SHAPE / expected), 0.0)


@dataclass(frozen=True)
class Background:
    """Expected background of a frame, and its variation from frame to frame."""

    rate: np.ndarray  # (rows, columns) mean background of each pixel [photons per frame]
    spread: float  # standard deviation of the logarithm of the background's level among frames


def level_spread(photons: np.ndarray) -> float:
    """Standard deviation of the logarithm of the background's level from frame to frame, without the counting noise.

    `photons` (n,) are those of each blank frame. Limited to 0.05 … 1; 1 if it cannot be determined.
    """
    photons = np.asarray(photons, dtype=float)
    if photons.size < 2 or photons.mean() <= 0:
        return 1.0
    # the Poisson variance is the mean; a log-normal level of spread s has the relative variance exp(s²) − 1
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
    """Remove `number` (N,) background photons from patterns (N, rows, columns) of whole photons.

    Which photons are background is unknown; a photon in pixel p is one with a probability proportional to
    rate(p) / profile(r(p)), with `profiles` (N, radii) of signal and background together. Photons are drawn with these
    probabilities, scaled to add up to the expected number; a fraction is rounded up or down at random. Counts stay
    whole and not negative, and nothing has to be clipped, so there is no bias.
    """
    kept = np.array(photons, order="C")
    for pattern, profile, centre, wanted, rng in zip(kept, profiles, centres, number, generators, strict=True):
        flat = pattern.reshape(-1)
        lit = np.flatnonzero(flat)
        row, column = np.divmod(lit, pattern.shape[1])
        # share of the background among the photons of each lit pixel, up to a factor of the pattern
        radius = np.rint(np.hypot(row - centre[0], column - centre[1])).astype(np.intp)
        share = rate.reshape(-1)[lit] / np.maximum(profile[np.minimum(radius, profile.size - 1)], 1e-12)
        # one entry a photon, of which some are drawn and subtracted
        times = flat[lit].astype(np.intp)
        pixel, weight = np.repeat(lit, times), np.repeat(share, times)
        np.subtract.at(flat, _drawn(pixel, _probabilities(weight, wanted), rng), flat.dtype.type(1))
    return kept


def _probabilities(weight: np.ndarray, number: float) -> np.ndarray:
    """Probabilities (n,) proportional to weights and at most 1 that add up to `number`; all 1 if it exceeds n."""
    probability = np.maximum(weight, 1e-9)
    free = np.ones(weight.size, bool)
    while free.any():
        # scale the weights; whatever would exceed 1 is set to 1, and the rest is scaled again
        scale = max(number - (weight.size - free.sum()), 0) / probability[free].sum()
        over = free & (probability * scale >= 1)
        if not over.any():
            return np.where(free, probability * scale, 1.0)
        free &= ~over
    return np.ones(weight.size)


def _drawn(items: np.ndarray, probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Items drawn with these probabilities, as many as they add up to: systematic sampling in random order."""
    order = rng.permutation(items.size)
    # an item is drawn if the running sum passes a whole number within its own probability
    passed = np.floor(np.cumsum(probability[order]) + rng.random())
    return items[order[np.diff(passed, prepend=0) > 0]]
