"""Boxes (x and y of the centre, width, height, relative to the image) and which anchor answers for which truth."""

from typing import NamedTuple

import torch
from torch import Tensor


class Matches(NamedTuple):
    """The truths, one a row: where they fall, (M,) each, and the truths, (M, 5).

    A row that the head does not answer for has an image number of one past the last: so the number of rows is known
    without waiting for the device. `inside` gives places that can be read, `write` leaves such rows out.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    truth: Tensor

    def where(self, chosen: Tensor, images: int) -> "Matches":
        """Only the rows that `chosen` (M,) marks, of a batch of so many images."""
        return self._replace(image=self.image.masked_fill(~chosen, images))

    def inside(self, images: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image, anchor, row and column; those of rows that are not answered for are somewhere in the batch."""
        return self.image.clamp(max=images - 1), *self[1:4]

    def write(self, values: Tensor, change: Tensor) -> Tensor:
        """Copy of values (N, anchors, numbers, rows, columns) with a row of `change` (M, numbers) at each place."""
        longer = torch.cat([values, torch.zeros_like(values[:1])])
        longer[self.image, self.anchor, :, self.row, self.column] = change
        return longer[:-1]


def lengths(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Columns and rows of a grid or an image as a tensor (2,), made on the device without waiting for it."""
    return torch.stack([like.new_full((), side) for side in reversed(shape)])


def decode(output: Tensor, anchors: Tensor) -> Tensor:
    """Boxes of a head's activated output: x = (column + σ(t_x))/columns, width = anchor·exp(t_w), likewise y, height.

    Parameters
    ----------
    output
        (N, anchors, 5 + classes, rows, columns).
    anchors
        (anchors, 2) widths and heights, relative to the image.

    Returns
    -------
    Tensor
        (N, anchors, rows, columns, 4).
    """
    rows, columns = output.shape[-2:]
    row = torch.arange(rows, device=output.device)[:, None]
    column = torch.arange(columns, device=output.device)
    width, height = anchors[:, :, None, None].unbind(1)
    return torch.stack(
        [
            (column + output[:, :, 0]) / columns,
            (row + output[:, :, 1]) / rows,
            width * output[:, :, 2].exp(),
            height * output[:, :, 3].exp(),
        ],
        dim=-1,
    )


def intersection_over_union(boxes: Tensor, others: Tensor) -> Tensor:
    """Area that two boxes share over the area that they cover, (..., 4) with (..., 4), broadcast."""
    x, y, width, height = boxes.unbind(-1)
    other_x, other_y, other_width, other_height = others.unbind(-1)
    shared = _overlap(x, width, other_x, other_width) * _overlap(y, height, other_y, other_height)
    return shared / (width * height + other_width * other_height - shared)


def shape_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Intersection over union at a common centre, sizes (..., 2) with each of the anchors (A, 2): (..., A)."""
    shared = torch.minimum(sizes[..., None, :], anchors).prod(-1)
    return shared / (sizes.prod(-1)[..., None] + anchors.prod(-1) - shared)


def filled_slots(truth: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the slots that no image fills; a truth whose x is 0 ends the list of its image.

    Parameters
    ----------
    truth
        (N, slots, 5): x, y, width, height, class.

    Returns
    -------
    truth : Tensor
        (N, most, 5), at least one slot.
    filled : Tensor
        (N, most) bool.
    """
    filled = truth[..., 0].ne(0).cumprod(dim=1).bool()
    if truth.shape[1] == 1:  # nothing to cut, and no need to ask the device
        return truth, filled
    most = max(1, int(filled.any(dim=0).sum()))
    return truth[:, :most], filled[:, :most]


def best_iou(boxes: Tensor, truth: Tensor, filled: Tensor) -> Tensor:
    """Highest intersection over union of each box with any truth of its image, 0 where there is none.

    Parameters
    ----------
    boxes
        (N, anchors, rows, columns, 4).
    truth, filled
        As `filled_slots` gives them.

    Returns
    -------
    Tensor
        (N, anchors, rows, columns).
    """
    overlaps = intersection_over_union(boxes[..., None, :], truth[:, None, None, None, :, :4])
    return overlaps.masked_fill(~filled[:, None, None, None], 0).amax(dim=-1)


def match(truth: Tensor, filled: Tensor, anchors: Tensor, own: Tensor, grid: tuple[int, int]) -> Matches:
    """Find the cell that holds a truth's centre, and the anchor whose shape fits best (the first of equals).

    Parameters
    ----------
    truth, filled
        As `filled_slots` gives them.
    anchors
        (A, 2) all anchors of the network's head or heads, relative to the image.
    own
        (A,) the number that an anchor has in this head, -1 if another head has it.
    grid
        Rows and columns of the head.

    Returns
    -------
    Matches
        All truths, by image, then by slot; answered are those whose best anchor is this head's.
    """
    anchor = own[shape_iou(truth[..., 2:4], anchors).argmax(dim=-1)]
    answered = (filled & (anchor >= 0)).flatten()
    image = torch.arange(len(truth), device=truth.device)[:, None].expand_as(filled).flatten()
    found = truth.flatten(0, 1).masked_fill(~answered[:, None], 0.5)  # any truth that has a logarithm
    cells = lengths(grid, found)
    column, row = torch.minimum((found[:, :2] * cells).floor(), cells - 1).long().unbind(-1)
    matches = Matches(image, anchor.flatten().clamp(min=0), row, column, found)
    return matches.where(answered, len(truth))


def last_of_each(matches: Matches) -> Tensor:
    """(M,) bool: no later truth has the same image, anchor and cell, so that this one is what Darknet leaves there."""
    place = torch.stack(matches[:4], dim=-1)
    same = (place[:, None] == place).all(dim=-1)
    return ~same.triu(diagonal=1).any(dim=1)


def box_targets(matches: Matches, anchors: Tensor, grid: tuple[int, int]) -> Tensor:
    """What the four box outputs should be: offsets in the cell, logarithms of the size over the anchor's, (M, 4)."""
    rows, columns = grid
    x, y, width, height, _ = matches.truth.unbind(-1)
    anchor_width, anchor_height = anchors[matches.anchor].unbind(-1)
    offsets = x * columns - matches.column, y * rows - matches.row
    return torch.stack([*offsets, (width / anchor_width).log(), (height / anchor_height).log()], dim=-1)


def class_targets(matches: Matches, shape: torch.Size) -> Tensor:
    """1 for the class of each truth at its place, else 0: (N, anchors, classes, rows, columns), as `shape` says."""
    targets = matches.truth.new_zeros(shape[0] + 1, *shape[1:])
    image, anchor, row, column, truth = matches
    targets.index_put_((image, anchor, truth[:, 4].long(), row, column), targets.new_ones(()))
    return targets[:-1]


def _overlap(centre: Tensor, length: Tensor, other_centre: Tensor, other_length: Tensor) -> Tensor:
    """Length that two intervals share, 0 if they are apart."""
    start = torch.maximum(centre - length / 2, other_centre - other_length / 2)
    stop = torch.minimum(centre + length / 2, other_centre + other_length / 2)
    return (stop - start).clamp(min=0)
