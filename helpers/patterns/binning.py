"""Bins of square blocks of pixels: counts are summed, mask, centre and distance follow.

A reconstruction in three dimensions grows with the third power of the side: 4 × 4 pixels a bin make of a 343³ volume
one of 86³.
"""

from dataclasses import dataclass

import numpy as np

from helpers.experiment import Centre

_FEWEST_GOOD = 0.5
"""Share of good pixels below which a bin is bad."""


@dataclass(frozen=True)
class Binning:
    """Bins of `side` × `side` pixels; those at the last rows and columns may reach over the edge.

    Parameters
    ----------
    side
        Pixels along a side of a bin; 1 leaves everything as it is.
    mask
        (rows, columns), True = bad pixel.
    """

    side: int
    mask: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of bins."""
        rows, columns = self.mask.shape
        return -(-rows // self.side), -(-columns // self.side)

    @property
    def good_share(self) -> np.ndarray:
        """Share of each bin that lies in good pixels, (rows, columns) of bins; what lies over the edge is not good."""
        return self._summed(~self.mask[None])[0] / self.side**2

    @property
    def bad(self) -> np.ndarray:
        """Bins of which more than half is bad, bool (rows, columns) of bins."""
        return self.good_share < _FEWEST_GOOD

    def counts(self, patterns: np.ndarray) -> np.ndarray:
        """Photons in each bin, 0 in bad ones: (n, rows, columns) of pixels to (n, rows, columns) of bins."""
        return np.where(self.bad, 0, self._summed(np.where(self.mask, 0, patterns)))

    def centre(self, centre: Centre) -> Centre:
        """The beam centre (row, column) in bins: pixel k has its middle in (k − (side − 1) / 2) / side."""
        row, column = ((position - (self.side - 1) / 2) / self.side for position in centre)
        return row, column

    def _summed(self, patterns: np.ndarray) -> np.ndarray:
        """Sums over the pixels of each bin, (n, rows, columns) of bins."""
        (rows, columns), side = self.shape, self.side
        over = [rows * side - patterns.shape[1], columns * side - patterns.shape[2]]
        padded = np.pad(patterns, [(0, 0), (0, over[0]), (0, over[1])])
        return padded.reshape(len(patterns), rows, side, columns, side).sum(axis=(2, 4))
