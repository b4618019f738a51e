"""Radial profiles: the power spectral density PSD(r) of a pattern about its centre."""

import numpy as np


def radial_average(
    patterns: np.ndarray, mask: np.ndarray, centres: np.ndarray, *, largest_radius: int | None = None
) -> np.ndarray:
    """Mean counts of the good pixels at each whole radius: the power spectral density PSD(r).

    A pixel belongs to the radius round(|pixel − centre|).

    Parameters
    ----------
    patterns
        (N, rows, columns) photon counts.
    mask
        (rows, columns), True = bad pixel.
    centres
        (N, 2) beam centre (row, column) of each pattern [pixels].
    largest_radius
        Largest radius of the profile; None goes to the farthest good pixel [pixels].

    Returns
    -------
    ndarray (N, radii)
        Mean photons per pixel at radius 0, 1, 2, …; 0 where no good pixel has this radius.
    """
    centres = np.asarray(centres, dtype=float)
    good = ~mask if largest_radius is None else ~mask & _near(mask.shape, centres, largest_radius)
    row, column = np.nonzero(good)
    pixels = np.asarray(patterns).reshape(len(patterns), -1)
    # patterns with the same centre share the radii of their pixels: they are averaged together
    different, group = np.unique(centres, axis=0, return_inverse=True)
    radius = np.rint(np.hypot(row - different[:, :1], column - different[:, 1:])).astype(np.intp)
    radii = (radius.max(initial=0) if largest_radius is None else largest_radius) + 1
    average = np.zeros((len(pixels), radii))
    order = np.argsort(group.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(group.ravel(), minlength=len(different)))
    flat = row * mask.shape[1] + column
    for members, radius_here in zip(np.split(order, ends[:-1]), radius, strict=True):
        average[members] = _ring_means(pixels, members, flat, radius_here, radii)
    return average


def _ring_means(
    pixels: np.ndarray, members: np.ndarray, flat: np.ndarray, radius: np.ndarray, radii: int
) -> np.ndarray:
    """Means (n, radii) over each ring of the patterns `members`; `flat` are flat indices of the good pixels."""
    number = np.bincount(radius, minlength=radii)[:radii]
    if members.size == 1:
        sums = np.bincount(radius, pixels[members[0], flat], minlength=radii)[None, :radii]
    else:
        # pixels sorted by radius: each ring is then a run that `reduceat` adds up for all patterns
        order = np.argsort(radius, kind="stable")[: number.sum()]
        runs = np.flatnonzero(number)
        sums = np.zeros((members.size, radii))
        starts = np.concatenate([[0], np.cumsum(number[runs])[:-1]])
        chosen = pixels[members] if members.size < len(pixels) else pixels
        if runs.size:
            sums[:, runs] = np.add.reduceat(np.take(chosen, flat[order], axis=1), starts, axis=1, dtype=float)
    return sums / np.maximum(number, 1)


def _near(shape: tuple[int, int], centres: np.ndarray, largest_radius: float) -> np.ndarray:
    """Pixels (rows, columns) in the rectangle around all circles of this radius about the centres."""
    first, last = np.ceil(centres.min(axis=0) - largest_radius - 1), np.floor(centres.max(axis=0) + largest_radius + 1)
    row, column = np.arange(shape[0])[:, None], np.arange(shape[1])
    return (row >= first[0]) & (row <= last[0]) & (column >= first[1]) & (column <= last[1])
