"""Beam centre of each pattern from a maximum-likelihood fit of the pattern of a sphere.

The published tool tries centres on a grid of 0.2 pixels and sums |sphere − data|. Here centre, size, brightness and
background level are fitted together so that the counts are most probable, which is faster and uses every photon.
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
"""Largest distance of a pattern's centre from the first estimate, as published [pixels]."""

_GRID_STEP = 2.0
"""Distance between neighbouring centres of the starting grid [pixels]."""
_SIZE_RATIO = 1.06
"""Ratio of neighbouring radii of the starting grid."""
_GRID_BACKGROUND = 0.1
"""Share of the photons that the starting grid takes for background."""
_MODEL_ERROR = 0.1
"""Relative standard deviation of a pixel's intensity about the sphere's pattern, because particles are not spheres."""

_CONVERGED = 0.05
"""Step of the centre below which a fit has converged [pixels]; log R must move 0.02 times less."""
_ITERATIONS = 15
_LARGEST_STEPS = np.array([1.0, 1.0, 0.05, 0.5, 0.5])
_PARAMETERS = 5
"""Row, column, log R, log s (brightness) and log β (background level), in this order in every array."""
_BLOCK = 16
"""Patterns that are fitted at a time: their arrays fit into the cache."""


@dataclass(frozen=True)
class CentrePrior:
    """Gaussian prior for the beam centre of a pattern."""

    centre: Centre  # mean centre of the patterns (row, column) [pixels]
    jitter: float  # standard deviation along each axis [pixels]


@dataclass(frozen=True)
class SphereFit:
    """The most probable sphere pattern of each of N patterns."""

    centres: np.ndarray  # (N, 2) beam centre (row, column) of each pattern [pixels]
    errors: np.ndarray  # (N, 2) standard deviations of row and column, from the Fisher information [pixels]
    size_nm: np.ndarray  # (N,) diameter of the sphere [nm]
    brightness: np.ndarray  # (N,) intensity of the sphere at q = 0 [photons per pixel]
    background_level: np.ndarray  # (N,) level of the background relative to its mean in blank frames


