"""The centre of each pattern, refined with the pattern of a sphere.

The published tool tries centres on a grid of 0.2 pixels and sums |sphere − data|. Here centre, size, brightness and
background level are found together as those that make the counts most probable, which is faster and wastes no photon.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from helpers.experiment import Centre, Experiment
from helpers.preparation.background import Background
from helpers.preparation.sphere import relative_intensity

SEARCH_HALF_WIDTH = 5.0
"""How far the centre of a pattern may be from the first estimate, as published [pixels]."""

_GRID_STEP = 2.0
_SIZE_RATIO = 1.06
_GRID_BACKGROUND = 0.1
_MODEL_ERROR = 0.1
"""Particles are no spheres: relative standard deviation of a pixel's intensity about the sphere's pattern."""

_SETTLED = 0.02
_ITERATIONS = 15
_LARGEST_STEPS = np.array([1.0, 1.0, 0.05, 0.5, 0.5])
_PARAMETERS = 5
_BLOCK = 16
"""Patterns at a time: their arrays fit into a cache."""


@dataclass(frozen=True)
class CentrePrior:
    """What is known of a pattern's centre before its photons are looked at."""

    centre: Centre
    """Mean over the patterns (row, column) [pixels]."""

    jitter: float
    """Standard deviation along each axis [pixels]."""


@dataclass(frozen=True)
class SphereFit:
    """The most probable sphere pattern of each of N patterns."""

    centres: np.ndarray
    """(N, 2) row, column [pixels]."""

    errors: np.ndarray
    """(N, 2) standard deviations of the centre, from the Fisher information (Cramér–Rao) [pixels]."""

    size_nm: np.ndarray
    """(N,) diameter [nm]."""

    brightness: np.ndarray
    """(N,) intensity of the sphere at q = 0 [photons per pixel]."""

    background_level: np.ndarray
    """(N,) background over its mean among blank frames."""


