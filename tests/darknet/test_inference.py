import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from helpers import darknet
from helpers.darknet.inference import FoldedConvolution, PackedConvolution, PairMaxpool
from helpers.darknet.winograd import WinogradConvolution

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


KERNELS = {
    "packed": {"_WIDE_VECTORS": True},
    "winograd and packed": {"_WIDE_VECTORS": False},
    "winograd and folded": {"_WIDE_VECTORS": False, "_PACKS": False},
}


@pytest.fixture(params=KERNELS)
def kernels(request, monkeypatch):
    """Each choice that a processor may lead to, whatever this one is."""
    if "packed" in request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN, so it has no packed weights")
    for name, value in KERNELS[request.param].items():
        monkeypatch.setattr(f"helpers.darknet.inference.{name}", value)
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


def test_more_images_than_a_stage_takes_at_once_keep_their_order(kernels):
    network = seen_patterns(darknet.yolov3(size=96, width=0.25, generator=torch.Generator().manual_seed(6)))
    folded, pictures = darknet.folded(network), images(60, 96)
    assert len(folded._stages) > 2
    assert folded._stages[0][1] < 60
    alone = torch.cat([darknet.scores(folded, picture[None]) for picture in pictures])
    assert len(alone.unique()) == 60
    torch.testing.assert_close(darknet.scores(folded, pictures), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_threads_share_the_images_and_leave_the_number_of_threads(kernels, threads, number):
    threads(number)
    network = seen_patterns(darknet.yolov2(size=64, width=0.25, generator=torch.Generator().manual_seed(7)))
    assert_same(network, images(7, 64))
    assert torch.get_num_threads() == number


def test_an_error_reaches_the_caller_from_a_thread_as_well(kernels, threads):
    threads(2)
    folded = darknet.folded(darknet.yolov2(size=64, width=0.01))
    with pytest.raises(RuntimeError):
        folded(torch.rand(4, 2, 64, 64))
    assert torch.get_num_threads() == 2


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


def test_wide_layers_are_winograds_where_vectors_are_short_and_the_rest_is_packed(kernels):
    folded = darknet.folded(darknet.yolov2(size=96, width=0.25))
    kinds = [type(layer) for layer in folded.layers]
    winograds = 6 if "winograd" in kernels else 0
    others = PackedConvolution if "packed" in kernels else FoldedConvolution
    assert (kinds.count(WinogradConvolution), kinds.count(others)) == (winograds, 22 - winograds)
    assert kinds.count(PairMaxpool) == 5
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert not list(folded.parameters())


def test_the_kernels_are_those_that_this_processor_is_fast_with():
    kinds = {type(layer) for layer in darknet.folded(darknet.yolov2(size=96, width=0.25)).layers}
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert (PackedConvolution in kinds) is torch.backends.mkldnn.is_available()
    assert (WinogradConvolution in kinds) is not wide


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_changes_scores_by_its_rounding_only(precision):
    network = seen_patterns(darknet.yolov2(size=64, width=0.25, generator=torch.Generator().manual_seed(10)))
    folded, pictures = darknet.folded(network, precision=precision), images(6, 64)
    found, wanted = darknet.scores(folded, pictures), darknet.scores(network, pictures)
    assert found.dtype == torch.float32
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)
    assert {layer.weights.dtype for layer in folded.layers if hasattr(layer, "weights")} == {precision}
