import pytest
import torch

from helpers import darknet


def small(build, **options):
    return build(size=64, width=0.01, generator=torch.Generator().manual_seed(0), **options)


def batch(images=4):
    generator = torch.Generator().manual_seed(5)
    truth = torch.zeros(images, 30, 5)
    truth[: images // 2, 0] = torch.tensor([0.5, 0.4, 0.7, 0.6, 0])
    return torch.rand(images, 3, 64, 64, generator=generator), truth


each_build = pytest.mark.parametrize("build", [darknet.yolov2, darknet.yolov3])


@each_build
def test_heads_alone_and_all_outputs_agree(build):
    network, (images, _) = small(build).eval(), batch()
    every = network.all_outputs(images)
    heads = [output for layer, output in zip(network.layers, every, strict=True) if layer in network.heads]
    assert len(every) == len(network.layers)
    assert all(torch.equal(ours, wanted) for ours, wanted in zip(network(images), heads, strict=True))
    for layer, output in zip(network.layers, every, strict=True):
        assert output.shape[1:] == (layer.shape.channels, layer.shape.side, layer.shape.side)


@each_build
def test_gradient_of_the_loss_by_what_the_heads_are_given_is_minus_delta(build):
    network, (images, truth) = small(build), batch()
    steps = network.head_steps(images)
    biases = [network.layers[list(network.layers).index(step.layer) - 1].biases for step in steps]
    loss, _ = darknet.loss(network, images, truth, seen=0)
    loss.backward()
    for step, bias in zip(steps, biases, strict=True):
        output = step.output.detach()
        delta = step.layer.delta(output, truth, seen=0, image=(64, 64))
        torch.testing.assert_close(-bias.grad, step.layer.raw_delta(delta, output).sum((0, 2, 3)), rtol=1e-4, atol=1e-4)


@each_build
def test_loss_and_cost_give_the_same_cost(build):
    network, (images, truth) = small(build), batch()
    _, quick = darknet.loss(network, images, truth, seen=0)
    cost, layer_costs = darknet.cost(network, images, truth, seen=0)
    assert torch.equal(quick, cost)
    assert layer_costs.shape == (len(network.layers),)
    assert int(layer_costs.count_nonzero()) == len(network.heads)
    assert float(cost) == pytest.approx(float(layer_costs.sum()) / len(network.heads))
    assert not cost.requires_grad


@each_build
def test_a_few_steps_along_the_loss_lower_the_cost(build):
    network, (images, truth) = small(build), batch()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    costs = []
    for _ in range(12):
        optimizer.zero_grad()
        loss, cost = darknet.loss(network, images, truth, seen=12_800)
        (loss / len(images)).backward()
        optimizer.step()
        costs.append(float(cost))
    assert costs[-1] < 0.6 * costs[0]


@each_build
def test_images_without_a_truth_cost_only_their_objectness(build):
    network, (images, truth) = small(build), batch()
    _, layer_costs = darknet.cost(network, images, torch.zeros_like(truth), seen=12_800)
    outputs = network(images)
    wanted = [output.unflatten(1, (-1, 6))[:, :, 4].square().sum() for output in outputs]
    torch.testing.assert_close(layer_costs[layer_costs > 0], torch.stack(wanted).detach())


def test_layer_that_reads_the_images_again_is_possible():
    sections = [
        darknet.section("net", width=8, height=8, channels=2),
        darknet.section("convolutional", filters=2, size=1, activation="linear"),
        darknet.section("maxpool", size=2, stride=1),
        darknet.section("shortcut", **{"from": 0}),
        darknet.section("route", layers="0,-1"),
    ]
    outputs = darknet.Network(sections).all_outputs(torch.rand(1, 2, 8, 8))
    assert torch.equal(outputs[3], torch.cat([outputs[0], outputs[1] + outputs[0]], dim=1))
    assert darknet.Network(sections)(torch.rand(1, 2, 8, 8)) == []


def test_state_holds_only_what_a_weights_file_holds():
    network = small(darknet.yolov3)
    assert sum(values.numel() for values in network.state_dict().values()) == sum(darknet.float_counts(network))
