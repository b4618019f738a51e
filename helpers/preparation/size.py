"""The size of a particle from its radial profile (section 2.1 of the paper).

The method is that of the co-author's published tool (`spi_estimate_size`): the radial average of a pattern is compared
with the form factors of solid spheres.
"""

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.spatial.distance import cdist

from helpers.experiment import Experiment
from helpers.preparation.form_factor import sphere_form_factor
from helpers.preparation.radial_profile import brightest_sector_average, radial_average

SIZE_RANGE_NM = (55.0, 84.0)
"""Particles that the paper keeps, both ends included."""

SEARCH_RANGE_NM = (35.0, 130.0)
"""Sphere diameters that are tried for AMOX34117."""

ICOSAHEDRON = math.sqrt(10 + 2 * math.sqrt(5)) / (1 + math.sqrt(5))
"""Outer diameter of an icosahedron over the diameter of its middle sphere, 1.1756."""

_SIZES = 300
_OVERSAMPLING = 5
_NEIGHBOURS = 5
_SKIPPED_RADII = 2
_LARGEST_RADIUS = 90
_BLOCK = 64


def first_minimum_size(radius: float, experiment: Experiment) -> float:
    """Diameter of the sphere whose first dark ring has a radius: 4.5 / (π r Δf).

    Parameters
    ----------
    radius
        [pixels].
    experiment
        Wavelength, distance and pixel.

    Returns
    -------
    float
        [nm]
    """
    return 4.5 / (math.pi * radius * experiment.frequency_step)


def search_range(radii: tuple[int, int], experiment: Experiment) -> tuple[float, float]:
    """Diameters worth trying: their first dark ring lies between the first radius and half of the last one.

    Parameters
    ----------
    radii
        First radius that is compared, and the one after the last [pixels].
    experiment
        Wavelength, distance and pixel.

    Returns
    -------
    smallest, largest : float
        [nm]
    """
    return first_minimum_size(radii[1] / 2, experiment), first_minimum_size(radii[0], experiment)


def fitted_radii(experiment: Experiment, mask: np.ndarray, *, smallest_nm: float = SIZE_RANGE_NM[0]) -> tuple[int, int]:
    """Radii to compare: from 2 pixels outside the mask at the beam to where a small particle's third dark ring lies.

    Parameters
    ----------
    experiment
        Geometry and nominal centre.
    mask
        (rows, columns), True = bad pixel.
    smallest_nm
        A small particle: the outer radius is 2.8 times that of its first dark ring, 90 pixels in AMOX34117 [nm].

    Returns
    -------
    first, stop : int
        [pixels]; `stop` is not compared.
    """
    radius = np.rint(experiment.pixel_radius()[~mask]) if not mask.all() else np.zeros(1)
    outer = 2.75 * first_minimum_size(1.0, experiment) / smallest_nm
    return int(radius.min()) + _SKIPPED_RADII, int(min(round(outer), radius.max() + 1))


