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
from helpers.preparation.form_factor import relative_intensity
from helpers.preparation.sphere_fit_pixels import FittedPixels, fitted_pixels

SEARCH_HALF_WIDTH = 5.0
"""How far the centre of a pattern may be from the first estimate, as published [pixels]."""

_GRID_STEP = 2.0
_SIZE_RATIO = 1.06
_GRID_BACKGROUND = 0.1
_MODEL_ERROR = 0.1
"""Particles are no spheres: relative standard deviation of a pixel's intensity about the sphere's pattern."""

_SETTLED = 0.05
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
    have Gaussian priors. Start and first steps look at squares of 2 × 2 pixels, the last steps at the pixels.

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
        self._pixels = fitted_pixels(~mask & (distance <= largest_radius), background.rate)
        self._squares = self._pixels.squares()
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
            counts = np.take(photons[block], self._pixels.place, axis=1).astype(np.float32)
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
        """Logarithm of the share of the photons that each square gets, for one point of the grid."""
        squares = self._squares
        distance = np.hypot(squares.row - point[0], squares.column - point[1])
        sphere = relative_intensity(self._q_step * point[2] * distance)[0] * squares.area
        share = (1 - _GRID_BACKGROUND) * sphere / sphere.sum() + _GRID_BACKGROUND * squares.rate / squares.rate.sum()
        return np.log(share).astype(np.float32)

    def _start(self, counts: np.ndarray) -> np.ndarray:
        """Parameters (n, 5) of the most probable point of the grid, for the counts (n, squares)."""
        point = self._grid[(counts @ self._log_grid).argmax(axis=1)]
        parameters = np.zeros((len(counts), _PARAMETERS))
        parameters[:, :2] = point[:, :2]
        parameters[:, 2] = np.log(point[:, 2])
        sphere = self._sphere(self._squares, parameters)[0]
        signal = np.maximum(counts.sum(axis=1) - self._squares.rate.sum(), 0.1 * counts.sum(axis=1) + 1)
        parameters[:, 3] = np.log(signal / (sphere * self._squares.area).sum(axis=1))
        return parameters

    def _sphere(
        self, pixels: FittedPixels, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """f, df/d log x, and rows and columns from the centre and r² of each pattern (n, pixels)."""
        row, column, log_radius = parameters[:, :3].T.astype(np.float32)[:, :, None]
        down, right = pixels.row - row, pixels.column - column
        square = np.maximum(down * down + right * right, np.float32(1e-6))
        x = np.float32(self._q_step) * np.exp(log_radius) * np.sqrt(square)
        return *relative_intensity(x), (down, right, square)

    def _fit_block(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (n, 5) and centre errors (n, 2) for the counts (n, pixels)."""
        coarse = self._pixels.in_squares(counts)
        parameters, _ = self._settled(self._squares, coarse, self._start(coarse))
        return self._settled(self._pixels, counts, parameters)

    def _settled(
        self, pixels: FittedPixels, counts: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and centre errors after Fisher scoring until nothing moves."""
        errors = np.empty((len(counts), 2))
        moving = np.arange(len(counts))
        for _ in range(_ITERATIONS):
            gradient, information = self._score(pixels, counts[moving], parameters[moving])
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

    def _score(self, pixels: FittedPixels, counts: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (n, 5) and information (n, 5, 5) at the parameters, priors included."""
        sphere, growth, (down, right, square) = self._sphere(pixels, parameters)
        brightness = np.exp(parameters[:, 3:4]).astype(np.float32) * pixels.area
        background = np.exp(parameters[:, 4:5]).astype(np.float32) * pixels.rate
        signal = brightness * sphere
        expected = signal + background
        weight = 1 / np.sqrt(expected * (1 + np.float32(_MODEL_ERROR**2) / pixels.area * expected))
        change = np.empty((len(counts), _PARAMETERS, counts.shape[1]), np.float32)
        growth *= brightness
        growth *= weight
        change[:, 2] = growth
        growth /= -square
        np.multiply(growth, down, out=change[:, 0])
        np.multiply(growth, right, out=change[:, 1])
        np.multiply(signal, weight, out=change[:, 3])
        np.multiply(background, weight, out=change[:, 4])
        gradient = (change @ ((counts - expected) * weight)[:, :, None])[:, :, 0].astype(float)
        information = _inner_products(change).astype(float)
        precision = np.array([1 / self._prior.jitter**2] * 2 + [0.0, 0.0, self._level_precision])
        mean = np.array([*self._prior.centre, 0.0, 0.0, 0.0])
        information[:, range(_PARAMETERS), range(_PARAMETERS)] += precision + 1e-9
        return gradient - precision * (parameters - mean), information


def _inner_products(rows: np.ndarray) -> np.ndarray:
    """Products (n, k, k) of all pairs of rows (n, k, pixels); a matrix product is slow for so few rows."""
    products = np.empty((len(rows), rows.shape[1], rows.shape[1]), rows.dtype)
    for first in range(rows.shape[1]):
        products[:, first, first:] = (rows[:, first:] @ rows[:, first, :, None])[:, :, 0]
        products[:, first:, first] = products[:, first, first:]
    return products


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
