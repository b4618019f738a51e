"""YOLOv3's heads: Darknet's `[yolo]` layer (yolo_layer.c; the maths in its order)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helpers.darknet import boxes
from helpers.darknet.layers import Shape
from helpers.darknet.region import box_weight, check_filters, read_anchors, split
from helpers.darknet.sections import Section


class Yolo(nn.Module):
    """Head of YOLOv3: σ(t_x), σ(t_y), t_w, t_h, σ(t_o) and σ of each class, for the anchors of `mask` and each cell."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        section.require("truth_thresh", 1)
        self.classes = section.integer("classes", 20, minimum=1)
        self.ignore_threshold = section.number("ignore_thresh", 0.5)
        every = read_anchors(section)
        mask = section.integers("mask", ",".join(map(str, range(len(every)))))
        if len(set(mask)) < len(mask) or not set(mask) <= set(range(len(every))):
            raise section.error(f"mask must name different anchors from 0 to {len(every) - 1}", "mask")
        own = [mask.index(number) if number in mask else -1 for number in range(len(every))]
        # anchors of all heads, numbers of this head's anchors among them, and each one's number in this head or -1
        self.register_buffer("anchors", every, persistent=False)
        self.register_buffer("mask", torch.tensor(mask), persistent=False)
        self.register_buffer("own", torch.tensor(own), persistent=False)
        self.shape = check_filters(section, inputs[0], len(mask), self.classes)

    def forward(self, raw: Tensor) -> Tensor:
        """Activate: (N, anchors·(5 + classes), rows, columns) to the same shape, in float32."""
        parts = split(raw.float(), self.classes)
        activated = [parts[:, :, :2].sigmoid(), parts[:, :, 2:4], parts[:, :, 4:].sigmoid()]
        return torch.cat(activated, dim=2).reshape(raw.shape)

    def boxes(self, output: Tensor, image: tuple[int, int]) -> Tensor:
        """Boxes of the activated output, (N, anchors, rows, columns, 4); `image` is rows and columns [pixels]."""
        return boxes.decode(split(output, self.classes), self._relative_anchors(image)[self.mask])

    @torch.no_grad()
    def delta(self, output: Tensor, truth: Tensor, *, seen: int, image: tuple[int, int]) -> Tensor:
        """Minus the gradient of the loss by the raw input, of its shape: `layer.delta` of yolo_layer.c.

        Objectness: 0 − o, 0 where a box overlaps a truth by more than `ignore_thresh`. At the cell of each truth whose
        best anchor of all is one of `mask`: (2 − w·h)·(target − box), 1 − o, 1[class] − p; a later truth overwrites an
        earlier one at the same anchor and cell, but the classes of both count. Truth is as in `cost`, `image` rows and
        columns of the network's input [pixels], the unit of the anchors; `output` is activated, `seen` unused here.
        """
        parts = split(output, self.classes)
        truth, filled = boxes.filled_slots(truth.to(output))
        delta = torch.zeros_like(parts)
        # no object wanted anywhere, but where a box overlaps a truth well enough nothing is asked
        overlapping = boxes.best_iou(self.boxes(output, image), truth, filled) > self.ignore_threshold
        delta[:, :, 4] = (-parts[:, :, 4]).masked_fill(overlapping, 0)
        return self._with_truths(delta, parts, truth, filled, self._relative_anchors(image)).reshape(output.shape)

    def raw_delta(self, delta: Tensor, output: Tensor) -> Tensor:
        """Minus the gradient by the raw input: Darknet copies `delta` unchanged (cross-entropy for the σ outputs)."""
        return delta

    def _relative_anchors(self, image: tuple[int, int]) -> Tensor:
        """Widths and heights of all anchors relative to the image, (all anchors, 2)."""
        return self.anchors / boxes.lengths(image, self.anchors)

    def _with_truths(self, delta: Tensor, parts: Tensor, truth: Tensor, filled: Tensor, anchors: Tensor) -> Tensor:
        """`delta` with the terms of the anchors and cells that are assigned to a ground-truth box."""
        grid = parts.shape[-2:]
        # the best anchor of all heads is assigned; truths whose anchor another head has do not count here
        matches = boxes.match(truth, filled, anchors, self.own, grid)
        classes = boxes.class_targets(matches, parts[:, :, 5:].shape)
        # of several truths with the same anchor and cell the last one counts
        assigned = matches.where(boxes.last_of_each(matches), len(parts))
        # outputs (M, 5 + classes) at the assigned cells
        image, anchor, row, column = assigned.inside(len(parts))
        predicted, target = parts[image, anchor, :, row, column], assigned.truth
        offset = boxes.box_targets(assigned, anchors[self.mask], grid) - predicted[:, :4]
        change = torch.empty_like(predicted)
        # the box to the truth's, objectness to 1, class probabilities to 0 and 1
        change[:, :4] = box_weight(target) * offset
        change[:, 4] = 1 - predicted[:, 4]
        change[:, 5:] = classes[image, anchor, :, row, column] - predicted[:, 5:]
        return assigned.write(delta, change)
