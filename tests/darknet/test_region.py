import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.darknet import section
from helpers.darknet.layers import Shape
from helpers.darknet.region import PRIOR_IMAGES, Region, split
from helpers.errors import NetworkFileError

IMAGE = (64, 64)
LATE = PRIOR_IMAGES
OPTIONS = {
    "bias_match": 1,
    "softmax": 1,
    "rescore": 1,
    "object_scale": 5,
    "noobject_scale": 1,
    "class_scale": 1,
    "coord_scale": 1,
    "thresh": 0.6,
}


def head(anchors="1,1", classes=1, **options):
    num = len(anchors.split(",")) // 2
    described = section("region", anchors=anchors, num=num, classes=classes, **(OPTIONS | options))
    return Region(described, [Shape(num * (5 + classes), 2)])


def truth_of(*boxes):
    return torch.tensor([[*boxes, (0.0,) * 5]])


def random_case(seed, anchors, classes, images=3, grid=(4, 4), slots=5):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(images, anchors * (5 + classes), *grid, generator=generator)
    truth = torch.rand(images, slots, 5, generator=generator) * torch.tensor([0.98, 0.98, 0.8, 0.8, classes]) + 0.01
    truth[..., 4] = truth[..., 4].floor().clamp(max=classes - 1)
    truth[0, 1, :4] = truth[0, 0, :4] + 0.001
    truth[1, 2] = 0
    truth[2, 0] = 0
    return raw, truth


def iou(box, other):
    shared = 1.0
    for axis in (0, 1):
        start = max(box[axis] - box[axis + 2] / 2, other[axis] - other[axis + 2] / 2)
        stop = min(box[axis] + box[axis + 2] / 2, other[axis] + other[axis + 2] / 2)
        shared *= max(0.0, stop - start)
    return shared / (box[2] * box[3] + other[2] * other[3] - shared)


def write_box(delta, at, truth, column, row, grid, anchor, scale):
    targets = (
        truth[0] * grid[1] - column,
        truth[1] * grid[0] - row,
        math.log(truth[2] * grid[1] / anchor[0]),
        math.log(truth[3] * grid[0] / anchor[1]),
    )
    for entry, target in enumerate(targets):
        delta[entry] = scale * (target - at[entry])


def delta_cell_by_cell(parts, truths, anchors, seen, softmax, coord):
    """forward_region_layer of Darknet for one image, in loops."""
    delta = np.zeros_like(parts)
    count, entries, rows, columns = parts.shape
    listed = []
    for truth in truths:
        if truth[0] == 0:
            break
        listed.append(truth)

    def box(n, j, i):
        at = parts[n, :, j, i]
        width, height = np.exp(at[2:4]) * anchors[n] / (columns, rows)
        return (i + at[0]) / columns, (j + at[1]) / rows, width, height

    for n in range(count):
        for j in range(rows):
            for i in range(columns):
                at = parts[n, :, j, i]
                best = max([0.0, *(iou(box(n, j, i), truth) for truth in listed)])
                delta[n, 4, j, i] = 0 if best > 0.6 else -at[4]
                if seen < 12_800:
                    prior = ((i + 0.5) / columns, (j + 0.5) / rows, anchors[n][0] / columns, anchors[n][1] / rows)
                    write_box(delta[n, :, j, i], at, prior, i, j, (rows, columns), anchors[n], 0.01)
    for truth in listed:
        i, j = int(truth[0] * columns), int(truth[1] * rows)
        shapes = [iou((0, 0, a[0] / columns, a[1] / rows), (0, 0, truth[2], truth[3])) for a in anchors]
        n = int(np.argmax(shapes))
        at, cell = parts[n, :, j, i], delta[n, :, j, i]
        write_box(cell, at, truth, i, j, (rows, columns), anchors[n], coord * (2 - truth[2] * truth[3]))
        cell[4] = 5 * (iou(box(n, j, i), truth) - at[4])
        wanted = 5 + int(truth[4])
        if cell[5] and not softmax:
            cell[wanted] = 1 - at[wanted]
        else:
            cell[5:] = (np.arange(5, entries) == wanted) - at[5:]
    return delta


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("softmax", "classes"), [(1, 1), (1, 3), (0, 3)])
@pytest.mark.parametrize("seen", [0, 12_799, 12_800])
def test_delta_is_darknets_loop(seed, softmax, classes, seen):
    anchors = "0.7,0.6,1.5,2.5,3,1.8"
    region = head(anchors, classes, softmax=softmax, coord_scale=2)
    raw, truth = random_case(seed, 3, classes)
    output = region(raw)
    pairs = np.reshape([float(value) for value in anchors.split(",")], (3, 2))
    parts = split(output, classes).double().numpy()
    wanted = [
        delta_cell_by_cell(image, truths, pairs, seen, softmax, coord=2)
        for image, truths in zip(parts, truth.double().numpy(), strict=True)
    ]
    delta = split(region.delta(output, truth, seen=seen, image=IMAGE), classes)
    np.testing.assert_allclose(delta.numpy(), np.stack(wanted), atol=2e-5)


