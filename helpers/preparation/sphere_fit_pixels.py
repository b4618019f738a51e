"""Pixels that a sphere fit uses, one by one or in squares of 2 × 2."""

from dataclasses import dataclass

import numpy as np

_SIDE = 2


@dataclass(frozen=True)
class FittedPixels:
    """Good pixels, or squares of them, with position, background and area."""

    row: np.ndarray  # (n,) float32 row; for a square, the mean over its good pixels [pixels]
    column: np.ndarray  # (n,) float32 column; for a square, the mean over its good pixels [pixels]
    rate: np.ndarray  # (n,) float32 mean background in it, positive [photons]
    area: np.ndarray  # (n,) float32 number of good pixels in it
    flat: np.ndarray  # (n,) flat index of each pixel in the frame; empty for squares
    starts: np.ndarray  # (squares,) first pixel of each square, as pixels are sorted by square; empty for squares

    def in_squares(self, counts: np.ndarray) -> np.ndarray:
        """Sums (N, squares) over each square of the counts (N, n)."""
        return np.add.reduceat(counts, self.starts, axis=1) if self.starts.size else counts

    def squares(self) -> "FittedPixels":
        """The same good pixels in squares of 2 × 2."""
        area = self.in_squares(self.area[None])[0]
        row, column, rate = (self.in_squares(values[None])[0] for values in (self.row, self.column, self.rate))
        nothing = np.empty(0, np.intp)
        return FittedPixels(row / area, column / area, rate, area, nothing, nothing)


def fitted_pixels(good: np.ndarray, rate: np.ndarray) -> FittedPixels:
    """Good pixels (rows, columns) with their mean background [photons], sorted by the 2 × 2 square that they lie in."""
    row, column = np.nonzero(good)
    square = row // _SIDE * (good.shape[1] // _SIDE + 1) + column // _SIDE
    order = np.argsort(square, kind="stable")
    row, column = row[order], column[order]
    return FittedPixels(
        row=row.astype(np.float32),
        column=column.astype(np.float32),
        rate=np.maximum(rate[row, column], 1e-6).astype(np.float32),
        area=np.ones(row.size, np.float32),
        flat=row * good.shape[1] + column,
        starts=np.flatnonzero(np.diff(square[order], prepend=-1)),
    )
