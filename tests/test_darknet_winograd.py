"""Winograd's convolution beside torch's own, for every tile, side and number of channels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from helpers.darknet.layers import LEAKY_SLOPE
from helpers.darknet.winograd import WinogradConvolution, best_tile, transforms


@pytest.mark.parametrize("tile", [3, 4, 5])
def test_the_matrices_give_the_correlation_exactly(tile):
    outputs, weights, inputs = transforms(tile)
    generator = torch.Generator().manual_seed(tile)
    kernel = torch.rand(3, generator=generator, dtype=torch.float64)
    values = torch.rand(tile + 2, generator=generator, dtype=torch.float64)
    found = outputs @ ((weights @ kernel) * (inputs @ values))
    wanted = functional.conv1d(values[None, None], kernel[None, None])[0, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 5),
    channels=st.integers(1, 9),
    filters=st.integers(1, 9),
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    side=st.integers(3, 60),
    leaky=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_it_is_a_convolution_with_padding(count, channels, filters, rows, columns, side, leaky, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, channels, rows, columns, generator=generator, dtype=torch.float64)
    weights = torch.randn(filters, channels, 3, 3, generator=generator, dtype=torch.float64)
    bias = torch.randn(filters, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        found = WinogradConvolution(weights, bias, side=side, leaky=leaky)(values)
    wanted = functional.conv2d(values, weights, bias, padding=1)
    if leaky:
        wanted = functional.leaky_relu(wanted, LEAKY_SLOPE)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", [13, 26, 52, 104, 19, 38, 76])
def test_in_float32_the_rounding_error_stays_small(side):
    generator = torch.Generator().manual_seed(side)
    values = torch.randn(2, 64, side, side, generator=generator)
    weights, bias = torch.randn(64, 64, 3, 3, generator=generator), torch.zeros(64)
    with torch.inference_mode():
        found = WinogradConvolution(weights, bias, side=side, leaky=False)(values)
    wanted = functional.conv2d(values.double(), weights.double(), padding=1)
    assert float((found - wanted).abs().max() / wanted.std()) < 1e-4


def test_the_tile_wastes_little():
    assert all(-(-side // best_tile(side)) * best_tile(side) < 1.35 * side for side in range(13, 105))
