"""The folded network: the scores of the plain one, whatever its size, its statistics, and the number of images."""

import pytest
import torch
from torch.nn import functional

from helpers import darknet
from helpers.darknet.winograd import WinogradConvolution

TOLERANCE = 2e-5
"""Largest difference of a score between the plain and the folded network."""


def trained(build, *, size, width, seed=0):
    """A network whose batch statistics, scales and biases are none of the first ones."""
    generator = torch.Generator().manual_seed(seed)
    network = build(size=size, width=width, generator=generator)
    with torch.no_grad():
        for layer in network.convolutions:
            layer.biases.uniform_(-0.2, 0.2, generator=generator)
            if layer.batch_normalize:
                layer.scales.uniform_(0.5, 1.5, generator=generator)
                layer.rolling_mean.uniform_(-0.3, 0.3, generator=generator)
                layer.rolling_variance.uniform_(0.5, 2, generator=generator)
    return network.eval()


def pictures(count, size, seed=1):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("build", [darknet.yolov2, darknet.yolov3])
@pytest.mark.parametrize(("size", "width"), [(96, 0.25), (160, 0.125)])
@pytest.mark.parametrize("count", [1, 5])
def test_scores_are_those_of_the_plain_network(build, size, width, count):
    network, images = trained(build, size=size, width=width), pictures(count, size)
    wanted = darknet.scores(network, images)
    found = darknet.scores(darknet.folded(network), images)
    assert found.shape == (count,)
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE)


def test_a_full_width_network_uses_winograd_and_agrees():
    network, images = trained(darknet.yolov2, size=96, width=1.0), pictures(9, 96)
    fast = darknet.folded(network)
    assert sum(isinstance(layer, WinogradConvolution) for layer in fast.layers) > 5
    torch.testing.assert_close(darknet.scores(fast, images), darknet.scores(network, images), rtol=0, atol=TOLERANCE)


def test_images_of_another_size_pass():
    network = trained(darknet.yolov2, size=96, width=0.25)
    images = pictures(3, 160)
    torch.testing.assert_close(
        darknet.scores(darknet.folded(network), images), darknet.scores(network, images), rtol=0, atol=TOLERANCE
    )


def test_darknets_own_normalisation_is_folded_as_it_is(tmp_path):
    usual = trained(darknet.yolov2, size=96, width=0.125)
    first = usual.convolutions[0]
    with torch.no_grad():  # so small a variance that it matters where epsilon is added
        first.rolling_variance.fill_(1e-4)
        first.scales.mul_(0.01)
    darknet.write_cfg(usual, tmp_path / "net.cfg")
    network = darknet.read_cfg(tmp_path / "net.cfg", batch_norm="darknet-cpu").eval()
    network.load_state_dict(usual.state_dict())
    images = pictures(2, 96)
    wanted = darknet.scores(network, images)
    torch.testing.assert_close(darknet.scores(darknet.folded(network), images), wanted, rtol=0, atol=TOLERANCE)
    assert float((darknet.scores(usual, images) - wanted).abs().max()) > 10 * TOLERANCE


def test_the_network_given_is_neither_changed_nor_followed():
    network, images = trained(darknet.yolov2, size=96, width=0.25), pictures(2, 96)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast = darknet.folded(network)
    first = darknet.scores(fast, images)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    with torch.no_grad():
        for layer in network.convolutions:
            layer.weights.zero_()
            layer.biases.zero_()
    assert torch.equal(darknet.scores(fast, images), first)
    assert not torch.equal(darknet.scores(network, images), first)


def test_heads_are_given_what_functional_convolutions_give():
    network, images = trained(darknet.yolov3, size=96, width=0.125), pictures(2, 96)
    with torch.inference_mode():
        found, wanted = darknet.folded(network)(images), network(images)
    assert len(found) == len(wanted) == 3
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=5e-3)  # exponentials of box sizes
        assert functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.9999
