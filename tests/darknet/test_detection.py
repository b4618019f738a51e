import math

import pytest
import torch

from helpers import darknet


def network_with_biases(build, head, values):
    """A network whose heads give the same raw numbers in every cell: 0, and `values` for one anchor of one head."""
    network = build(size=64, width=0.01, generator=torch.Generator().manual_seed(0))
    layers = list(network.layers)
    for number, module in enumerate(network.heads):
        linear = layers[layers.index(module) - 1]
        with torch.no_grad():
            linear.weights.zero_()
            if number == head:
                linear.biases[6:12] = torch.tensor(values)
    return network


def test_score_of_yolov2_is_the_highest_objectness():
    network = network_with_biases(darknet.yolov2, 0, [0, 0, 0, 0, math.log(4), -3])
    assert darknet.scores(network, torch.rand(3, 3, 64, 64)).tolist() == pytest.approx([0.8] * 3)


@pytest.mark.parametrize("head", [0, 1, 2])
def test_score_of_yolov3_is_the_highest_objectness_times_class_of_all_heads(head):
    network = network_with_biases(darknet.yolov3, head, [0, 0, 0, 0, math.log(4), math.log(3)])
    assert darknet.scores(network, torch.rand(2, 3, 64, 64)).tolist() == pytest.approx([0.8 * 0.75] * 2)


def test_best_box_has_the_place_of_its_cell_and_the_size_of_its_anchor():
    network = network_with_biases(darknet.yolov2, 0, [0, 0, math.log(0.5), 0, 2, 0])
    found = darknet.detections(network, torch.rand(2, 3, 64, 64))
    box = [0.25, 0.25, 0.5 * 3.42 / 13, 4.41 / 13, 1 / (1 + math.exp(-2))]
    assert found[1].tolist() == pytest.approx(box, rel=1e-5)


def test_best_box_of_yolov3_comes_from_the_head_that_has_it():
    network = network_with_biases(darknet.yolov3, 2, [0, 0, 0, 0, 2, 2])
    found = darknet.detections(network, torch.rand(1, 3, 64, 64))[0]
    assert found[:4].tolist() == pytest.approx([0.5 / 8, 0.5 / 8, 16 / 608, 30 / 608], rel=1e-5)


@pytest.mark.parametrize("build", [darknet.yolov2, darknet.yolov3])
def test_scores_and_detections_agree_image_by_image(build):
    network = build(size=64, width=0.01, generator=torch.Generator().manual_seed(1))
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    scores = darknet.scores(network, images)
    assert scores.shape == (4,)
    assert torch.equal(scores, darknet.detections(network, images)[:, 4])
    alone = torch.cat([darknet.scores(network, image[None]) for image in images])
    torch.testing.assert_close(scores, alone)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_network_as_it_was(training):
    network = darknet.yolov2(size=64, width=0.01).train(training)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    darknet.scores(network, torch.rand(2, 3, 64, 64))
    assert network.training == training
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
