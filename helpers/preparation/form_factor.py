"""The pattern of a solid sphere, and how it changes with the sphere's size and place."""

import numpy as np

from helpers.particles import solid_sphere

FIRST_MINIMUM = 4.4934
"""x = qR of the first minimum of the form factor: the first root of tan x = x."""

_SMALL = 0.1


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


def relative_intensity(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intensity of a sphere over that at q = 0, and its change with log x, in the precision of x.

    f(x) = a², a = 3 (sin x − x cos x) / x³; df/d log x = 6a (sin x / x − a).

    Parameters
    ----------
    x
        qR, not negative, any shape [no unit].

    Returns
    -------
    intensity, growth : ndarray
        f and df/d log x, of the shape and type of `x`.
    """
    x = np.asarray(x)
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
