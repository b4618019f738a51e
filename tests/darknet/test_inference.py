import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers import darknet
from helpers.darknet import inference
from helpers.darknet.inference import FoldedConvolution, PackedConvolution, PairMaxpool

SECTIONS = (
    darknet.section("net", width=32, height=32, channels=3),
    darknet.section("convolutional", batch_normalize=1, filters=8, size=3, stride=2, pad=1, activation="leaky"),
    darknet.section("convolutional", filters=8, size=3, groups=2, pad=1, activation="linear"),
    darknet.section("maxpool", size=2, stride=1),
    darknet.section("convolutional", batch_normalize=1, filters=6, size=1, activation="linear"),
    darknet.section("yolo", anchors="3,3", num=1, classes=1),
)


def seen_patterns(network, seed=0):
    """Give a network scales, biases and statistics of images, as training would, so that its outputs are moderate."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.convolutions:
            layer.biases.normal_(0, 0.3, generator=generator)
            layer.momentum = 1.0
            if layer.batch_normalize:
                layer.scales.uniform_(0.5, 1.5, generator=generator)
        network.train()(images(4, network.size, seed=1))
    return network.eval()


def images(count, size, seed=5):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def assert_same(network, pictures):
    folded = darknet.folded(network)
    with torch.inference_mode():
        wanted = network.eval()(pictures)
    for ours, plain in zip(folded(pictures), wanted, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=5e-4)
    torch.testing.assert_close(darknet.scores(folded, pictures), darknet.scores(network, pictures), rtol=0, atol=5e-5)


@pytest.fixture(params=["packed", "plain"])
def kernels(request, monkeypatch):
    """Each choice that a torch may lead to, whatever this one has."""
    if request.param == "packed" and not inference._PACKS:
        pytest.skip("this torch has no oneDNN, so it has no packed weights")
    monkeypatch.setattr(inference, "_PACKS", request.param == "packed")
    return request.param


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("batch_norm", ["torch", "darknet-cpu"])
@pytest.mark.parametrize(
    ("build", "size", "width", "count"),
    [
        (darknet.yolov2, 96, 0.25, 9),
        (darknet.yolov2, 160, 0.125, 1),
        (darknet.yolov2, 64, 0.01, 3),
        (darknet.yolov3, 96, 0.125, 5),
        (darknet.yolov3, 224, 0.25, 2),
    ],
)
def test_heads_and_scores_are_those_of_the_plain_network(kernels, build, size, width, count, batch_norm):
    generator = torch.Generator().manual_seed(2)
    network = seen_patterns(build(size=size, width=width, batch_norm=batch_norm, generator=generator))
    assert_same(network, images(count, size))


def test_the_other_yolov2_has_a_bottleneck_before_the_reorg(kernels):
    network = darknet.yolov2(size=96, width=0.5, passthrough="yolov2-voc", generator=torch.Generator().manual_seed(3))
    assert_same(seen_patterns(network), images(40, 96))


def test_images_of_another_size_pass(kernels):
    network = seen_patterns(darknet.yolov2(size=96, width=0.25, generator=torch.Generator().manual_seed(4)))
    assert_same(network, images(20, 160))


def test_more_images_than_a_pass_takes_keep_their_order(kernels):
    network = seen_patterns(darknet.yolov3(size=96, width=0.25, generator=torch.Generator().manual_seed(6)))
    folded, pictures = darknet.folded(network), images(60, 96)
    assert folded.images_a_pass > 60
    folded.images_a_pass = 7
    alone = torch.cat([darknet.scores(folded, picture[None]) for picture in pictures])
    assert len(alone.unique()) == 60
    torch.testing.assert_close(darknet.scores(folded, pictures), alone, rtol=0, atol=1e-5)


def test_large_images_run_one_at_a_time():
    assert darknet.folded(darknet.yolov2(size=416, width=0.01)).images_a_pass == 6
    assert darknet.folded(darknet.yolov2(size=608, width=0.5)).images_a_pass == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_any_number_of_threads_gives_the_same(kernels, threads, number):
    threads(number)
    network = seen_patterns(darknet.yolov2(size=64, width=0.25, generator=torch.Generator().manual_seed(7)))
    assert_same(network, images(7, 64))


def test_strides_groups_no_batch_norm_and_other_pools_are_kept(kernels):
    network = seen_patterns(darknet.Network(SECTIONS, generator=torch.Generator().manual_seed(8)))
    assert_same(network, images(5, 32))


@pytest.mark.parametrize("batch_norm", ["torch", "darknet-cpu"])
def test_each_kind_of_batch_normalisation_is_folded_with_its_own_epsilon(batch_norm):
    network = darknet.Network(SECTIONS, batch_norm=batch_norm, generator=torch.Generator().manual_seed(8)).double()
    layer, values = network.layers[0].eval(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    layer.rolling_variance.fill_(1e-5)
    weights, bias = layer.folded()
    found = functional.leaky_relu(functional.conv2d(values, weights, bias, layer.stride, layer.padding), 0.1)
    torch.testing.assert_close(found, layer(values), rtol=1e-9, atol=1e-9)


def test_memory_order_of_the_images_does_not_matter(kernels):
    network = seen_patterns(darknet.yolov2(size=64, width=0.25, generator=torch.Generator().manual_seed(9)))
    folded, gray = darknet.folded(network), torch.rand(3, 1, 64, 64)
    wanted = darknet.scores(network, gray.expand(-1, 3, -1, -1).contiguous())
    for pictures in (gray.expand(-1, 3, -1, -1), gray.repeat(1, 3, 1, 1).to(memory_format=torch.channels_last)):
        torch.testing.assert_close(darknet.scores(folded, pictures), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_not_changed_and_later_changes_do_not_count(kernels, training):
    network = seen_patterns(darknet.yolov2(size=64, width=0.25)).train(training)
    before, pictures = copy.deepcopy(network.state_dict()), images(3, 64)
    folded = darknet.folded(network)
    scores = darknet.scores(folded, pictures)
    assert network.training is training
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    with torch.no_grad():
        for layer in network.convolutions:
            layer.weights.zero_()
            layer.biases.zero_()
    assert torch.equal(darknet.scores(folded, pictures), scores)


@pytest.mark.parametrize("channels", [512, 513, 1100])
@pytest.mark.parametrize("activation", ["leaky", "linear"])
def test_many_channels_are_summed_in_parts(kernels, channels, activation):
    wide = {"batch_normalize": 1, "size": 3, "pad": 1}
    sections = (
        darknet.section("net", width=32, height=32, channels=3),
        darknet.section("convolutional", **wide, filters=channels, stride=4, activation="leaky"),
        darknet.section("convolutional", **wide, filters=8, activation=activation),
        darknet.section("convolutional", filters=6, size=1, activation="linear"),
        darknet.section("yolo", anchors="3,3", num=1, classes=1),
    )
    network = seen_patterns(darknet.Network(sections, generator=torch.Generator().manual_seed(11)))
    if kernels == "packed":
        assert len(darknet.folded(network).layers[1].weights) == -(-channels // 512)
    assert_same(network, images(3, 32))


def test_every_convolution_is_packed_where_torch_can(kernels):
    folded = darknet.folded(darknet.yolov2(size=96, width=0.25))
    kinds = [type(layer) for layer in folded.layers]
    assert kinds.count(PackedConvolution if kernels == "packed" else FoldedConvolution) == 22
    assert kinds.count(PairMaxpool) == 5
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert not list(folded.parameters())


def test_this_torch_packs_where_it_has_onednn():
    assert inference._PACKS is torch.backends.mkldnn.is_available()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_changes_scores_by_its_rounding_only(precision):
    network = seen_patterns(darknet.yolov2(size=64, width=0.25, generator=torch.Generator().manual_seed(10)))
    folded, pictures = darknet.folded(network, precision=precision), images(6, 64)
    found, wanted = darknet.scores(folded, pictures), darknet.scores(network, pictures)
    assert found.dtype == torch.float32
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)
    assert {layer.weights.dtype for layer in folded.layers if hasattr(layer, "weights")} == {precision}
