"""Winograd's convolution: m × m outputs of a 3 × 3 convolution from (m + 2)² products a channel instead of 9 m².

Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015), equation 12, with the matrices of Toom and
Cook for the points below. The products of all tiles are (m + 2)² matrix products over the channels.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from math import log2, prod

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
"""Of one step, so that what is made for it stays in the processor's caches."""

_FEWEST_TILES = 32
"""For fewer tiles a call, transforming the weights costs more than the products that it saves."""


class Workspace:
    """Memory that layers share, one after the other: fresh memory costs a CPU more than the sums that are put there."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self._least: dict[str, int] = {}

    def reserve(self, name: str, size: int) -> None:
        """Let a later `take` of a name find so much memory at least, so that it need not grow."""
        self._least[name] = max(size, self._least.get(name, 0))

    def take(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor with the dtype and device of another, of any content, until its name is taken again."""
        wanted = prod(shape)
        if name not in self._held or self._held[name].numel() < wanted:
            self._held.pop(name, None)
            self._held[name] = like.new_empty(max(wanted, self._least.get(name, 0)))
        return self._held[name][:wanted].view(shape)


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
    """Tile side m with the fewest products for an output of `side` pixels; the smallest of nearly equals."""
    return min(_POINTS, key=lambda tile: (round(-(-side // tile) * (tile + 2) / side, 1), tile))


Take = Callable[[str, Sequence[int], Tensor], Tensor]
"""`Workspace.take`."""


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
    """

    def __init__(self, weights: Tensor, bias: Tensor, *, side: int, leaky: bool) -> None:
        super().__init__()
        self.tile, self.leaky = best_tile(side), leaky
        outputs, of_weights, inputs = transforms(self.tile)
        self.register_buffer("weights", weights.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.register_buffer("of_weights", torch.kron(of_weights, of_weights).to(weights))
        self.register_buffer("inputs", inputs.to(weights))
        self.register_buffer("outputs", outputs.to(weights))
        self.filters, self.channels = weights.shape[:2]

    def forward(self, values: Tensor, workspace: Workspace | None = None) -> Tensor:
        """Convolve and activate: (N, channels, rows, columns) to (N, filters, rows, columns), channels-last."""
        count, _, rows, columns = values.shape
        down, across = -(-rows // self.tile), -(-columns // self.tile)
        if count * down * across < _FEWEST_TILES:
            return self._plainly(values)
        take = (workspace or Workspace()).take
        weights, tiles = self._transformed_weights(take), self._tiles(values, down, across, take)
        whole = take("whole tiles", (count, down * self.tile, across * self.tile, self.filters), values)
        for images, lines in self._steps(count, down, across):
            place = whole[images, lines.start * self.tile : lines.stop * self.tile]
            place = place.unflatten(2, (across, self.tile)).unflatten(1, (-1, self.tile))
            place.permute(2, 4, 0, 1, 3, 5).copy_(self._outputs(tiles[:, :, images, lines], weights, take))
        return whole[:, :rows, :columns].clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)

    def _plainly(self, values: Tensor) -> Tensor:
        """One matrix product of all neighbourhoods and the weights as they are, which torch's conv2d would reorder."""
        padded = functional.pad(values.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        around = padded.unfold(1, KERNEL, 1).unfold(2, KERNEL, 1).permute(0, 1, 2, 4, 5, 3).flatten(3)
        flat = self.weights.permute(0, 2, 3, 1).flatten(1)
        return self._activated(functional.linear(around, flat, self.bias)).permute(0, 3, 1, 2)

    def reserve(self, workspace: Workspace) -> None:
        """Say how much memory the transformed weights will take."""
        workspace.reserve("weights", len(self.of_weights) * self.filters * self.channels)

    def _transformed_weights(self, take: Take) -> Tensor:
        """G w Gᵀ of each channel and filter, ((m + 2)², channels, filters)."""
        flat = self.weights.permute(0, 2, 3, 1).flatten(1, 2)
        found = take("weights", (self.filters, len(self.of_weights), self.channels), flat)
        torch.bmm(self.of_weights.expand(self.filters, -1, -1), flat, out=found)
        return found.permute(1, 2, 0)

    def _tiles(self, values: Tensor, down: int, across: int, take: Take) -> Tensor:
        """Overlapping tiles of the padded images, a view (m + 2, m + 2, N, tiles down, tiles across, channels)."""
        count, channels, rows, columns = values.shape
        padded = take("padded", (count, down * self.tile + 2, across * self.tile + 2, channels), values).zero_()
        padded[:, 1 : rows + 1, 1 : columns + 1] = values.permute(0, 2, 3, 1)
        tiles = padded.unfold(1, self.tile + 2, self.tile).unfold(2, self.tile + 2, self.tile)
        return tiles.permute(4, 5, 0, 1, 2, 3)

    def _steps(self, count: int, down: int, across: int) -> Iterator[tuple[slice, slice]]:
        """Images and lines of tiles that are done at once."""
        most = _STEP_FLOATS // ((self.tile + 2) ** 2 * max(self.channels, self.filters))
        most = min(max(most, _MOST_TILES // 4), _MOST_TILES)
        images, lines = max(1, most // (down * across)), max(1, min(down, most // across))
        for first in range(0, count, images):
            for line in range(0, down, lines):
                yield slice(first, first + images), slice(line, min(line + lines, down))

    def _outputs(self, tiles: Tensor, weights: Tensor, take: Take) -> Tensor:
        """Outputs of some tiles, activated: (m, m, N, tiles down, tiles across, filters)."""
        places = tiles.shape[2:5]
        gathered = take("even", tiles.shape, tiles).copy_(tiles)
        changed = _both_sides(self.inputs, gathered.flatten(2), take).view(-1, places.numel(), self.channels)
        products = take("even", (len(changed), places.numel(), self.filters), tiles)
        torch.bmm(changed, weights, out=products)
        # point 1 has the powers 1, 1, 1 ...: what is added to its product is added to every output of the tile
        products[self.tile + 3] += self.bias
        outputs = _both_sides(self.outputs, products.view(self.tile + 2, self.tile + 2, -1), take)
        return self._activated(outputs).view(self.tile, self.tile, *places, self.filters)

    def _activated(self, values: Tensor) -> Tensor:
        return functional.leaky_relu_(values, LEAKY_SLOPE) if self.leaky else values


def _both_sides(matrix: Tensor, values: Tensor, take: Take) -> Tensor:
    """M x Mᵀ of values (columns of M, columns of M, ...) in the workspace, (rows of M, rows of M, ...)."""
    (rows, columns), rest = matrix.shape, values.shape[2]
    first = torch.mm(matrix, values.flatten(1), out=take("between", (rows, columns * rest), values))
    found = take("odd", (rows, rows, rest), values)
    return torch.bmm(matrix.expand(rows, -1, -1), first.view(rows, columns, rest), out=found)


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
