import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.darknet import section
from helpers.darknet.layers import Shape
from helpers.darknet.region import split
from helpers.darknet.yolo import Yolo
from helpers.errors import NetworkFileError

IMAGE = (64, 64)
ANCHORS = "6,8,20,14,40,40"


def head(mask="0,1,2", classes=1, anchors=ANCHORS, **options):
    num, used = len(anchors.split(",")) // 2, len(mask.split(","))
    described = {"mask": mask, "anchors": anchors, "num": num, "classes": classes, "ignore_thresh": 0.7} | options
    return Yolo(section("yolo", **described), [Shape(used * (5 + classes), 2)])


def truth_of(*boxes):
    return torch.tensor([[*boxes, (0.0,) * 5]])


def random_case(seed, used, classes):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(3, used * (5 + classes), 4, 4, generator=generator)
    truth = torch.rand(3, 6, 5, generator=generator) * torch.tensor([0.98, 0.98, 0.8, 0.8, classes]) + 0.01
    truth[..., 4] = truth[..., 4].floor().clamp(max=classes - 1)
    truth[0, 1, :4] = truth[0, 0, :4] + 0.001
    truth[1, 3] = 0
    truth[2, 0] = 0
    return raw, truth


def iou(box, other):
    shared = 1.0
    for axis in (0, 1):
        start = max(box[axis] - box[axis + 2] / 2, other[axis] - other[axis + 2] / 2)
        stop = min(box[axis] + box[axis + 2] / 2, other[axis] + other[axis + 2] / 2)
        shared *= max(0.0, stop - start)
    return shared / (box[2] * box[3] + other[2] * other[3] - shared)


def delta_cell_by_cell(parts, truths, anchors, mask):
    """forward_yolo_layer of Darknet for one image, in loops."""
    delta = np.zeros_like(parts)
    count, _, rows, columns = parts.shape
    listed = truths[: np.flatnonzero(np.append(truths[:, 0], 0) == 0)[0]]
    for n in range(count):
        for j in range(rows):
            for i in range(columns):
                at = parts[n, :, j, i]
                width, height = np.exp(at[2:4]) * anchors[mask[n]]
                box = (i + at[0]) / columns, (j + at[1]) / rows, width, height
                best = max([0.0, *(iou(box, truth) for truth in listed)])
                delta[n, 4, j, i] = 0 if best > 0.7 else -at[4]
    for truth in listed:
        best = int(np.argmax([iou((0, 0, *anchor), (0, 0, truth[2], truth[3])) for anchor in anchors]))
        if best not in mask:
            continue
        i, j, n = int(truth[0] * columns), int(truth[1] * rows), mask.index(best)
        at, cell, scale = parts[n, :, j, i], delta[n, :, j, i], 2 - truth[2] * truth[3]
        cell[:2] = scale * (truth[:2] * (columns, rows) - (i, j) - at[:2])
        cell[2:4] = scale * (np.log(truth[2:4] / anchors[best]) - at[2:4])
        cell[4] = 1 - at[4]
        wanted = 5 + int(truth[4])
        if cell[5]:
            cell[wanted] = 1 - at[wanted]
        else:
            cell[5:] = (np.arange(5, len(at)) == wanted) - at[5:]
    return delta


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mask", ["0,1,2", "1,2", "0"])
@pytest.mark.parametrize("classes", [1, 3])
def test_delta_is_darknets_loop(seed, mask, classes):
    yolo = head(mask, classes)
    numbers = [int(number) for number in mask.split(",")]
    raw, truth = random_case(seed, len(numbers), classes)
    output = yolo(raw)
    anchors = np.reshape([float(value) for value in ANCHORS.split(",")], (3, 2)) / 64
    wanted = [
        delta_cell_by_cell(image, truths, anchors, numbers)
        for image, truths in zip(split(output, classes).double().numpy(), truth.double().numpy(), strict=True)
    ]
    delta = split(yolo.delta(output, truth, seen=0, image=IMAGE), classes)
    np.testing.assert_allclose(delta.numpy(), np.stack(wanted), atol=1e-5)


