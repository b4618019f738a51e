"""Patterns on rings and angles, where a rotation in the plane is a shift."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.sparse import csr_array

from helpers.em.settings import EMSettings
from helpers.errors import PatternFileError
from helpers.experiment import Centre

_REACH = 2.0  # distance at which a pixel's weight has fallen to 0 [pixels]


@dataclass(frozen=True)
class PolarGrid:
    """Rings one pixel apart, and equal angles on each.

    A pixel is shared by the cells around it: its weight falls linearly to 0 within two pixels, along the radius and
    along the arc. On inner rings that are many cells. (Were it few there as well, patterns would keep the rotations
    that they first fell into, because they share few cells. Within one pixel, too, classes form worse, and end at a
    lower likelihood.)

    With Friedel's law I(q) = I(−q) each pixel counts at θ and at θ + π. Both halves of the circle are then equal, so
    one half is kept, each pixel with weight 2.

    Parameters
    ----------
    first_radius
        Radius of the innermost ring [pixels].
    period
        Angle after which a ring repeats: π with Friedel's law, else 2π.
    rotations
        Number of shifts that EM tries; each is a whole number of angles.
    pixels
        (pixels,) good pixels of the band, as indices of the flattened pattern.
    sharing
        (rings × angles, pixels) weight of each pixel in each cell.
    exposure
        (rings, angles) summed weights: how much of a pixel a cell has seen, 0 where the detector is masked.
    """

    first_radius: int
    period: float
    rotations: int
    pixels: np.ndarray
    sharing: csr_array
    exposure: np.ndarray

    @classmethod
    def of_detector(cls, mask: np.ndarray, centre: Centre, settings: EMSettings) -> "PolarGrid":
        """Lay the grid over the good pixels of a detector.

        The number of angles is the smallest multiple of the rotations with arcs of at most 1 pixel on the last ring.

        Parameters
        ----------
        mask
            (rows, columns), True = bad pixel.
        centre
            Beam centre (row, column) [pixels].
        settings
            Band, rotations, Friedel's law.

        Raises
        ------
        PatternFileError
            If no good pixel lies in the band.
        """
        # polar coordinates of the good pixels, the beam centre at the origin
        row, column = np.nonzero(~mask)
        down, across = row - centre[0], column - centre[1]
        radius = np.hypot(down, across)
        inside = (radius >= settings.q_range[0]) & (radius <= settings.q_range[1])
        if not inside.any():
            raise PatternFileError(
                f"no good pixel lies {settings.q_range[0]} to {settings.q_range[1]} pixels from the beam centre "
                f"({centre[0]:g}, {centre[1]:g}); correct q_range, the centre or the mask"
            )
        # with Friedel's law half a circle tells all; the angles are a multiple of the rotations that EM tries
        period = math.pi if settings.friedel else 2 * math.pi
        angles = settings.rotations * math.ceil(period * settings.q_range[1] / settings.rotations)
        first = math.floor(settings.q_range[0])
        shape = (math.ceil(settings.q_range[1]) - first + 1, angles)
        # angle of each pixel in cells of a ring, then its weights; a pixel counts twice where its opposite is folded in
        turn = np.arctan2(down, across)[inside] % period / period * angles
        share = _shared(radius[inside], turn, first, shape, arc=period / angles)
        sharing = (2 if settings.friedel else 1) * share
        exposure = sharing.sum(axis=1).reshape(shape)
        pixels = np.ravel_multi_index((row[inside], column[inside]), mask.shape)
        return cls(first, period, settings.rotations, pixels, sharing, exposure)

    @property
    def shape(self) -> tuple[int, int]:
        """Rings and angles."""
        return self.exposure.shape

    @property
    def radii(self) -> np.ndarray:
        """(rings,) [pixels]."""
        return self.first_radius + np.arange(self.shape[0])

    def of_patterns(self, counts: np.ndarray, *, intensity: str = "linear") -> np.ndarray:
        """Counts (N, rows, columns) summed over the cells: (N, rings, angles) [photons], float64.

        With `intensity` "log", ln(1 + photons) of each pixel takes the place of its count.
        """
        values = np.asarray(counts).reshape(len(counts), -1)[:, self.pixels].astype(np.float64)
        if intensity == "log":
            values = np.log1p(values)
        return (self.sharing @ values.T).T.reshape(-1, *self.shape)

    def picture(self, model: np.ndarray) -> np.ndarray:
        """A model (rings, angles) as it would look on a whole detector: (side, side), the beam in the middle.

        NaN outside the band.
        """
        largest = int(self.radii[-1])
        down, across = np.mgrid[-largest : largest + 1, -largest : largest + 1]
        radius = np.hypot(down, across)
        turn = np.arctan2(down, across) % self.period / self.period * self.shape[1]
        closed = np.concatenate([model, model[:, :1]], axis=1)
        shown = map_coordinates(np.asarray(closed, float), [radius - self.first_radius, turn], order=1, mode="nearest")
        return np.where((radius >= self.first_radius) & (radius <= largest), shown, np.nan)

    def pictures(self, models: Iterable[np.ndarray]) -> np.ndarray:
        """Several models (N, rings, angles) as pictures (N, side, side)."""
        return np.stack([self.picture(model) for model in models])


def _shared(radius: np.ndarray, turn: np.ndarray, first_radius: int, shape: tuple[int, int], arc: float) -> csr_array:
    """Weight of each pixel in the cells around it, of sum 1: (rings × angles, pixels).

    `radius` (pixels,) and `first_radius` of the innermost ring are in pixels, `turn` (pixels,) in cells; `shape` is the
    number of rings, and of cells on each, `arc` the arc of a cell at radius 1 [pixels].
    """
    rings, angles = shape
    # along the arc: two pixels are many cells of an inner ring, and never less than one
    reach = np.maximum(_REACH / (arc * np.maximum(radius, 1)), 1)
    cells, along = _weights(turn, reach)
    # along the radius: rings are one pixel apart
    ring, across = _weights(radius - first_radius, np.full(radius.size, _REACH))
    # what would lie beyond the innermost or outermost ring goes to that ring
    ring = np.clip(ring, 0, rings - 1)
    # each ring with each angle around a pixel, (pixels, rings, angles): number of the cell, product of the weights
    cell = ring[:, :, None] * angles + cells[:, None, :] % angles
    weights = across[:, :, None] * along[:, None, :]
    pixels = np.broadcast_to(np.arange(radius.size)[:, None, None], cell.shape)
    # a sparse matrix adds up the entries that fall into one cell
    kept = weights > 0
    return csr_array((weights[kept], (cell[kept], pixels[kept])), shape=(rings * angles, radius.size))


def _weights(position: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n, k) around positions (n,), and their weights, which fall linearly to 0 within the reach; of sum 1."""
    # as many cells for each as the widest reach needs; those beyond its own get no weight
    steps = np.arange(-math.ceil(reach.max()), math.ceil(reach.max()) + 1)
    cells = np.rint(position).astype(np.intp)[:, None] + steps
    weights = np.maximum(1 - np.abs(cells - position[:, None]) / reach[:, None], 0)
    return cells, weights / weights.sum(axis=1, keepdims=True)