def particle_sizes(
    patterns: np.ndarray,
    mask: np.ndarray,
    centres: np.ndarray,
    experiment: Experiment,
    *,
    size_range: tuple[float, float] = SEARCH_RANGE_NM,
    radii: tuple[int, int] | None = None,
    sector_share: float = 1.0,
    icosahedron: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Diameter of the solid sphere whose radial profile is nearest to the pattern's.

    Profile and form factor are divided by their means; the misfit is Σ |F − PSD| over the radii, at five points a
    pixel. The size is the deepest local minimum of the misfit among 300 diameters.

    Parameters
    ----------
    patterns
        (N, rows, columns) [photons].
    mask
        (rows, columns), True = bad pixel.
    centres
        (N, 2) beam centres (row, column) [pixels].
    experiment
        Wavelength, distance and pixel.
    size_range
        Smallest and largest diameter that is tried [nm].
    radii
        First radius that is compared, and the one after the last [pixels]; None is the third that sees a photon in any
        of 64 patterns, and 90.
    sector_share
        Below 1, only the brightest directions count: see `brightest_sector_average`.
    icosahedron
        Give the outer diameter of an icosahedron instead, 1.1756 times that of the sphere.

    Returns
    -------
    size_nm : ndarray (N,)
        [nm]
    score : ndarray (N,)
        Misfit of the second deepest local minimum over that of the deepest; 1 where there is only one.
    """
    sizes = np.linspace(*size_range, _SIZES)
    models_of = functools.lru_cache(lambda compared: _models(compared, sizes, experiment))

    def measured(start: int) -> tuple[np.ndarray, np.ndarray]:
        block = slice(start, start + _BLOCK)
        profiles = _profiles(patterns[block], mask, centres[block], radii, sector_share)
        compared = _compared(profiles) if radii is None else (radii[0], min(radii[1], profiles.shape[1]))
        return _deepest_minima(_misfits(profiles, compared, models_of(compared)), sizes)

    starts = range(0, len(patterns), _BLOCK)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, max(len(starts), 1))) as pool:
        found = [*pool.map(measured, starts)]
    size, score = np.concatenate(found, axis=1) if found else np.empty((2, 0))
    return size * (ICOSAHEDRON if icosahedron else 1.0), score


def _profiles(
    patterns: np.ndarray, mask: np.ndarray, centres: np.ndarray, radii: tuple[int, int] | None, sector_share: float
) -> np.ndarray:
    """PSD of each pattern (N, radii), not much farther out than needed."""
    largest = _LARGEST_RADIUS if radii is None else radii[1]
    if sector_share < 1:
        return brightest_sector_average(patterns, mask, centres, share=sector_share, radii=largest)
    return radial_average(patterns, mask, centres, largest_radius=largest - 1)


def _compared(profiles: np.ndarray) -> tuple[int, int]:
    """First radius that is compared, and the one after the last, where nobody has said."""
    seen = np.flatnonzero(profiles.any(axis=0))
    return int(seen[0] if seen.size else 0) + _SKIPPED_RADII, profiles.shape[1]


def _radius(compared: tuple[int, int]) -> np.ndarray:
    """Where the profiles are compared [pixels]."""
    return np.linspace(compared[0], compared[1] - 1, _OVERSAMPLING * (compared[1] - compared[0]))


def _models(compared: tuple[int, int], sizes: np.ndarray, experiment: Experiment) -> np.ndarray:
    """Form factors (sizes, points) of mean 1."""
    models = sphere_form_factor(experiment.q_step * _radius(compared), sizes[:, None] / 2)
    return models / models.mean(axis=1, keepdims=True)


def _misfits(profiles: np.ndarray, compared: tuple[int, int], models: np.ndarray) -> np.ndarray:
    """Σ |F − PSD| of each profile (N, radii) and diameter (sizes,): (N, sizes)."""
    whole, radius = np.arange(*compared), _radius(compared)
    curves = np.stack([np.interp(radius, whole, profile) for profile in profiles[:, slice(*compared)]])
    curves /= np.maximum(curves.mean(axis=1, keepdims=True), np.finfo(float).tiny)
    return cdist(curves, models, "cityblock")


def _deepest_minima(misfit: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Size at the deepest local minimum of each misfit curve (N, sizes), and how much worse the second one is.

    A local minimum is below its five neighbours on both sides, around the ends.
    """
    lowest = np.ones(misfit.shape, bool)
    for apart in range(1, _NEIGHBOURS + 1):
        lowest &= (misfit < np.roll(misfit, apart, axis=1)) & (misfit < np.roll(misfit, -apart, axis=1))
    depth = np.where(lowest, misfit, np.inf)
    everyone = np.arange(len(misfit))
    best = depth.argmin(axis=1)
    first = depth[everyone, best]
    depth[everyone, best] = np.inf
    second = depth.min(axis=1)
    best = np.where(np.isfinite(first), best, misfit.argmin(axis=1))
    twice = np.isfinite(second)
    return sizes[best], np.where(twice, second, 1.0) / np.where(twice, first, 1.0)
