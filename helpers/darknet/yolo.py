"""YOLOv3's heads: Darknet's `[yolo]` layer (yolo_layer.c; the maths in its order)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from helpers.darknet import boxes
from helpers.darknet.layers import Shape
from helpers.darknet.region import box_weight, check_filters, read_anchors, split
from helpers.darknet.sections import Section


class Yolo(nn.Module):
    """σ(t_x), σ(t_y), t_w, t_h, σ(t_o) and σ of each class, for the anchors of `mask` and each cell."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        section.require("truth_thresh", 1, 1)
        self.classes = section.integer("classes", 20, minimum=1)
        self.ignore_threshold = section.number("ignore_thresh", 0.5)
        every = read_anchors(section)
        mask = section.integers("mask", ",".join(map(str, range(len(every)))))
        if len(set(mask)) < len(mask) or not set(mask) <= set(range(len(every))):
            raise section.error(f"mask must name different anchors from 0 to {len(every) - 1}", "mask")
        own = [mask.index(number) if number in mask else -1 for number in range(len(every))]
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
        """Minus the gradient by the raw input, as Darknet's `layer.delta`.

        Objectness: 0 − o, 0 where a box overlaps a truth by more than `ignore_thresh`. At each truth whose best anchor
        of all is one of `mask`: (2 − w·h)·(target − box), 1 − o, 1[class] − p; a later truth overwrites an earlier one
        at the same place, but the classes of both count.

        Parameters
        ----------
        output
            Activated output, (N, anchors·(5 + classes), rows, columns).
        truth
            (N, slots, 5): x, y, width, height relative to the image, class; x = 0 ends an image's list.
        seen
            Not used: this head has no prior. Here so that both heads are called alike.
        image
            Rows and columns of the network's input [pixels]; the anchors are in these pixels.

        Returns
        -------
        Tensor
            Of the shape of `output`.
        """
        parts = split(output, self.classes)
        truth, filled = boxes.filled_slots(truth.to(output))
        delta = torch.zeros_like(parts)
        overlapping = boxes.best_iou(self.boxes(output, image), truth, filled) > self.ignore_threshold
        delta[:, :, 4] = (-parts[:, :, 4]).masked_fill(overlapping, 0)
        answered = self._answered(delta, parts, truth, filled, self._relative_anchors(image))
        return answered.reshape(output.shape)

    def raw_delta(self, delta: Tensor, output: Tensor) -> Tensor:
        """Minus the gradient by the raw input: Darknet copies `delta` unchanged (cross-entropy for the σ outputs)."""
        return delta

    def _relative_anchors(self, image: tuple[int, int]) -> Tensor:
        """Widths and heights of all anchors relative to the image, (all anchors, 2)."""
        return self.anchors / boxes.lengths(image, self.anchors)

    def _answered(self, delta: Tensor, parts: Tensor, truth: Tensor, filled: Tensor, anchors: Tensor) -> Tensor:
        """`delta` with the terms of the cells and anchors that answer for a truth."""
        grid = parts.shape[-2:]
        matches = boxes.match(truth, filled, anchors, self.own, grid)
        classes = boxes.class_targets(matches, parts[:, :, 5:].shape)
        answers = matches.where(boxes.last_of_each(matches), len(parts))
        image, anchor, row, column = answers.inside(len(parts))
        target = answers.truth
        at = parts[image, anchor, :, row, column]
        change = torch.empty_like(at)
        change[:, :4] = box_weight(target) * (boxes.box_targets(answers, anchors[self.mask], grid) - at[:, :4])
        change[:, 4] = 1 - at[:, 4]
        change[:, 5:] = classes[image, anchor, :, row, column] - at[:, 5:]
        return answers.write(delta, change)