def test_perfect_box_leaves_only_objectness():
    """Raw zeros: boxes of one cell, o = 1/2. Three empty cells give 0.5² each, the right one (5·(1 − 0.5))²."""
    region = head()
    output = region(torch.zeros(1, 6, 2, 2))
    delta = region.delta(output, truth_of((0.25, 0.25, 0.5, 0.5, 0)), seen=LATE, image=IMAGE)
    assert delta[0, :, 0, 0].tolist() == [0, 0, 0, 0, 2.5, 0]
    assert delta[0, 4].flatten().tolist() == [2.5, -0.5, -0.5, -0.5]
    assert float(delta.square().sum()) == 7.0


@pytest.mark.parametrize(("weight", "factor"), [(None, 2 - 0.4 * 0.5), ("2-w*h", 2 - 0.4 * 0.5), ("1", 1.0)])
def test_box_terms_carry_the_chosen_factor(weight, factor):
    region = head(**({} if weight is None else {"box_weight": weight}))
    output = region(torch.zeros(1, 6, 2, 2))
    delta = region.delta(output, truth_of((0.3, 0.2, 0.4, 0.5, 0)), seen=LATE, image=IMAGE)
    wanted = factor * np.array([0.6 - 0.5, 0.4 - 0.5, math.log(0.8), 0.0])
    np.testing.assert_allclose(delta[0, :4, 0, 0].numpy(), wanted, atol=1e-6)


def test_prior_pulls_boxes_to_the_anchors_until_12800_images():
    region, raw = head(), torch.zeros(1, 6, 2, 2)
    raw[0, 2:4, 1, 1] = torch.tensor([1.0, -2.0])
    output, none = region(raw), torch.zeros(1, 1, 5)
    early = region.delta(output, none, seen=12_799, image=IMAGE)[0, :4, 1, 1]
    np.testing.assert_allclose(early.numpy(), [0, 0, -0.01, 0.02], atol=1e-7)
    assert not region.delta(output, none, seen=12_800, image=IMAGE)[0, :4].any()


def test_box_that_overlaps_a_truth_well_is_not_punished():
    region = head("1,1,0.9,0.9")
    output = region(torch.zeros(1, 12, 2, 2))
    delta = split(region.delta(output, truth_of((0.25, 0.25, 0.5, 0.5, 0)), seen=LATE, image=IMAGE), 1)
    assert delta[0, :, 4, 0, 0].tolist() == [2.5, 0.0]
    assert delta[0, :, 4, 1, 1].tolist() == [-0.5, -0.5]


def test_without_rescore_objectness_aims_at_one():
    region = head(rescore=0)
    output = region(torch.zeros(1, 6, 2, 2))
    delta = region.delta(output, truth_of((0.3, 0.3, 0.9, 0.9, 0)), seen=LATE, image=IMAGE)
    assert float(delta[0, 4, 0, 0]) == 2.5


def test_truth_on_the_far_edge_belongs_to_the_last_cell():
    region = head()
    delta = region.delta(region(torch.zeros(1, 6, 2, 2)), truth_of((1.0, 1.0, 0.5, 0.5, 0)), seen=LATE, image=IMAGE)
    assert float(delta[0, 0, 1, 1]) == pytest.approx(1.75 * 0.5)


@pytest.mark.parametrize("softmax", [0, 1])
def test_raw_delta_is_the_gradient_through_the_activations(softmax):
    """½·(output + delta − output)² has the gradient −delta by the output; classes after softmax have cross-entropy."""
    region = head("1,1,2,3", 3, softmax=softmax)
    raw, truth = random_case(0, 2, 3)
    raw.requires_grad_()
    output = region(raw)
    delta = region.delta(output.detach(), truth, seen=0, image=IMAGE)
    error = 0.5 * split((output.detach() + delta - output).square(), 3)
    loss = error[:, :, :5].sum() + (0 if softmax else error[:, :, 5:].sum())
    if softmax:
        classes = split(delta, 3)[:, :, 5:]
        answered = classes.abs().sum(dim=2, keepdim=True) > 0
        targets = (classes + split(output.detach(), 3)[:, :, 5:]) * answered
        loss = loss - (targets * functional.log_softmax(split(raw, 3)[:, :, 5:], dim=2)).sum()
    loss.backward()
    torch.testing.assert_close(-raw.grad, region.raw_delta(delta, output.detach()), atol=1e-6, rtol=1e-5)


def test_boxes_are_decoded_in_cells():
    region, raw = head("1,3"), torch.zeros(1, 6, 2, 4)
    raw[0, 2, 1, 3] = math.log(2)
    found = region.boxes(region(raw), IMAGE)[0, 0]
    assert found.shape == (2, 4, 4)
    np.testing.assert_allclose(found[1, 3].numpy(), [3.5 / 4, 1.5 / 2, 2 / 4, 3 / 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias_match": 0}, "bias_match=0 is not supported, only bias_match=1"),
        ({"box_weight": "w*h"}, "only 2-w\\*h, 1"),
        ({"classes": 2}, "1 anchors and 2 classes need filters=7"),
        ({"num": 2}, "num=2 needs 4 positive anchors, got 2"),
        ({"anchors": "1,x"}, "anchors=1,x is not a number"),
        ({"thresh": "nan"}, "thresh=nan is not a number"),
    ],
)
def test_region_that_we_do_not_compute_is_refused(options, message):
    described = {"anchors": "1,1", "num": 1, "classes": 1} | OPTIONS | options
    with pytest.raises(NetworkFileError, match=message):
        Region(section("region", **described), [Shape(6, 2)])