class SphereFitter:
    """Fits sphere patterns to patterns that share mask, experiment, background and prior.

    The model of pixel p is λ_p = s f(q_p R) + β b_p: f as in `sphere.relative_intensity`, b the mean background. The
    start is the best of a grid of centres and sizes: with the scale profiled out, the logarithm of the likelihood is
    Σ_p K_p log(m_p / Σ m), one matrix product for all patterns. Fisher scoring then solves
    Σ_p (K_p − λ_p) ∂λ_p / v_p = 0 for row, column, log R, log s and log β, with the variance v = λ + (0.1 λ)²; the
    second term keeps the few brightest pixels of a particle that is no sphere from outvoting all others. Centre and β
    have Gaussian priors.

    Parameters
    ----------
    mask
        (rows, columns), True = bad pixel.
    experiment
        Wavelength, distance and pixel.
    background
        Its mean and spread among blank frames.
    prior
        Where centres are.
    sizes_nm
        Smallest and largest diameter [nm].
    largest_radius
        Pixels farther from the prior's centre are not used [pixels].
    """

    def __init__(
        self,
        mask: np.ndarray,
        experiment: Experiment,
        background: Background,
        prior: CentrePrior,
        *,
        sizes_nm: tuple[float, float],
        largest_radius: float,
    ) -> None:
        row, column = np.indices(mask.shape)
        distance = np.hypot(row - prior.centre[0], column - prior.centre[1])
        self._used = np.flatnonzero(~mask & (distance <= largest_radius))
        self._row = row.reshape(-1)[self._used].astype(np.float32)
        self._column = column.reshape(-1)[self._used].astype(np.float32)
        self._rate = np.maximum(background.rate.reshape(-1)[self._used], 1e-6).astype(np.float32)
        self._q_step = experiment.q_step
        self._prior = prior
        self._level_precision = 1 / background.spread**2
        self._radii = np.array(sizes_nm) / 2
        self._grid = self._grid_points()
        self._log_grid = np.stack([self._log_shape(point) for point in self._grid], axis=1)

    def fit(self, photons: np.ndarray) -> SphereFit:
        """Fit all patterns.

        Parameters
        ----------
        photons
            (N, rows, columns) counts with the background in them [photons].

        Returns
        -------
        SphereFit
        """
        photons = np.asarray(photons).reshape(len(photons), -1)
        found = np.empty((len(photons), _PARAMETERS))
        errors = np.empty((len(photons), 2))

        def fit_block(start: int) -> None:
            block = slice(start, start + _BLOCK)
            counts = np.take(photons[block], self._used, axis=1).astype(np.float32)
            found[block], errors[block] = self._fit_block(counts)

        # for such small matrices threads of the matrix library only wait for each other: blocks share the cores instead
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fit_block, range(0, len(photons), _BLOCK)))
        size, brightness, level = 2 * np.exp(found[:, 2]), np.exp(found[:, 3]), np.exp(found[:, 4])
        return SphereFit(found[:, :2], errors, size, brightness, level)

    def _grid_points(self) -> np.ndarray:
        """Rows, columns and radii (points, 3) from which a fit may start."""
        reach = min(SEARCH_HALF_WIDTH, 2.5 * self._prior.jitter)
        steps = max(round(reach / _GRID_STEP), 0)
        offsets = np.linspace(-reach, reach, 2 * steps + 1) if steps else np.zeros(1)
        number = max(round(np.log(self._radii[1] / self._radii[0]) / np.log(_SIZE_RATIO)), 1) + 1
        row, column, radius = np.meshgrid(offsets, offsets, np.geomspace(*self._radii, number), indexing="ij")
        points = np.stack([row.ravel(), column.ravel(), radius.ravel()], axis=1)
        points[:, :2] += self._prior.centre
        return points

    def _log_shape(self, point: np.ndarray) -> np.ndarray:
        """Logarithm of the share of the photons that each pixel gets, for one point of the grid."""
        distance = np.hypot(self._row - point[0], self._column - point[1])
        sphere, _ = relative_intensity(self._q_step * point[2] * distance)
        share = (1 - _GRID_BACKGROUND) * sphere / sphere.sum() + _GRID_BACKGROUND * self._rate / self._rate.sum()
        return np.log(share).astype(np.float32)

    def _start(self, counts: np.ndarray) -> np.ndarray:
        """Parameters (n, 5) of the most probable point of the grid."""
        point = self._grid[(counts @ self._log_grid).argmax(axis=1)]
        parameters = np.zeros((len(counts), _PARAMETERS))
        parameters[:, :2] = point[:, :2]
        parameters[:, 2] = np.log(point[:, 2])
        sphere, _, _ = self._sphere(parameters)
        signal = np.maximum(counts.sum(axis=1) - self._rate.sum(), 0.1 * counts.sum(axis=1) + 1)
        parameters[:, 3] = np.log(signal / sphere.sum(axis=1))
        return parameters

    def _sphere(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """f, x f' and the offsets from the centre over r² of each pattern (n, pixels)."""
        row, column, log_radius = parameters[:, :3].T.astype(np.float32)[:, :, None]
        down, right = self._row - row, self._column - column
        square = np.maximum(down * down + right * right, np.float32(1e-6))
        x = np.float32(self._q_step) * np.exp(log_radius) * np.sqrt(square)
        sphere, slope = relative_intensity(x)
        return sphere, x * slope, (down / square, right / square)

    def _fit_block(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (n, 5) and centre errors (n, 2): Fisher scoring until nothing moves."""
        parameters = self._start(counts)
        errors = np.empty((len(counts), 2))
        moving = np.arange(len(counts))
        for _ in range(_ITERATIONS):
            gradient, information = self._score(counts[moving], parameters[moving])
            inverse = np.linalg.inv(information)
            step = np.clip((inverse @ gradient[:, :, None])[:, :, 0], -_LARGEST_STEPS, _LARGEST_STEPS)
            parameters[moving] = self._inside(parameters[moving] + step)
            errors[moving] = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2)[:, :2])
            moving = moving[(np.abs(step[:, :3]) > _SETTLED * np.array([1, 1, 0.02])).any(axis=1)]
            if not moving.size:
                break
        return parameters, errors

    def _inside(self, parameters: np.ndarray) -> np.ndarray:
        """Parameters kept where the search was asked for."""
        prior = np.array(self._prior.centre)
        reach = 2 * SEARCH_HALF_WIDTH
        parameters[:, :2] = np.clip(parameters[:, :2], prior - reach, prior + reach)
        parameters[:, 2] = np.clip(parameters[:, 2], *np.log(self._radii))
        parameters[:, 4] = np.clip(parameters[:, 4], -4.0, 4.0)
        return parameters

    def _score(self, counts: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (n, 5) and information (n, 5, 5) at the parameters, priors included."""
        sphere, x_slope, (down, right) = self._sphere(parameters)
        brightness = np.exp(parameters[:, 3:4]).astype(np.float32)
        background = np.exp(parameters[:, 4:5]).astype(np.float32) * self._rate
        signal, growth = brightness * sphere, brightness * x_slope
        expected = signal + background
        weight = 1 / np.sqrt(expected + np.float32(_MODEL_ERROR**2) * expected * expected)
        growth *= weight
        change = np.empty((len(counts), _PARAMETERS, counts.shape[1]), np.float32)
        np.multiply(growth, -down, out=change[:, 0])
        np.multiply(growth, -right, out=change[:, 1])
        change[:, 2] = growth
        np.multiply(signal, weight, out=change[:, 3])
        np.multiply(background, weight, out=change[:, 4])
        gradient = (change @ ((counts - expected) * weight)[:, :, None])[:, :, 0].astype(float)
        information = (change @ change.transpose(0, 2, 1)).astype(float)
        precision = np.array([1 / self._prior.jitter**2] * 2 + [0.0, 0.0, self._level_precision])
        mean = np.array([*self._prior.centre, 0.0, 0.0, 0.0])
        information[:, range(_PARAMETERS), range(_PARAMETERS)] += precision + 1e-9
        return gradient - precision * (parameters - mean), information


def prior_of(fit: SphereFit) -> CentrePrior:
    """Mean and jitter of the centres of fitted patterns, robust against patterns that are no single spheres.

    The mean is the median; the jitter is 1.4826 times the median distance from it along an axis, less the errors of the
    fits, and at least 0.3 pixels.

    Parameters
    ----------
    fit
        Of some patterns, with a wide prior.

    Returns
    -------
    CentrePrior
    """
    middle = np.median(fit.centres, axis=0)
    spread = 1.4826 * np.median(np.abs(fit.centres - middle), axis=0)
    variance = float(np.mean(spread**2 - np.median(fit.errors**2, axis=0)))
    return CentrePrior((float(middle[0]), float(middle[1])), float(np.sqrt(max(variance, 0.3**2))))
