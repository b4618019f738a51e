"""Our networks against outputs, costs, gradients and weights that Darknet in C computed on a CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import ROOT, darknet
from helpers.darknet import float_counts

REFERENCE = Path(__file__).with_name("reference")
TINY_DARKNET = ROOT.parent / "shared" / "data" / "tiny_darknet_imagenet.weights"
NAMES = ("mini_yolov2", "mini_yolov3")
SEEN = {"train_seen0": 0, "train_seen20000": 20_000}
TRAINING_STEP = {"lr": 0.001, "momentum": 0.9}
DECAY = 0.0005

each_network = pytest.mark.parametrize("name", NAMES)
each_mode = pytest.mark.parametrize("mode", SEEN)


def network_of(name):
    network = darknet.read_cfg(REFERENCE / f"{name}.cfg", batch_norm="darknet-cpu")
    assert darknet.read_weights(network, REFERENCE / f"{name}.weights") == 0
    return network


def reference_of(name):
    with np.load(REFERENCE / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def outputs_of(reference, mode):
    """Darknet's outputs; those in training do not depend on the images seen, and are stored once."""
    prefix = "test/out_" if mode == "test" else "train_seen0/out_"
    return [reference[key] for key in sorted(reference) if key.startswith(prefix)]


def stored_pixels(values, stored):
    """The rows and columns of an output that are stored of it, all or every fourth."""
    step = values.shape[-1] // stored.shape[-1]
    return values[..., ::step, ::step]


def farthest(values, wanted):
    return float((values - wanted).detach().abs().max())


