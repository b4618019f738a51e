"""Particle size from the radial profile of a pattern (section 2.1 of the paper).

As in the co-author's published tool (`spi_estimate_size`), the radial average of a pattern is compared with the form
factors of solid spheres.
"""

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.spatial.distance import cdist

from helpers.experiment import Experiment
from helpers.preparation.form_factor import sphere_form_factor
from helpers.preparation.radial_profile import radial_average

SIZE_RANGE_NM = (55.0, 84.0)
"""Smallest and largest size that the paper keeps, both included."""

SEARCH_RANGE_NM = (35.0, 130.0)
"""Smallest and largest sphere diameter that is tried for AMOX34117."""


_SIZES = 300
_OVERSAMPLING = 5
"""Points a pixel at which profile and form factor are compared."""
_NEIGHBOURS = 5
"""Sizes on either side that a local minimum of the misfit must be below."""
_SKIPPED_RADII = 2
"""Radii next to the mask at the beam that are left out: their rings are incomplete."""
_LARGEST_RADIUS = 90
_BLOCK = 64


def first_minimum_size(radius: float, experiment: Experiment) -> float:
    """Diameter of the sphere whose first dark ring has the radius r [pixels]: 4.5 / (π r Δf) [nm]."""
    return 4.5 / (math.pi * radius * experiment.frequency_step)


def search_range(radii: tuple[int, int], experiment: Experiment) -> tuple[float, float]:
    """Smallest and largest diameter to try [nm], for the first radius compared and the one after the last [pixels].

    Their first dark ring lies between the first radius and half of the last one.
    """
    return first_minimum_size(radii[1] / 2, experiment), first_minimum_size(radii[0], experiment)


def fitted_radii(experiment: Experiment, mask: np.ndarray, *, smallest_nm: float = SIZE_RANGE_NM[0]) -> tuple[int, int]:
    """First radius to compare and the one after the last [pixels].

    They reach from 2 pixels outside the mask at the beam to the third dark ring of a particle of `smallest_nm`, 2.75
    times the radius of its first: 90 pixels in AMOX34117.
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
) -> tuple[np.ndarray, np.ndarray]:
    """Diameter of the solid sphere whose form factor is closest to the radial profile of each pattern.

    Profile and form factor are divided by their means; the misfit is Σ |F − PSD| over the radii, at five points a
    pixel. The size is the deepest local minimum of the misfit among 300 diameters.

    Parameters
    ----------
    patterns
        (N, rows, columns) photon counts.
    mask
        (rows, columns), True = bad pixel.
    centres
        (N, 2) beam centre (row, column) of each pattern [pixels].
    experiment
        Geometry, of which wavelength, distance and pixel are used.
    size_range
        Smallest and largest diameter that is tried [nm].
    radii
        First radius that is compared, and the one after the last; None starts at the third radius with a photon in any
        of 64 patterns, and ends at 90 [pixels].


    Returns
    -------
    size_nm : ndarray (N,)
        Diameter of the best sphere [nm].
    score : ndarray (N,)
        Misfit of the second deepest local minimum over that of the deepest; 1 if there is only one.
    """
    sizes = np.linspace(*size_range, _SIZES)
    models_of = functools.lru_cache(lambda compared: _models(compared, sizes, experiment))

    def measured(start: int) -> tuple[np.ndarray, np.ndarray]:
        block = slice(start, start + _BLOCK)
        largest = (_LARGEST_RADIUS if radii is None else radii[1]) - 1
        profiles = radial_average(patterns[block], mask, centres[block], largest_radius=largest)
        compared = _compared(profiles) if radii is None else (radii[0], min(radii[1], profiles.shape[1]))
        return _deepest_minima(_misfits(profiles, compared, models_of(compared)), sizes)

    starts = range(0, len(patterns), _BLOCK)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, max(len(starts), 1))) as pool:
        found = [*pool.map(measured, starts)]
    size, score = np.concatenate(found, axis=1) if found else np.empty((2, 0))
    return size, score


def _compared(profiles: np.ndarray) -> tuple[int, int]:
    """First radius that is compared by default, and the one after the last."""
    seen = np.flatnonzero(profiles.any(axis=0))
    return int(seen[0] if seen.size else 0) + _SKIPPED_RADII, profiles.shape[1]


def _radius(compared: tuple[int, int]) -> np.ndarray:
    """Radii at which profiles are compared, five a pixel [pixels]."""
    return np.linspace(compared[0], compared[1] - 1, _OVERSAMPLING * (compared[1] - compared[0]))


def _models(compared: tuple[int, int], sizes: np.ndarray, experiment: Experiment) -> np.ndarray:
    """Form factors (sizes, points) of all diameters, divided by their means."""
    models = sphere_form_factor(experiment.q_step * _radius(compared), sizes[:, None] / 2)
    return models / models.mean(axis=1, keepdims=True)


def _misfits(profiles: np.ndarray, compared: tuple[int, int], models: np.ndarray) -> np.ndarray:
    """Misfits Σ |F − PSD| (N, sizes) of profiles (N, radii) and form factors (sizes, points)."""
    whole, radius = np.arange(*compared), _radius(compared)
    curves = np.stack([np.interp(radius, whole, profile) for profile in profiles[:, slice(*compared)]])
    curves /= np.maximum(curves.mean(axis=1, keepdims=True), np.finfo(float).tiny)
    return cdist(curves, models, "cityblock")


def _deepest_minima(misfit: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Size at the deepest local minimum of each misfit curve (N, sizes), and the second minimum over the deepest.

    A local minimum is below its five neighbours on both sides; the curve is continued at its other end.
    """
    lowest = np.ones(misfit.shape, bool)
    for apart in range(1, _NEIGHBOURS + 1):
        lowest &= (misfit < np.roll(misfit, apart, axis=1)) & (misfit < np.roll(misfit, -apart, axis=1))
    # the deepest minimum is taken out, and what is deepest then is the second one
    depth = np.where(lowest, misfit, np.inf)
    rows = np.arange(len(misfit))
    best = depth.argmin(axis=1)
    first = depth[rows, best]
    depth[rows, best] = np.inf
    second = depth.min(axis=1)
    # a curve without a local minimum has its size at the smallest misfit
    best = np.where(np.isfinite(first), best, misfit.argmin(axis=1))
    has_second = np.isfinite(second)
    return sizes[best], np.where(has_second, second, 1.0) / np.where(has_second, first, 1.0)