class SphereFitter:
    """Fit of a sphere's pattern to patterns that share mask, experiment, background and prior.

    The model of pixel p is λ_p = s f(q_p R) + β b_p with f of `form_factor.relative_intensity` and the mean background
    b. The start is the best point of a grid of centres and sizes: with the scale eliminated, the log-likelihood is
    Σ_p K_p log(m_p / Σ m), one matrix product for all patterns. Fisher scoring then solves
    Σ_p (K_p − λ_p) ∂λ_p / v_p = 0 for row, column, log R, log s and log β, with the variance v = λ + (0.1 λ)²; its
    second term keeps the few brightest pixels of a particle that is not a sphere from dominating the fit. Centre and
    log β have Gaussian priors. The start and the first steps use squares of 2 × 2 pixels, the last steps single pixels.

    Spheres have diameters of `sizes_nm`; pixels beyond `largest_radius` [pixels] of the prior's centre are not used.
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
        """Most probable sphere of each pattern (N, rows, columns) of photon counts, background included."""
        photons = np.asarray(photons).reshape(len(photons), -1)
        found = np.empty((len(photons), _PARAMETERS))
        errors = np.empty((len(photons), 2))

        def fit_block(start: int) -> None:
            block = slice(start, start + _BLOCK)
            counts = np.take(photons[block], self._pixels.flat, axis=1).astype(np.float32)
            found[block], errors[block] = self._fit_block(counts)

        # for such small matrices the threads of the matrix library wait for each other: blocks share the cores instead
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fit_block, range(0, len(photons), _BLOCK)))
        size, brightness, level = 2 * np.exp(found[:, 2]), np.exp(found[:, 3]), np.exp(found[:, 4])
        return SphereFit(found[:, :2], errors, size, brightness, level)

    def _grid_points(self) -> np.ndarray:
        """Starting grid (points, 3): row, column [pixels] and radius [nm]."""
        reach = min(SEARCH_HALF_WIDTH, 2.5 * self._prior.jitter)
        steps = max(round(reach / _GRID_STEP), 0)
        offsets = np.linspace(-reach, reach, 2 * steps + 1) if steps else np.zeros(1)
        number = max(round(np.log(self._radii[1] / self._radii[0]) / np.log(_SIZE_RATIO)), 1) + 1
        row, column, radius = np.meshgrid(offsets, offsets, np.geomspace(*self._radii, number), indexing="ij")
        points = np.stack([row.ravel(), column.ravel(), radius.ravel()], axis=1)
        points[:, :2] += self._prior.centre
        return points

    def _log_shape(self, point: np.ndarray) -> np.ndarray:
        """Logarithm (squares,) of the share of the photons expected in each square, for one point of the grid."""
        squares = self._squares
        distance = np.hypot(squares.row - point[0], squares.column - point[1])
        sphere = relative_intensity(self._q_step * point[2] * distance)[0] * squares.area
        share = (1 - _GRID_BACKGROUND) * sphere / sphere.sum() + _GRID_BACKGROUND * squares.rate / squares.rate.sum()
        return np.log(share).astype(np.float32)

    def _start(self, counts: np.ndarray) -> np.ndarray:
        """Parameters (n, 5) at the most probable point of the grid, for the counts (n, squares)."""
        # log-likelihood of every pattern at every point: Σ K log share
        point = self._grid[(counts @ self._log_grid).argmax(axis=1)]
        parameters = np.zeros((len(counts), _PARAMETERS))
        parameters[:, :2] = point[:, :2]
        parameters[:, 2] = np.log(point[:, 2])
        # brightness from the photons beyond the mean background, of which at least a tenth is taken for signal
        sphere = self._sphere(self._squares, parameters)[0]
        signal = np.maximum(counts.sum(axis=1) - self._squares.rate.sum(), 0.1 * counts.sum(axis=1) + 1)
        parameters[:, 3] = np.log(signal / (sphere * self._squares.area).sum(axis=1))
        return parameters

    def _sphere(
        self, pixels: FittedPixels, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """f, df/d log x, and (row − centre row, column − centre column, r²), each (n, pixels)."""
        row, column, log_radius = parameters[:, :3].T.astype(np.float32)[:, :, None]
        down, right = pixels.row - row, pixels.column - column
        square = np.maximum(down * down + right * right, np.float32(1e-6))
        x = np.float32(self._q_step) * np.exp(log_radius) * np.sqrt(square)
        return *relative_intensity(x), (down, right, square)

    def _fit_block(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (n, 5) and centre errors (n, 2) for the counts (n, pixels): first in squares, then in pixels."""
        coarse = self._pixels.in_squares(counts)
        parameters, _ = self._converged(self._squares, coarse, self._start(coarse))
        return self._converged(self._pixels, counts, parameters)

    def _converged(
        self, pixels: FittedPixels, counts: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (n, 5) and centre errors (n, 2) after Fisher scoring until convergence."""
        errors = np.empty((len(counts), 2))
        moving = np.arange(len(counts))
        for _ in range(_ITERATIONS):
            gradient, information = self._score(pixels, counts[moving], parameters[moving])
            # the inverse information gives the step and the variances (Cramér–Rao bound)
            inverse = np.linalg.inv(information)
            step = np.clip((inverse @ gradient[:, :, None])[:, :, 0], -_LARGEST_STEPS, _LARGEST_STEPS)
            parameters[moving] = self._inside(parameters[moving] + step)
            errors[moving] = np.sqrt(np.diagonal(inverse, axis1=1, axis2=2)[:, :2])
            # patterns whose centre and size have converged are finished
            moving = moving[(np.abs(step[:, :3]) > _CONVERGED * np.array([1, 1, 0.02])).any(axis=1)]
            if not moving.size:
                break
        return parameters, errors

    def _inside(self, parameters: np.ndarray) -> np.ndarray:
        """Parameters (n, 5) limited to the range of the search."""
        prior = np.array(self._prior.centre)
        reach = 2 * SEARCH_HALF_WIDTH
        parameters[:, :2] = np.clip(parameters[:, :2], prior - reach, prior + reach)
        parameters[:, 2] = np.clip(parameters[:, 2], *np.log(self._radii))
        parameters[:, 4] = np.clip(parameters[:, 4], -4.0, 4.0)
        return parameters

    def _score(self, pixels: FittedPixels, counts: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (n, 5) and information (n, 5, 5) of the log-posterior at the parameters (n, 5)."""
        # expected counts λ = s f + β b of each pixel (or square)
        sphere, growth, (down, right, square) = self._sphere(pixels, parameters)
        brightness = np.exp(parameters[:, 3:4]).astype(np.float32) * pixels.area
        background = np.exp(parameters[:, 4:5]).astype(np.float32) * pixels.rate
        signal = brightness * sphere
        expected = signal + background
        # 1/√v with the variance v = λ + (0.1 λ)²; in a square of several pixels the model errors average out
        weight = 1 / np.sqrt(expected * (1 + np.float32(_MODEL_ERROR**2) / pixels.area * expected))
        # derivatives ∂λ/√v by the five parameters; in place, because memory traffic takes most of the time
        derivative = np.empty((len(counts), _PARAMETERS, counts.shape[1]), np.float32)
        growth *= brightness
        growth *= weight
        derivative[:, 2] = growth  # by log R: x = q R, so it is the derivative by log x
        growth /= -square  # by the centre: d log x / d row = −(row − centre row) / r²
        np.multiply(growth, down, out=derivative[:, 0])
        np.multiply(growth, right, out=derivative[:, 1])
        np.multiply(signal, weight, out=derivative[:, 3])
        np.multiply(background, weight, out=derivative[:, 4])
        # gradient Σ (K − λ) ∂λ / v and information Σ ∂λ ∂λᵀ / v
        gradient = (derivative @ ((counts - expected) * weight)[:, :, None])[:, :, 0].astype(float)
        information = _inner_products(derivative).astype(float)
        # the Gaussian priors of centre and log β
        precision = np.array([1 / self._prior.jitter**2] * 2 + [0.0, 0.0, self._level_precision])
        mean = np.array([*self._prior.centre, 0.0, 0.0, 0.0])
        information[:, range(_PARAMETERS), range(_PARAMETERS)] += precision + 1e-9
        return gradient - precision * (parameters - mean), information


def _inner_products(rows: np.ndarray) -> np.ndarray:
    """Inner products (n, k, k) of all pairs of rows (n, k, pixels), one row at a time: `@` is slow for so few rows."""
    products = np.empty((len(rows), rows.shape[1], rows.shape[1]), rows.dtype)
    for first in range(rows.shape[1]):
        products[:, first, first:] = (rows[:, first:] @ rows[:, first, :, None])[:, :, 0]
        products[:, first:, first] = products[:, first, first:]
    return products


def prior_of(fit: SphereFit) -> CentrePrior:
    """Mean and jitter of the centres of fitted patterns, robust against patterns that are not single spheres.

    The mean is the median; the jitter is 1.4826 times the median distance from it along an axis, minus the errors of
    the fits in quadrature, and at least 0.3 pixels.
    """
    middle = np.median(fit.centres, axis=0)
    spread = 1.4826 * np.median(np.abs(fit.centres - middle), axis=0)
    variance = float(np.mean(spread**2 - np.median(fit.errors**2, axis=0)))
    return CentrePrior((float(middle[0]), float(middle[1])), float(np.sqrt(max(variance, 0.3**2))))
