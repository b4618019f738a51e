"""Which frames hold a hit: psocake's rule, lit pixels."""

import numpy as np

LIT_ABOVE = 0.23
"""A pixel with more than this is lit [photons]: psocake's 30 ADU at 130 ADU a photon."""

LIT_PIXELS = (500, None)
"""Fewest and most lit pixels of a hit: a choice, over twice the background of AMOX34117's twin."""


def lit_pixels(frames: np.ndarray, mask: np.ndarray, *, above: float = LIT_ABOVE) -> np.ndarray:
    """Number of good pixels over a threshold.

    Parameters
    ----------
    frames
        (N, rows, columns) [ADU or photons].
    mask
        (rows, columns), True = bad pixel.
    above
        Threshold in the unit of `frames`.

    Returns
    -------
    ndarray (N,)
    """
    return ((np.asarray(frames) > above) & ~mask).sum(axis=(1, 2))


def are_hits(lit: np.ndarray, wanted: tuple[int, int | None] = LIT_PIXELS) -> np.ndarray:
    """Whether frames have at least so many lit pixels, and not too many.

    Parameters
    ----------
    lit
        (N,) lit pixels.
    wanted
        Fewest and most; None is no upper limit.

    Returns
    -------
    ndarray (N,)
        bool
    """
    fewest, most = wanted
    return (lit >= fewest) & (lit <= (np.inf if most is None else most))
