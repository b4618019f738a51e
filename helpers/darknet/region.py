"""YOLOv2's head: Darknet's `[region]` layer (region_layer.c; the maths in its order)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helpers.darknet import boxes
from helpers.darknet.layers import Shape
from helpers.darknet.sections import Section

PRIOR_IMAGES = 12_800  # images seen in training before which every box is pulled towards its anchor
# factors of a truth's box terms: pjreddie's since March 2017 (default), then AlexeyAB's and pjreddie's before
BOX_WEIGHTS = ("2-w*h", "1")
_PRIOR_SCALE = 0.01


class Region(nn.Module):
    """Head of YOLOv2: σ(t_x), σ(t_y), t_w, t_h, σ(t_o) and softmax over classes, for each anchor and cell.

    The option `box_weight`, one of `BOX_WEIGHTS`, is ours; Darknet ignores it.
    """

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        section.require("bias_match", 1, default=0)
        self.classes = section.integer("classes", 20, minimum=1)
        self.softmax = bool(section.integer("softmax", 0))
        self.rescore = bool(section.integer("rescore", 0))
        self.threshold = section.number("thresh", 0.5)
        self.object_scale = section.number("object_scale", 1)
        self.noobject_scale = section.number("noobject_scale", 1)
        self.class_scale = section.number("class_scale", 1)
        self.coord_scale = section.number("coord_scale", 1)
        self.weighted = section.choice("box_weight", BOX_WEIGHTS, BOX_WEIGHTS[0]) == BOX_WEIGHTS[0]
        self.register_buffer("anchors", read_anchors(section), persistent=False)
        self.shape = check_filters(section, inputs[0], len(self.anchors), self.classes)

    def forward(self, raw: Tensor) -> Tensor:
        """Activate: (N, anchors·(5 + classes), rows, columns) to the same shape, in float32."""
        parts = split(raw.float(), self.classes)
        scores = parts[:, :, 5:]
        activated = [
            parts[:, :, :2].sigmoid(),
            parts[:, :, 2:4],
            parts[:, :, 4:5].sigmoid(),
            scores.softmax(dim=2) if self.softmax else scores.sigmoid(),
        ]
        return torch.cat(activated, dim=2).reshape(raw.shape)

    def boxes(self, output: Tensor, image: tuple[int, int]) -> Tensor:
        """Boxes of the activated output, (N, anchors, rows, columns, 4); `image` is unused, as anchors are in cells."""
        return boxes.decode(split(output, self.classes), self._relative_anchors(output.shape[-2:]))

    @torch.no_grad()
    def delta(self, output: Tensor, truth: Tensor, *, seen: int, image: tuple[int, int]) -> Tensor:
        """Minus the gradient of the loss by the activated output, of its shape: `layer.delta` of region_layer.c.

        Objectness: noobject_scale·(0 − o), 0 where a box overlaps a truth by more than `thresh`. Before `PRIOR_IMAGES`:
        0.01·(anchor − box). At the anchor and cell assigned to a truth: coord_scale·(2 − w·h)·(target − box),
        object_scale·(IoU − o), class_scale·(1[class] − p); a later truth overwrites an earlier one at the same cell.
        Truth is as in `cost`; `seen` counts this batch too, `image` is unused here.
        """
        parts = split(output, self.classes)
        truth, filled = boxes.filled_slots(truth.to(output))
        decoded = self.boxes(output, image)
        delta = torch.zeros_like(parts)
        # no object wanted anywhere, but where a box overlaps a truth well enough nothing is asked
        overlapping = boxes.best_iou(decoded, truth, filled) > self.threshold
        delta[:, :, 4] = (-self.noobject_scale * parts[:, :, 4]).masked_fill(overlapping, 0)
        # the prior of early training: centres to the middle of their cells, sizes to those of the anchors
        if seen < PRIOR_IMAGES:
            delta[:, :, :2] = _PRIOR_SCALE * (0.5 - parts[:, :, :2])
            delta[:, :, 2:4] = -_PRIOR_SCALE * parts[:, :, 2:4]
        return self._with_truths(delta, parts, decoded, truth, filled).reshape(output.shape)

    def raw_delta(self, delta: Tensor, output: Tensor) -> Tensor:
        """Minus the gradient by the raw input: σ′ = o·(1 − o) on x, y and objectness; softmax and t_w, t_h have 1."""
        slope = split(output * (1 - output), self.classes).clone()
        slope[:, :, 2:4].fill_(1)
        if self.softmax:
            slope[:, :, 5:].fill_(1)
        return delta * slope.reshape(delta.shape)

    def _relative_anchors(self, grid: tuple[int, int]) -> Tensor:
        """Widths and heights of the anchors relative to the image, (anchors, 2): they are given in cells."""
        return self.anchors / boxes.lengths(grid, self.anchors)

    def _with_truths(self, delta: Tensor, parts: Tensor, decoded: Tensor, truth: Tensor, filled: Tensor) -> Tensor:
        """`delta` with the terms of the anchors and cells that are assigned to a ground-truth box."""
        grid = parts.shape[-2:]
        anchors = self._relative_anchors(grid)
        # the one head has all anchors
        own = torch.arange(len(anchors), device=anchors.device)
        matches = boxes.match(truth, filled, anchors, own, grid)
        # of several truths with the same anchor and cell the last one counts
        assigned = matches.where(boxes.last_of_each(matches), len(parts))
        classes = boxes.class_targets(assigned if self.softmax else matches, parts[:, :, 5:].shape)
        # outputs (M, 5 + classes) and boxes (M, 4) at the assigned cells
        image, anchor, row, column = assigned.inside(len(parts))
        predicted, target = parts[image, anchor, :, row, column], assigned.truth
        overlap = boxes.intersection_over_union(decoded[image, anchor, row, column], target[:, :4])
        weight = self.coord_scale * box_weight(target) if self.weighted else self.coord_scale
        change = torch.empty_like(predicted)
        # the box to the truth's, objectness to the overlap (or 1), class probabilities to 0 and 1
        change[:, :4] = weight * (boxes.box_targets(assigned, anchors, grid) - predicted[:, :4])
        change[:, 4] = self.object_scale * ((overlap if self.rescore else 1) - predicted[:, 4])
        change[:, 5:] = self.class_scale * (classes[image, anchor, :, row, column] - predicted[:, 5:])
        return assigned.write(delta, change)


def split(values: Tensor, classes: int) -> Tensor:
    """View of a head's channels as (N, anchors, 5 + classes, rows, columns)."""
    return values.unflatten(1, (-1, 5 + classes))


def box_weight(truth: Tensor) -> Tensor:
    """Factor 2 − w·h of a truth's box terms, so that small boxes count more: (M, 5) to (M, 1)."""
    return 2 - truth[:, 2:3] * truth[:, 3:4]


def read_anchors(section: Section) -> Tensor:
    """Read `num` pairs of `anchors`, (num, 2), or NetworkFileError."""
    count, values = section.integer("num", 1, minimum=1), section.numbers("anchors")
    if len(values) != 2 * count or min(values) <= 0:
        raise section.error(f"num={count} needs {2 * count} positive anchors, got {len(values)} numbers", "anchors")
    return torch.tensor(values).reshape(-1, 2)


def check_filters(section: Section, shape: Shape, anchors: int, classes: int) -> Shape:
    """Return `shape` if it has the channels of a head with so many anchors and classes, or NetworkFileError."""
    wanted = anchors * (5 + classes)
    if shape.channels != wanted:
        raise section.error(
            f"{anchors} anchors and {classes} classes need filters={wanted} in the layer before, not {shape.channels}"
        )
    return shape