def test_delta_of_a_truth_by_hand():
    """Raw zeros, a truth of the anchor's size: only the offsets in the cell, objectness and class remain."""
    yolo = head("0", anchors="32,16")
    output = yolo(torch.zeros(1, 6, 2, 2))
    delta = yolo.delta(output, truth_of((0.8, 0.25, 0.5, 0.25, 0)), seen=0, image=IMAGE)
    assert delta[0, :, 0, 1].tolist() == pytest.approx([1.875 * 0.1, 0, 0, 0, 0.5, 0.5], abs=1e-6)
    assert delta[0, 4].flatten().tolist() == [-0.5, 0.5, -0.5, -0.5]
    assert float(delta.square().sum()) == pytest.approx(0.1875**2 + 5 * 0.25)


def test_truth_that_another_heads_anchor_fits_best_is_no_positive():
    truth = truth_of((0.5, 0.5, 0.6, 0.6, 0))
    small, large = head("0"), head("2")
    for yolo, positives in ((small, 0), (large, 1)):
        delta = yolo.delta(yolo(torch.zeros(1, 6, 2, 2)), truth, seen=0, image=IMAGE)
        assert int((delta[:, 4] > 0).sum()) == positives


def test_box_that_overlaps_a_truth_well_is_not_punished():
    yolo = head("0,1", anchors="32,32,30,30")
    output = yolo(torch.zeros(1, 12, 2, 2))
    delta = split(yolo.delta(output, truth_of((0.25, 0.25, 0.5, 0.5, 0)), seen=0, image=IMAGE), 1)
    assert delta[0, :, 4, 0, 0].tolist() == [0.5, 0.0]


def test_anchors_are_pixels_of_the_image_that_was_given():
    yolo = head("0", anchors="32,16")
    output = yolo(torch.zeros(1, 6, 2, 2))
    assert yolo.boxes(output, (64, 64))[0, 0, 0, 0].tolist() == pytest.approx([0.25, 0.25, 0.5, 0.25])
    assert yolo.boxes(output, (128, 64))[0, 0, 0, 0].tolist() == pytest.approx([0.25, 0.25, 0.5, 0.125])


def test_loss_implied_by_delta_is_cross_entropy_for_objectness_and_classes():
    yolo = head("0,1,2", 3)
    raw, truth = random_case(1, 3, 3)
    raw.requires_grad_()
    output = yolo(raw).detach()
    delta = yolo.delta(output, truth, seen=0, image=IMAGE)
    scores, changes = split(raw, 3)[:, :, 4:], split(delta, 3)[:, :, 4:]
    targets = split(output, 3)[:, :, 4:] + changes
    weight = (changes != 0).float()
    functional.binary_cross_entropy_with_logits(scores, targets.clamp(0, 1), weight, reduction="sum").backward()
    wanted = split(-raw.grad, 3)[:, :, 4:]
    torch.testing.assert_close(split(yolo.raw_delta(delta, output), 3)[:, :, 4:], wanted, atol=1e-6, rtol=1e-5)


def test_outputs_are_logistic_but_for_the_sizes():
    yolo, raw = head("0"), torch.full((1, 6, 1, 1), math.log(3))
    assert yolo(raw).flatten().tolist() == pytest.approx([0.75, 0.75, math.log(3), math.log(3), 0.75, 0.75])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truth_thresh": 0.9}, "truth_thresh=0.9 is not supported, only truth_thresh=1"),
        ({"mask": "0,3,1"}, "mask must name different anchors from 0 to 2"),
        ({"mask": "0,0,1"}, "mask must name different anchors"),
        ({"classes": 2}, "3 anchors and 2 classes need filters=21 in the layer before, not 18"),
        ({"anchors": "1,2"}, "num=3 needs 6 positive anchors"),
    ],
)
def test_yolo_that_we_do_not_compute_is_refused(options, message):
    described = {"mask": "0,1,2", "anchors": ANCHORS, "num": 3, "classes": 1} | options
    with pytest.raises(NetworkFileError, match=message):
        Yolo(section("yolo", **described), [Shape(18, 2)])
