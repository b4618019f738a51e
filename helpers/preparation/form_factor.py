"""Form factor of a solid sphere, and its derivative for the sphere fit."""

import numpy as np

from helpers.experiment import Experiment
from helpers.particles import solid_sphere

_FIRST_MINIMUM = 4.4934
"""qR of the first minimum of a sphere: the first root of tan x = x."""

_SMALL = 0.1


def sphere_form_factor(q: np.ndarray, radius_nm: np.ndarray | float) -> np.ndarray:
    """Intensity scattered by a solid sphere.

    F(q; R) = [3V (sin x − x cos x) / x³]² with x = q R and V = 4πR³/3; the first minimum is at x = 4.4934, the first
    root of tan x = x.

    Parameters
    ----------
    q
        Momentum transfer, of any shape [1/nm].
    radius_nm
        Radius of the sphere, broadcast against `q` [nm].

    Returns
    -------
    ndarray
        Intensity at unit fluence, of the broadcast shape [nm⁶].
    """
    volume = 4 / 3 * np.pi * np.asarray(radius_nm, dtype=float) ** 3
    return (volume * solid_sphere(np.asarray(q) * radius_nm)) ** 2


def first_dark_ring(size_nm: np.ndarray | float, experiment: Experiment) -> np.ndarray:
    """Radius of the first dark ring of a sphere, at q R = 4.4934.

    Parameters
    ----------
    size_nm
        Diameter of the sphere, any shape [nm].
    experiment
        Wavelength, distance and pixel size.

    Returns
    -------
    ndarray
        Shape of `size_nm` [pixels].
    """
    return _FIRST_MINIMUM / (experiment.q_step * np.asarray(size_nm) / 2)


def relative_intensity(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intensity of a sphere relative to q = 0, and its derivative by log x, in the precision of `x`.

    f(x) = a² with a = 3 (sin x − x cos x) / x³; df/d log x = 6a (sin x / x − a).

    Parameters
    ----------
    x
        Momentum transfer times radius, not negative, of any shape [no unit].

    Returns
    -------
    intensity, growth : ndarray
        f and df/d log x, of the shape and type of `x`.
    """
    x = np.asarray(x)
    # near 0 the differences lose their digits: there the series in x² are used
    safe = np.maximum(x, _SMALL)
    inverse = 1 / safe
    ratio = np.sin(safe) * inverse
    amplitude = 3 * (ratio - np.cos(safe)) * (inverse * inverse)
    growth = 6 * amplitude * (ratio - amplitude)
    small = x < _SMALL
    if small.any():
        square = x * x
        amplitude = np.where(small, 1 - square / 10 + square * square / 280, amplitude)
        growth = np.where(small, -2 * amplitude * square * (1 / 5 - square / 70), growth)
    return amplitude * amplitude, growth