@each_network
@pytest.mark.parametrize("mode", ["test", *SEEN])
def test_every_layer_gives_darknets_output(name, mode):
    network, reference = network_of(name).train(mode != "test"), reference_of(name)
    outputs, wanted = network.all_outputs(reference["input"]), outputs_of(reference, mode)
    assert len(outputs) == len(wanted) == len(network.layers)
    assert {ours.shape[-1] // stored.shape[-1] for ours, stored in zip(outputs, wanted, strict=True)} == {1, 4}
    assert max(map(farthest, map(stored_pixels, outputs, wanted), wanted)) < 1e-4


@each_network
def test_heads_are_the_outputs_of_the_loss_layers(name):
    network, reference = network_of(name).eval(), reference_of(name)
    stored = [layer for layer, delta in enumerate(network.layers) if f"train_seen0/delta_{layer:03d}" in reference]
    outputs = network(reference["input"])
    wanted = [reference[f"test/out_{layer:03d}"] for layer in stored]
    assert len(outputs) == len(wanted) > 0
    assert max(map(farthest, outputs, wanted)) < 1e-4


@each_network
@each_mode
def test_cost_is_darknets(name, mode):
    network, reference = network_of(name), reference_of(name)
    cost, layer_costs = darknet.cost(network, reference["input"], reference["truth"], seen=SEEN[mode])
    assert float(cost) == pytest.approx(float(reference[f"{mode}/cost"]), rel=1e-5)
    torch.testing.assert_close(layer_costs.double(), reference[f"{mode}/layer_cost"], rtol=1e-5, atol=0)


@each_network
@each_mode
def test_deltas_are_darknets_for_darknets_outputs(name, mode):
    network, reference = network_of(name), reference_of(name)
    for head in network.heads:
        layer = list(network.layers).index(head)
        output = outputs_of(reference, mode)[layer]
        delta = head.delta(output, reference["truth"], seen=SEEN[mode], image=reference["input"].shape[-2:])
        assert farthest(delta, reference[f"{mode}/delta_{layer:03d}"]) < 1e-6


@each_network
@each_mode
def test_deltas_at_the_end_of_our_own_forward_pass_are_darknets(name, mode):
    """Relative to the largest: Darknet sums the batch statistics one by one in float32, which moves outputs by 1e-5."""
    network, reference = network_of(name), reference_of(name)
    for step in network.head_steps(reference["input"]):
        wanted = reference[f"{mode}/delta_{list(network.layers).index(step.layer):03d}"]
        delta = step.layer.delta(step.output.detach(), reference["truth"], seen=SEEN[mode], image=(64, 64))
        assert farthest(delta, wanted) < 1e-5 * float(wanted.abs().max())


@each_mode
def test_gradients_in_front_of_the_yolo_heads_are_darknets(mode):
    network, reference = network_of("mini_yolov3"), reference_of("mini_yolov3")
    loss, cost = darknet.loss(network, reference["input"], reference["truth"], seen=SEEN[mode])
    loss.backward()
    assert float(cost) == pytest.approx(float(reference[f"{mode}/cost"]), rel=1e-5)
    for layer in (12, 19):
        found = network.layers[layer]
        for gradient, kind in ((found.weights.grad, "wgrad"), (found.biases.grad, "bgrad")):
            update = reference[f"{mode}/{kind}_{layer:03d}"].reshape(gradient.shape)
            assert farthest(-gradient, update) < 1e-5 * float(update.abs().max())


@each_mode
def test_weights_in_front_of_the_yolo_heads_after_one_step_are_darknets(mode):
    network, reference = network_of("mini_yolov3"), reference_of("mini_yolov3")
    loss, _ = darknet.loss(network, reference["input"], reference["truth"], seen=SEEN[mode])
    (loss / len(reference["input"])).backward()
    step(network)
    after = weights_after(network, "mini_yolov3", mode)
    for layer in (12, 19):
        for ours, theirs in zip(network.layers[layer].file_tensors, after.layers[layer].file_tensors, strict=True):
            assert farthest(ours, theirs) < 1e-6


@each_mode
def test_yolov2_without_gradients_decays_as_in_darknet(mode):
    """Darknet's backward pass of the region layer is empty on a CPU, so its step only decays the weights."""
    network, reference = network_of("mini_yolov2"), reference_of("mini_yolov2")
    network(reference["input"])
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step(network)
    after = weights_after(network, "mini_yolov2", mode)
    for ours, theirs in zip(network.convolutions, after.convolutions, strict=True):
        assert max(map(farthest, ours.file_tensors, theirs.file_tensors)) < 1e-6


@each_network
def test_running_statistics_after_a_pass_are_darknets(name):
    network, reference = network_of(name), reference_of(name)
    network(reference["input"])
    compared = 0
    for layer, module in enumerate(network.layers):
        if f"train_seen0/rmean_{layer:03d}" in reference:
            assert farthest(module.rolling_mean, reference[f"train_seen0/rmean_{layer:03d}"]) < 1e-6
            assert farthest(module.rolling_variance, reference[f"train_seen0/rvar_{layer:03d}"]) < 1e-6
            compared += 1
    assert compared == sum(layer.batch_normalize for layer in network.convolutions)


@each_network
def test_darknets_files_written_again_are_the_same(name, tmp_path):
    network = network_of(name)
    darknet.write_weights(network, tmp_path / "again.weights", seen=0)
    darknet.write_cfg(network, tmp_path / "again.cfg")
    assert (tmp_path / "again.weights").read_bytes() == (REFERENCE / f"{name}.weights").read_bytes()
    assert (tmp_path / "again.cfg").read_text().split() == (REFERENCE / f"{name}.cfg").read_text().replace(
        ", ", ","
    ).split()


@each_network
@each_mode
def test_images_seen_are_read_from_darknets_header(name, mode):
    network = network_of(name)
    assert darknet.read_weights(network, REFERENCE / f"{name}.{mode}.after1.weights") == SEEN[mode] + 2


def test_tiny_darknet_trained_on_imagenet_loads_with_no_float_left_over(tmp_path):
    path = TINY_DARKNET
    if not path.is_file():
        pytest.skip("the real weight file of Tiny Darknet is not beside this checkout")
    network = tiny_darknet()
    darknet.read_weights(network, path)
    assert sum(float_counts(network)) * 4 + 16 == path.stat().st_size
    darknet.write_weights(network, tmp_path / "again.weights", seen=0)
    assert (tmp_path / "again.weights").read_bytes()[20:] == path.read_bytes()[16:]
    assert all((layer.rolling_variance > 0).all() for layer in network.convolutions if layer.batch_normalize)


def tiny_darknet():
    filters = "16x3 M 32x3 M 16x1 128x3 16x1 128x3 M 32x1 256x3 32x1 256x3 M 64x1 512x3 64x1 512x3 128x1"
    sections = [darknet.section("net", width=224, height=224, channels=3)]
    for layer in filters.split():
        if layer == "M":
            sections.append(darknet.section("maxpool", size=2, stride=2))
        else:
            count, size = layer.split("x")
            options = {"batch_normalize": 1, "filters": count, "size": size, "pad": 1, "activation": "leaky"}
            sections.append(darknet.section("convolutional", **options))
    sections.append(darknet.section("convolutional", filters=1000, size=1, pad=1, activation="linear"))
    return darknet.Network(sections)


def step(network):
    """One step as Darknet's: only weights decay."""
    decaying = [layer.weights for layer in network.convolutions]
    others = [parameter for name, parameter in network.named_parameters() if not name.endswith("weights")]
    groups = [{"params": decaying, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    torch.optim.SGD(groups, **TRAINING_STEP).step()


def weights_after(network, name, mode):
    after = darknet.Network(network.sections)
    darknet.read_weights(after, REFERENCE / f"{name}.{mode}.after1.weights")
    return after
