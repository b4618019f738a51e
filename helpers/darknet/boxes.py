"""Boxes (x and y of the centre, width, height, relative to the image) and which anchor answers for which truth."""

from typing import NamedTuple

import torch
from torch import Tensor


class Matches(NamedTuple):
    """The truths that a head answers for, one a row: where they fall, (M,) each, and the truths, (M, 5)."""

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    truth: Tensor

    def where(self, chosen: Tensor) -> "Matches":
        """The rows that `chosen` (M,) marks."""
        return Matches(*(field[chosen] for field in self))


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
        Truths whose best anchor is this head's, by image, then by slot.
    """
    anchor = own[shape_iou(truth[..., 2:4], anchors).argmax(dim=-1)]
    image, slot = torch.nonzero(filled & (anchor >= 0), as_tuple=True)
    found = truth[image, slot]
    cells = found.new_tensor([grid[1], grid[0]])
    column, row = torch.minimum((found[:, :2] * cells).floor(), cells - 1).long().unbind(-1)
    return Matches(image, anchor[image, slot], row, column, found)


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
    targets = matches.truth.new_zeros(shape)
    targets[matches.image, matches.anchor, matches.truth[:, 4].long(), matches.row, matches.column] = 1
    return targets


def _overlap(centre: Tensor, length: Tensor, other_centre: Tensor, other_length: Tensor) -> Tensor:
    """Length that two intervals share, 0 if they are apart."""
    start = torch.maximum(centre - length / 2, other_centre - other_length / 2)
    stop = torch.minimum(centre + length / 2, other_centre + other_length / 2)
    return (stop - start).clamp(min=0)
