"""Hit finding by the number of lit pixels, the rule of psocake."""

import numpy as np

LIT_ABOVE = 0.23
"""Value above which a pixel is lit: psocake's 30 ADU at 130 ADU a photon [photons]."""

LIT_PIXELS = (500, None)
"""Fewest and most lit pixels of a hit: our choice, more than twice the background of AMOX34117's twin."""


def lit_pixels(frames: np.ndarray, mask: np.ndarray, *, above: float = LIT_ABOVE) -> np.ndarray:
    """Number of good pixels above a threshold in each frame.

    Parameters
    ----------
    frames
        (N, rows, columns) values of the detector [ADU or photons].
    mask
        (rows, columns), True = bad pixel.
    above
        Threshold in the unit of `frames`.

    Returns
    -------
    ndarray (N,)
        Number of lit pixels.
    """
    return ((np.asarray(frames) > above) & ~mask).sum(axis=(1, 2))


def are_hits(lit: np.ndarray, wanted: tuple[int, int | None] = LIT_PIXELS) -> np.ndarray:
    """Frames whose number of lit pixels is that of a hit.

    Parameters
    ----------
    lit
        (N,) number of lit pixels of each frame, from `lit_pixels`.
    wanted
        Fewest and most lit pixels of a hit; None sets no upper limit.

    Returns
    -------
    ndarray (N,)
        bool, True = hit.
    """
    fewest, most = wanted
    return (lit >= fewest) & (lit <= (np.inf if most is None else most))
