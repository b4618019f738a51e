"""Radial profiles: the power spectral density PSD(r) of a pattern about its centre."""

import numpy as np

_ANGLES = 500


def radial_average(
    patterns: np.ndarray, mask: np.ndarray, centres: np.ndarray, *, largest_radius: int | None = None
) -> np.ndarray:
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
    largest_radius
        Leave out what is farther away [pixels]; None goes to the farthest good pixel.

    Returns
    -------
    ndarray (N, radii)
        [photons per pixel], 0 where no good pixel has that radius; radius 0 first.
    """
    centres = np.asarray(centres, dtype=float)
    good = ~mask if largest_radius is None else ~mask & _near(mask.shape, centres, largest_radius)
    row, column = np.nonzero(good)
    pixels = np.asarray(patterns).reshape(len(patterns), -1)
    different, group = np.unique(centres, axis=0, return_inverse=True)
    radius = np.rint(np.hypot(row - different[:, :1], column - different[:, 1:])).astype(np.intp)
    radii = (radius.max(initial=0) if largest_radius is None else largest_radius) + 1
    average = np.zeros((len(pixels), radii))
    order = np.argsort(group.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(group.ravel(), minlength=len(different)))
    place = row * mask.shape[1] + column
    for members, radius_here in zip(np.split(order, ends[:-1]), radius, strict=True):
        average[members] = _ring_means(pixels, members, place, radius_here, radii)
    return average


def _ring_means(
    pixels: np.ndarray, members: np.ndarray, place: np.ndarray, radius: np.ndarray, radii: int
) -> np.ndarray:
    """Means (n, radii) of the patterns `members` over the pixels `place` of each radius."""
    number = np.bincount(radius, minlength=radii)[:radii]
    if members.size == 1:
        sums = np.bincount(radius, pixels[members[0], place], minlength=radii)[None, :radii]
    else:
        # pixels in the order of their radius: then each ring is a run
        order = np.argsort(radius, kind="stable")[: number.sum()]
        runs = np.flatnonzero(number)
        sums = np.zeros((members.size, radii))
        starts = np.concatenate([[0], np.cumsum(number[runs])[:-1]])
        chosen = pixels[members] if members.size < len(pixels) else pixels
        if runs.size:
            sums[:, runs] = np.add.reduceat(np.take(chosen, place[order], axis=1), starts, axis=1, dtype=float)
    return sums / np.maximum(number, 1)


def _near(shape: tuple[int, int], centres: np.ndarray, largest_radius: float) -> np.ndarray:
    """Pixels (rows, columns) within a radius of any of the centres, roughly: of the box around them."""
    first, last = np.ceil(centres.min(axis=0) - largest_radius - 1), np.floor(centres.max(axis=0) + largest_radius + 1)
    row, column = np.arange(shape[0])[:, None], np.arange(shape[1])
    return (row >= first[0]) & (row <= last[0]) & (column >= first[1]) & (column <= last[1])


def brightest_sector_average(
    patterns: np.ndarray, mask: np.ndarray, centres: np.ndarray, *, share: float, radii: int
) -> np.ndarray:
    """PSD(r) of the brightest directions alone, for patterns that are not round (option `-p` of the published tool).

    The pattern is read at 500 angles and whole radii (nearest pixel); angles count whose summed intensity is over
    (1 − share) of the largest.

    Parameters
    ----------
    patterns
        (N, rows, columns) [photons].
    mask
        (rows, columns), True = bad pixel.
    centres
        (N, 2) beam centres (row, column) [pixels].
    share
        0..1: 1 takes all angles that see anything, 0.1 those within 10 % of the brightest.
    radii
        How many radii, from 0 on [pixels].

    Returns
    -------
    ndarray (N, radii)
        [photons per pixel], 0 where no good pixel has that radius.
    """
    angle = np.linspace(-np.pi, np.pi, _ANGLES, endpoint=False)
    away = np.arange(radii)[:, None] * np.stack([np.sin(angle), np.cos(angle)])[:, None]
    average = np.zeros((len(patterns), radii))
    for profile, pattern, centre in zip(average, patterns, np.asarray(centres, dtype=float), strict=True):
        row, column = np.rint(away + centre[:, None, None]).astype(np.intp)
        inside = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
        row, column = np.where(inside, row, 0), np.where(inside, column, 0)
        good = inside & ~mask[row, column]
        polar = np.where(good, pattern[row, column], 0.0)
        brightness = polar.sum(axis=0)
        chosen = brightness > (1 - share) * brightness.max()
        profile[:] = polar[:, chosen].sum(axis=1) / np.maximum(good[:, chosen].sum(axis=1), 1)
    return average
