"""The pixels that a sphere fit looks at, one by one or in squares."""

from dataclasses import dataclass

import numpy as np

_SIDE = 2


@dataclass(frozen=True)
class FittedPixels:
    """Pixels, or squares of them, with what a fit needs to know of each."""

    row: np.ndarray
    """(n,) float32; of a square, the mean of its good pixels [pixels]."""

    column: np.ndarray
    """(n,) float32 [pixels]."""

    rate: np.ndarray
    """(n,) float32 mean background, positive [photons]."""

    area: np.ndarray
    """(n,) float32 good pixels in it."""

    place: np.ndarray
    """(n,) where a pixel is in the flat frame; squares have none."""

    starts: np.ndarray
    """Where the pixels of each square begin: they are neighbours in this order."""

    def in_squares(self, counts: np.ndarray) -> np.ndarray:
        """Sums (N, squares) of the counts (N, n)."""
        return np.add.reduceat(counts, self.starts, axis=1) if self.starts.size else counts

    def squares(self) -> "FittedPixels":
        """The same good pixels in squares of 2 × 2."""
        area = self.in_squares(self.area[None])[0]
        row, column, rate = (self.in_squares(values[None])[0] for values in (self.row, self.column, self.rate))
        nothing = np.empty(0, np.intp)
        return FittedPixels(row / area, column / area, rate, area, nothing, nothing)


def fitted_pixels(good: np.ndarray, rate: np.ndarray) -> FittedPixels:
    """Good pixels in the order of their squares.

    Parameters
    ----------
    good
        (rows, columns), True = to be looked at.
    rate
        (rows, columns) mean background [photons].

    Returns
    -------
    FittedPixels
    """
    row, column = np.nonzero(good)
    square = row // _SIDE * (good.shape[1] // _SIDE + 1) + column // _SIDE
    order = np.argsort(square, kind="stable")
    row, column = row[order], column[order]
    return FittedPixels(
        row=row.astype(np.float32),
        column=column.astype(np.float32),
        rate=np.maximum(rate[row, column], 1e-6).astype(np.float32),
        area=np.ones(row.size, np.float32),
        place=row * good.shape[1] + column,
        starts=np.flatnonzero(np.diff(square[order], prepend=-1)),
    )
