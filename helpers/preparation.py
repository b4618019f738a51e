"""What happens before classification: the size of a particle from its radial profile (section 2.1 of the paper).

The method is that of the co-author's published tool (`spi_estimate_size`): the radial average of a pattern is compared
with the form factors of solid spheres.
"""

import numpy as np
from scipy.signal import argrelmin
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

from helpers.experiment import Experiment
from helpers.particles import solid_sphere

SIZE_RANGE_NM = (55.0, 84.0)
"""Particles that the paper keeps, both ends included."""

SEARCH_RANGE_NM = (35.0, 130.0)
"""Sphere diameters that are tried."""

_SIZES = 300
_OVERSAMPLING = 5
_NEIGHBOURS = 5
_SKIPPED_RADII = 2
_LARGEST_RADIUS = 90
_BLOCK = 64


def radial_average(patterns: np.ndarray, mask: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Mean counts of the good pixels at each whole radius: the power spectral density PSD(r).

    A pixel belongs to the radius round(|pixel − centre|).

    Parameters
    ----------
    patterns
        (N, rows, columns) [photons].
    mask
        (rows, columns), True = bad pixel.
    centres
        (N, 2) beam centres (row, column) [pixels].

    Returns
    -------
    ndarray (N, radii)
        [photons per pixel], 0 where no good pixel has that radius; radius 0 first.
    """
    row, column = np.nonzero(~mask)
    counts = np.asarray(patterns)[:, row, column]
    different, group = np.unique(np.asarray(centres, dtype=float), axis=0, return_inverse=True)
    radius = np.rint(np.hypot(row - different[:, :1], column - different[:, 1:])).astype(np.intp)
    average = np.zeros((len(counts), radius.max(initial=0) + 1))
    for centre, radius_here in enumerate(radius):
        members = group.ravel() == centre
        pixels = np.bincount(radius_here, minlength=average.shape[1])
        ring = csr_array((np.ones(row.size), (radius_here, np.arange(row.size))), shape=(average.shape[1], row.size))
        average[members] = (ring @ counts[members].T.astype(float)).T / np.maximum(pixels, 1)
    return average


def sphere_form_factor(q: np.ndarray, radius_nm: np.ndarray | float) -> np.ndarray:
    """Intensity scattered by a solid sphere.

    F(q; R) = [3V (sin x − x cos x) / x³]² with x = q R and V = 4πR³/3; the first minimum is at x = 4.4934.

    Parameters
    ----------
    q
        Momentum transfer, any shape [1/nm].
    radius_nm
        Radius, broadcast against `q` [nm].

    Returns
    -------
    ndarray
        Broadcast shape [nm⁶].
    """
    volume = 4 / 3 * np.pi * np.asarray(radius_nm, dtype=float) ** 3
    return (volume * solid_sphere(np.asarray(q) * radius_nm)) ** 2


def particle_sizes(
    patterns: np.ndarray,
    mask: np.ndarray,
    centres: np.ndarray,
    experiment: Experiment,
    *,
    size_range: tuple[float, float] = SEARCH_RANGE_NM,
) -> tuple[np.ndarray, np.ndarray]:
    """Diameter of the solid sphere whose radial profile is nearest to the pattern's.

    Profile and form factor are divided by their means; the misfit is Σ |F − PSD| over the radii between the mask and
    90 pixels, at five points a pixel. The size is the deepest local minimum of the misfit among 300 diameters.

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

    Returns
    -------
    size_nm : ndarray (N,)
        [nm]
    score : ndarray (N,)
        Misfit of the second deepest local minimum over that of the deepest; 1 where there is only one.
    """
    sizes = np.linspace(*size_range, _SIZES)
    found = np.empty((2, len(patterns)))
    for start in range(0, len(patterns), _BLOCK):
        block = slice(start, start + _BLOCK)
        misfit = _misfits(radial_average(patterns[block], mask, centres[block]), sizes, experiment)
        found[:, block] = [*zip(*(_deepest_minimum(curve, sizes) for curve in misfit), strict=True)]
    return found[0], found[1]


def _misfits(profiles: np.ndarray, sizes: np.ndarray, experiment: Experiment) -> np.ndarray:
    """Σ |F − PSD| of each profile (N, radii) and diameter (sizes,): (N, sizes)."""
    seen = np.flatnonzero(profiles.any(axis=0))
    first = (seen[0] if seen.size else 0) + _SKIPPED_RADII
    last = min(profiles.shape[1], _LARGEST_RADIUS)
    whole = np.arange(first, last)
    radius = np.linspace(first, last - 1, _OVERSAMPLING * whole.size)
    curves = np.stack([np.interp(radius, whole, profile) for profile in profiles[:, first:last]])
    curves /= np.maximum(curves.mean(axis=1, keepdims=True), np.finfo(float).tiny)
    models = sphere_form_factor(experiment.q_step * radius, sizes[:, None] / 2)
    models /= models.mean(axis=1, keepdims=True)
    return cdist(curves, models, "cityblock")


def _deepest_minimum(misfit: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Size at the deepest local minimum of one misfit curve, and how much worse the second one is."""
    (minima,) = argrelmin(misfit, order=_NEIGHBOURS, mode="wrap")
    if minima.size == 0:
        return sizes[misfit.argmin()], 1.0
    minima = minima[np.argsort(misfit[minima], kind="stable")]
    return sizes[minima[0]], misfit[minima[1]] / misfit[minima[0]] if minima.size > 1 else 1.0
