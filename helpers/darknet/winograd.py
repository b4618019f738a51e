"""Winograd's convolution: m × m outputs of a 3 × 3 convolution from (m + 2)² products a channel instead of 9 m².

Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015), equation 12, with the matrices of Toom and
Cook for the points below. The products of all tiles are (m + 2)² matrix products over the channels.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import log2

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.darknet.layers import LEAKY_SLOPE

KERNEL = 3
_HALF = Fraction(1, 2)
_POINTS = {3: (0, 1, -1, 2), 4: (0, 1, -1, _HALF, -2), 5: (0, 1, -1, _HALF, -_HALF, 2)}
"""For each tile side m, m + 1 points beside infinity; of those tried, with the smallest rounding error."""

_MOST_TILES, _STEP_FLOATS = 160, 6 * 2**20
"""Of one step: small enough for a core's cache (or, with many channels, for memory that the C library reuses)."""

_FEWEST_TILES = 32
"""For fewer tiles a call, transforming the weights costs more than the products that it saves."""


@cache
def transforms(tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices Aᵀ, G, Bᵀ of m outputs of a correlation with 3 weights: y = Aᵀ [(G w) ∘ (Bᵀ x)].

    Parameters
    ----------
    tile
        m; 3, 4 or 5.

    Returns
    -------
    outputs, weights, inputs
        (m, m + 2), (m + 2, 3) and (m + 2, m + 2), float64; powers of 2 even out the rows of the last two.
    """
    points = [Fraction(point) for point in _POINTS[tile]]
    inputs = np.array(_inverse(_powers(points, tile + 2)), dtype=object).T
    weights = np.array(_powers(points, KERNEL), dtype=object)
    sums = abs(weights).sum(axis=1) / abs(inputs).sum(axis=1)
    even = np.array([Fraction(2) ** round(log2(total) / 2) for total in sums], dtype=object)[:, None]
    outputs = np.array(_powers(points, tile), dtype=object).T
    return tuple(torch.from_numpy(matrix.astype(np.float64)) for matrix in (outputs, weights / even, inputs * even))


def best_tile(side: int) -> int:
    """Tile side m with the fewest products for an output of `side` pixels; the smallest of equals."""
    return min(_POINTS, key=lambda tile: (-(-side // tile) * (tile + 2), tile))


class WinogradConvolution(nn.Module):
    """3 × 3 convolution of stride 1 and padding 1, bias, and leaky activation if asked for.

    The weights are transformed in each call, which costs little beside the products of many tiles; kept, they would
    take 4 to 5.4 times the memory of the network.

    Parameters
    ----------
    weights
        (filters, channels, 3, 3), float32 or float64.
    bias
        (filters,).
    side
        Usual side of the images [pixels]; others pass as well.
    leaky
        Whether values below 0 are multiplied by 0.1.

    Attributes
    ----------
    scratch : int
        Numbers that the transformed weights take.
    """

    def __init__(self, weights: Tensor, bias: Tensor, *, side: int, leaky: bool) -> None:
        super().__init__()
        self.tile, self.leaky = best_tile(side), leaky
        outputs, of_weights, inputs = transforms(self.tile)
        self.register_buffer("weights", weights.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.register_buffer("of_weights", torch.kron(of_weights, of_weights).to(weights))
        self.register_buffer("inputs", inputs.to(weights))
        self.register_buffer("outputs", torch.kron(outputs, outputs).to(weights))
        self.filters, self.channels = weights.shape[:2]
        self.scratch = (self.tile + 2) ** 2 * self.filters * self.channels

    def forward(self, values: Tensor, scratch: Tensor | None = None) -> Tensor:
        """Convolve and activate.

        Parameters
        ----------
        values
            (N, channels, rows, columns), in any order in memory.
        scratch
            Memory for the transformed weights, at least `scratch` numbers; its content is lost.

        Returns
        -------
        Tensor
            (N, filters, rows, columns), channels-last.
        """
        count, _, rows, columns = values.shape
        if count * -(-rows // self.tile) * -(-columns // self.tile) < _FEWEST_TILES:
            values = values.contiguous(memory_format=torch.channels_last)
            return self._activated(functional.conv2d(values, self.weights, self.bias, padding=1))
        weights = self._transformed_weights(values.new_empty(self.scratch) if scratch is None else scratch)
        tiles = self._tiles(values)
        down, across = tiles.shape[3:5]
        found = values.new_empty(count, down * self.tile, across * self.tile, self.filters)
        for images, lines in self._steps(count, down, across):
            place = found[images, lines.start * self.tile : lines.stop * self.tile]
            place = place.unflatten(2, (across, self.tile)).unflatten(1, (-1, self.tile))
            place.permute(2, 4, 0, 1, 3, 5).copy_(self._outputs(tiles[:, :, images, lines], weights))
        return found[:, :rows, :columns].contiguous().permute(0, 3, 1, 2)

    def _transformed_weights(self, scratch: Tensor) -> Tensor:
        """G w Gᵀ of each channel and filter, as a view ((m + 2)², channels, filters) of scratch."""
        flat = self.weights.permute(0, 2, 3, 1).flatten(1, 2)
        found = scratch[: self.scratch].view(self.filters, -1, self.channels)
        torch.bmm(self.of_weights.expand(self.filters, -1, -1), flat, out=found)
        return found.permute(1, 2, 0)

    def _tiles(self, values: Tensor) -> Tensor:
        """Overlapping tiles of the padded images, a view (m + 2, m + 2, N, tiles down, tiles across, channels)."""
        count, channels, rows, columns = values.shape
        down, across = -(-rows // self.tile), -(-columns // self.tile)
        padded = values.new_zeros(count, down * self.tile + 2, across * self.tile + 2, channels)
        padded[:, 1 : rows + 1, 1 : columns + 1] = values.permute(0, 2, 3, 1)
        tiles = padded.unfold(1, self.tile + 2, self.tile).unfold(2, self.tile + 2, self.tile)
        return tiles.permute(4, 5, 0, 1, 2, 3)

    def _steps(self, count: int, down: int, across: int) -> Iterator[tuple[slice, slice]]:
        """Images and lines of tiles that are done at once."""
        most = _STEP_FLOATS // ((self.tile + 2) ** 2 * max(self.channels, self.filters))
        most = min(max(most, _FEWEST_TILES), _MOST_TILES)
        images, lines = max(1, most // (down * across)), max(1, min(down, most // across))
        for first in range(0, count, images):
            for line in range(0, down, lines):
                yield slice(first, first + images), slice(line, min(line + lines, down))

    def _outputs(self, tiles: Tensor, weights: Tensor) -> Tensor:
        """Outputs of some tiles, activated: (m, m, N, tiles down, tiles across, filters)."""
        places, side = tiles.shape[2:5], self.tile + 2
        changed = (self.inputs @ tiles.reshape(side, -1)).view(side, side, -1)
        changed = torch.matmul(self.inputs, changed).view(side**2, places.numel(), self.channels)
        products = torch.bmm(changed, weights)
        # point 1 has the powers 1, 1, 1 ...: what is added to its product is added to every output of the tile
        products[side + 1] += self.bias
        outputs = self._activated(self.outputs @ products.flatten(1))
        return outputs.view(self.tile, self.tile, *places, self.filters)

    def _activated(self, values: Tensor) -> Tensor:
        return functional.leaky_relu_(values, LEAKY_SLOPE) if self.leaky else values


def _powers(points: list[Fraction], count: int) -> list[list[Fraction]]:
    """Powers 0 to count − 1 of each point, and of infinity, which keeps only the highest."""
    infinity = [Fraction(power == count - 1) for power in range(count)]
    return [[point**power for power in range(count)] for point in points] + [infinity]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Inverse of a matrix of fractions whose leading minors are not 0, by elimination."""
    size = len(matrix)
    rows = [[*row, *(Fraction(place == number) for place in range(size))] for number, row in enumerate(matrix)]
    for pivot in range(size):
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for other in range(size):
            if other != pivot:
                factor = rows[other][pivot]
                rows[other] = [value - factor * own for value, own in zip(rows[other], rows[pivot], strict=True)]
    return [row[size:] for row in rows]
