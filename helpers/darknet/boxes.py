"""Boxes (x, y of the centre, width, height, all relative to the image), and the anchor assigned to each truth."""

from typing import NamedTuple

import torch
from torch import Tensor


class Matches(NamedTuple):
    """Ground-truth boxes of a batch, one a row, and the anchor and cell assigned to each.

    A row without an assigned anchor has an image number one past the last. Its length then does not depend on values,
    and nothing waits for the device. `inside` gives indices that are safe to read, `write` leaves such rows out.
    """

    image: Tensor  # (M,) number of the image
    anchor: Tensor  # (M,) number of the anchor in its head
    row: Tensor  # (M,) of the cell that holds the centre
    column: Tensor  # (M,)
    truth: Tensor  # (M, 5) x, y, width, height, class

    def where(self, chosen: Tensor, images: int) -> "Matches":
        """Matches in which only the rows marked by `chosen` (M,) count, in a batch of `images` images."""
        return self._replace(image=self.image.masked_fill(~chosen, images))

    def inside(self, images: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Image, anchor, row and column as valid indices; rows that do not count point into the last image."""
        return self.image.clamp(max=images - 1), *self[1:4]

    def write(self, values: Tensor, change: Tensor) -> Tensor:
        """Copy of values (N, anchors, numbers, rows, columns) with `change` (M, numbers) at the assigned cells."""
        # one image more takes the rows that do not count, and is cut off again
        longer = torch.cat([values, torch.zeros_like(values[:1])])
        longer[self.image, self.anchor, :, self.row, self.column] = change
        return longer[:-1]


def lengths(shape: tuple[int, int], like: Tensor) -> Tensor:
    """Columns and rows of a grid or an image as a tensor (2,), made on the device without waiting for it."""
    return torch.stack([like.new_full((), side) for side in reversed(shape)])


def decode(output: Tensor, anchors: Tensor) -> Tensor:
    """Boxes of a head's activated output: x = (column + σ(t_x))/columns, width = anchor·exp(t_w), likewise y, height.

    From (N, anchors, 5 + classes, rows, columns) and anchors (anchors, 2), relative to the image, to
    (N, anchors, rows, columns, 4). The output holds σ(t_x), σ(t_y), t_w, t_h, then objectness and classes.
    """
    rows, columns = output.shape[-2:]
    # cell indices that broadcast over (N, anchors, rows, columns)
    row = torch.arange(rows, device=output.device)[:, None]
    column = torch.arange(columns, device=output.device)
    # (anchors, 1, 1) each
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
    """Area shared by two boxes over the area that they cover together, (..., 4) with (..., 4), broadcast."""
    x, y, width, height = boxes.unbind(-1)
    other_x, other_y, other_width, other_height = others.unbind(-1)
    shared = _overlap(x, width, other_x, other_width) * _overlap(y, height, other_y, other_height)
    return shared / (width * height + other_width * other_height - shared)


def shape_iou(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Intersection over union at a common centre, sizes (..., 2) with each of the anchors (A, 2): (..., A)."""
    shared = torch.minimum(sizes[..., None, :], anchors).prod(-1)
    return shared / (sizes.prod(-1)[..., None] + anchors.prod(-1) - shared)


def filled_slots(truth: Tensor) -> tuple[Tensor, Tensor]:
    """Truth (N, most, 5) without the slots that are empty in every image, at least one slot, and the filled ones.

    Of truth (N, slots, 5) an x of 0 ends the list of its image: (N, most) bool is False from there on.
    """
    # a 0 makes the running product 0 from there on
    filled = truth[..., 0].ne(0).cumprod(dim=1).bool()
    if truth.shape[1] == 1:  # nothing to drop, and no need to wait for the device
        return truth, filled
    most = max(1, int(filled.any(dim=0).sum()))
    return truth[:, :most], filled[:, :most]


def best_iou(boxes: Tensor, truth: Tensor, filled: Tensor) -> Tensor:
    """Highest intersection over union of each box with any truth of its image, 0 where there is none.

    From boxes (N, anchors, rows, columns, 4) and both results of `filled_slots` to (N, anchors, rows, columns).
    """
    # every predicted box with every slot of its image: (N, anchors, rows, columns, slots)
    overlaps = intersection_over_union(boxes[..., None, :], truth[:, None, None, None, :, :4])
    return overlaps.masked_fill(~filled[:, None, None, None], 0).amax(dim=-1)


def match(truth: Tensor, filled: Tensor, anchors: Tensor, own: Tensor, grid: tuple[int, int]) -> Matches:
    """Assign to each ground-truth box the cell that holds its centre and the anchor of the most similar shape.

    Similarity is the intersection over union at a common centre; of equal anchors the first one is taken. Truth and
    `filled` come from `filled_slots`, `anchors` (A, 2) of all heads are relative to the image, `own` (A,) holds each
    anchor's number in this head or -1, `grid` rows and columns. Rows go by image, then by slot; those whose best anchor
    another head has do not count.
    """
    # shape overlap of every truth with every anchor (N, slots, A); the best anchor's number in this head, or -1
    anchor = own[shape_iou(truth[..., 2:4], anchors).argmax(dim=-1)]
    assigned = (filled & (anchor >= 0)).flatten()
    image = torch.arange(len(truth), device=truth.device)[:, None].expand_as(filled).flatten()
    # slots that do not count get a box of numbers whose logarithms are finite
    found = truth.flatten(0, 1).masked_fill(~assigned[:, None], 0.5)
    # the cell of the centre; a centre on the right or lower edge belongs to the last cell
    cells = lengths(grid, found)
    column, row = torch.minimum((found[:, :2] * cells).floor(), cells - 1).long().unbind(-1)
    matches = Matches(image, anchor.flatten().clamp(min=0), row, column, found)
    return matches.where(assigned, len(truth))


def last_of_each(matches: Matches) -> Tensor:
    """Mark (M,) the matches that no later one has the image, anchor and cell of: Darknet overwrites earlier ones."""
    cell = torch.stack(matches[:4], dim=-1)
    # same[m, n]: matches m and n have the same cell; above the diagonal n comes after m
    same = (cell[:, None] == cell).all(dim=-1)
    return ~same.triu(diagonal=1).any(dim=1)


def box_targets(matches: Matches, anchors: Tensor, grid: tuple[int, int]) -> Tensor:
    """Targets (M, 4) of the four box outputs: offsets in the cell, logarithms of the sizes over the anchor's."""
    rows, columns = grid
    x, y, width, height, _ = matches.truth.unbind(-1)
    anchor_width, anchor_height = anchors[matches.anchor].unbind(-1)
    offsets = x * columns - matches.column, y * rows - matches.row
    return torch.stack([*offsets, (width / anchor_width).log(), (height / anchor_height).log()], dim=-1)


def class_targets(matches: Matches, shape: torch.Size) -> Tensor:
    """Targets (N, anchors, classes, rows, columns) of a given shape: 1 for the class of each truth, else 0."""
    # one image more takes the matches that do not count, and is cut off again
    targets = matches.truth.new_zeros(shape[0] + 1, *shape[1:])
    image, anchor, row, column, truth = matches
    targets.index_put_((image, anchor, truth[:, 4].long(), row, column), targets.new_ones(()))
    return targets[:-1]


def _overlap(centre: Tensor, length: Tensor, other_centre: Tensor, other_length: Tensor) -> Tensor:
    """Length shared by two intervals, 0 if they are apart."""
    start = torch.maximum(centre - length / 2, other_centre - other_length / 2)
    stop = torch.minimum(centre + length / 2, other_centre + other_length / 2)
    return (stop - start).clamp(min=0)
