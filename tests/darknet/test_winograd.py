import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from helpers.darknet.winograd import WinogradConvolution, Workspace, best_tile, transforms


def convolved(values, weights, bias, leaky):
    plain = functional.conv2d(values, weights, bias, padding=1)
    return functional.leaky_relu(plain, 0.1) if leaky else plain


def drawn(seed, *shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("tile", [3, 4, 5])
def test_transforms_give_the_correlation_of_any_signal_with_any_three_weights(tile):
    outputs, of_weights, inputs = transforms(tile)
    signal, weights = drawn(0, tile + 2, 3)
    wanted = torch.stack([signal[start : start + 3] @ weights for start in range(tile)])
    torch.testing.assert_close(outputs @ ((of_weights @ weights) * (inputs @ signal)), wanted)


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 5),
    channels=st.integers(1, 7),
    filters=st.integers(1, 7),
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    side=st.integers(1, 60),
    leaky=st.booleans(),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_it_is_the_plain_convolution_for_any_shape(
    images, channels, filters, rows, columns, side, leaky, channels_last, seed
):
    values, weights, bias = drawn(
        seed, (images, channels, rows, columns), (filters, channels, 3, 3), (filters,), dtype=torch.float64
    )
    values = values.to(memory_format=torch.channels_last) if channels_last else values
    given_values = values.clone()
    found = WinogradConvolution(weights, bias, side=side, leaky=leaky)(values)
    torch.testing.assert_close(found, convolved(values, weights, bias, leaky), rtol=1e-9, atol=1e-9)
    assert torch.equal(values, given_values)


@pytest.mark.parametrize(("side", "tile"), [(3, 3), (26, 4), (52, 4), (13, 5), (19, 5)])
def test_the_tile_has_few_products_for_the_sides_of_our_networks(side, tile):
    assert best_tile(side) == tile


@pytest.mark.parametrize("side", [13, 26, 3])
def test_float32_rounding_stays_near_that_of_the_plain_convolution(side):
    values, weights, bias = drawn(1, (8, 128, side, side), (128, 128, 3, 3), (128,), dtype=torch.float32)
    weights /= (9 * 128) ** 0.5
    exact = convolved(values.double(), weights.double(), bias.double(), True)
    error = (WinogradConvolution(weights, bias, side=side, leaky=True)(values) - exact).abs().max()
    assert 0 < error < 1e-4


def test_many_tiles_are_done_in_steps_and_few_at_once():
    values, weights, bias = drawn(2, (1, 4, 100, 90), (4, 4, 3, 3), (4,))
    convolution = WinogradConvolution(weights, bias, side=100, leaky=False)
    assert len(list(convolution._steps(1, 25, 23))) > 1
    torch.testing.assert_close(convolution(values), convolved(values, weights, bias, False))
    few = values[:, :, :4, :4]
    workspace = Workspace()
    torch.testing.assert_close(convolution(few, workspace), convolved(few, weights, bias, False))
    assert not workspace._held


def test_layers_may_share_a_workspace():
    values, first, second, bias = drawn(3, (4, 8, 26, 26), (16, 8, 3, 3), (8, 16, 3, 3), (16,))
    workspace = Workspace()
    layers = [
        WinogradConvolution(first, bias, side=26, leaky=True),
        WinogradConvolution(second, bias[:8], side=26, leaky=True),
    ]
    for layer in layers:
        layer.reserve(workspace)
    between = layers[0](values, workspace)
    kept = between.clone()
    found = layers[1](between, workspace)
    assert torch.equal(between, kept)
    torch.testing.assert_close(found, convolved(kept, second, bias[:8], True))


def test_reserved_memory_does_not_grow():
    workspace, like = Workspace(), torch.zeros(1)
    workspace.reserve("weights", 100)
    small = workspace.take("weights", (3, 4), like)
    assert workspace.take("weights", (10, 10), like).data_ptr() == small.data_ptr()
    assert workspace.take("weights", (11, 10), like).shape == (11, 10)
