import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from helpers.darknet import section
from helpers.darknet.layers import Convolutional, Maxpool, Reorg, Route, Shape, Shortcut, Upsample
from helpers.errors import NetworkFileError


def images(count, channels, side, seed=0):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


def convolution(batch_norm="torch", momentum=0.01, side=8, **options):
    described = {"batch_normalize": 1, "filters": 4, "size": 3, "pad": 1, "activation": "leaky"} | options
    layer = Convolutional(
        section("convolutional", **described), [Shape(3, side)], batch_norm=batch_norm, momentum=momentum
    )
    layer.initialise(torch.Generator().manual_seed(1))
    return layer


def reorg_as_in_c(values, stride):
    """The loop of reorg_cpu in Darknet's blas.c, index by index."""
    channels, rows, columns = values.shape
    flat, result = values.ravel(), np.empty(values.size, values.dtype)
    few = channels // stride**2
    for k in range(channels):
        for j in range(rows):
            for i in range(columns):
                offset = k // few
                column, row = i * stride + offset % stride, j * stride + offset // stride
                result[i + columns * (j + rows * k)] = flat[
                    column + columns * stride * (row + rows * stride * (k % few))
                ]
    return result.reshape(channels * stride**2, rows // stride, columns // stride)


def maxpool_as_in_c(values, size, stride, padding):
    """The loop of forward_maxpool_layer in Darknet, window by window."""
    side = len(values)
    windows, offset = (side + padding - size) // stride + 1, -(padding // 2)
    result = np.full((windows, windows), -math.inf, np.float32)
    for row in range(windows):
        for column in range(windows):
            top, left = offset + row * stride, offset + column * stride
            result[row, column] = values[max(0, top) : top + size, max(0, left) : left + size].max()
    return result


@pytest.mark.parametrize(("channels", "side", "stride"), [(4, 2, 2), (8, 6, 2), (9, 6, 3), (64, 4, 2)])
def test_reorg_is_darknets_loop(channels, side, stride):
    values = images(2, channels, side)
    layer = Reorg(section("reorg", stride=stride), [Shape(channels, side)])
    wanted = np.stack([reorg_as_in_c(image, stride) for image in values.numpy()])
    assert np.array_equal(layer(values).numpy(), wanted)
    assert layer.shape == (channels * stride**2, side // stride)


def test_reorg_is_not_space_to_depth():
    values = images(1, 8, 4)
    layer = Reorg(section("reorg", stride=2), [Shape(8, 4)])
    assert not torch.equal(
        layer(values).sort(dim=1).values, nn.functional.pixel_unshuffle(values, 2).sort(dim=1).values
    )


@given(side=st.integers(4, 9), size=st.integers(1, 4), stride=st.integers(1, 3), padding=st.none() | st.integers(0, 2))
def test_maxpool_is_darknets_loop(side, size, stride, padding):
    padding = size - 1 if padding is None else min(padding, size - 1)
    values = images(1, 1, side)
    layer = Maxpool(section("maxpool", size=size, stride=stride, padding=padding), [Shape(1, side)])
    wanted = maxpool_as_in_c(values[0, 0].numpy(), size, stride, padding)
    assert np.array_equal(layer(values)[0, 0].numpy(), wanted)
    assert layer.shape.side == len(wanted)


def test_maxpool_of_two_by_two_halves_the_image():
    layer = Maxpool(section("maxpool", size=2, stride=2), [Shape(1, 4)])
    values = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert layer(values).flatten().tolist() == [5, 7, 13, 15]


def test_default_batch_norm_is_torchs():
    layer, values = convolution(momentum=0.1), images(2, 3, 8)
    theirs = nn.BatchNorm2d(4, eps=1e-5, momentum=0.1)
    convolved = nn.functional.conv2d(values, layer.weights, padding=1)
    for training in (True, False):
        layer.train(training), theirs.train(training)
        wanted = nn.functional.leaky_relu(theirs(convolved), 0.1)
        torch.testing.assert_close(layer(values), wanted)
    torch.testing.assert_close(layer.rolling_mean, theirs.running_mean)
    torch.testing.assert_close(layer.rolling_variance, theirs.running_var)


def test_batch_norm_of_darknets_cpu_divides_by_the_unbiased_deviation():
    layer, values = convolution("darknet-cpu", activation="linear"), images(2, 3, 8)
    convolved = nn.functional.conv2d(values, layer.weights, padding=1)
    mean, deviation = convolved.mean((0, 2, 3), keepdim=True), convolved.std((0, 2, 3), keepdim=True)
    torch.testing.assert_close(layer(values), (convolved - mean) / (deviation + 1e-6))
    torch.testing.assert_close(layer.rolling_mean, 0.01 * mean.flatten())
    torch.testing.assert_close(layer.rolling_variance, 0.99 + 0.01 * deviation.flatten() ** 2)


def test_batch_norm_of_darknets_cpu_uses_the_running_statistics_in_evaluation():
    layer, values = convolution("darknet-cpu", activation="linear").eval(), images(2, 3, 8)
    layer.rolling_mean.fill_(0.5), layer.rolling_variance.fill_(4.0)
    convolved = nn.functional.conv2d(values, layer.weights, padding=1)
    torch.testing.assert_close(layer(values), (convolved - 0.5) / (2.0 + 1e-6))


def test_leaky_keeps_a_tenth_of_what_is_negative():
    layer = convolution(batch_normalize=0, size=1, filters=1)
    with torch.no_grad():
        layer.weights.fill_(1.0)
    values = torch.tensor([-2.0, 3.0]).reshape(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert layer(values).flatten().tolist() == pytest.approx([-0.6, 9.0])


def test_weights_are_drawn_with_the_variance_of_darknet():
    layer = Convolutional(
        section("convolutional", filters=64, size=3, pad=1, activation="leaky"),
        [Shape(64, 8)],
        batch_norm="torch",
        momentum=0.01,
    )
    layer.initialise(torch.Generator().manual_seed(0))
    weights = layer.weights.detach()
    assert float(weights.std()) == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert abs(float(weights.mean())) < 1e-3


@pytest.mark.parametrize(
    ("options", "side"), [({"stride": 2}, 4), ({"size": 1}, 8), ({"pad": 0}, 6), ({"stride": 3}, 3)]
)
def test_shape_of_a_convolution_is_that_of_its_output(options, side):
    layer = convolution(**options)
    assert layer.shape == (4, side)
    assert layer(images(2, 3, 8)).shape == (2, 4, side, side)


def test_upsample_repeats_and_shortcut_adds_and_route_joins():
    values = torch.tensor([[[[1.0, 2.0]]]])
    assert Upsample(section("upsample", stride=2), [Shape(1, 2)])(values).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]
    shapes = [Shape(1, 2), Shape(1, 2)]
    shortcut = Shortcut(section("shortcut", **{"from": -3, "activation": "linear"}), shapes)
    assert shortcut(values, 10 * values).tolist() == [[[[11, 22]]]]
    route = Route(section("route", layers="-1,-4"), shapes)
    assert route.shape == (2, 2)
    assert route(values, 10 * values).tolist() == [[[[1, 2]], [[10, 20]]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "mish"}, "activation=mish is not supported, only leaky, linear"),
        ({"filters": 0}, "filters=0 is not supported, only 1 or more"),
        ({"size": "three"}, "size=three is not a whole number"),
        ({"groups": 2}, "groups=2 does not divide 3 channels"),
        ({"size": 11, "pad": 0}, "8 pixels wide, less than size=11"),
    ],
)
def test_convolution_that_we_do_not_compute_is_refused(options, message):
    with pytest.raises(NetworkFileError, match=message.replace("[", r"\[")):
        convolution(**options)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(NetworkFileError, match="sides 3, 4"):
        Route(section("route", layers="-1,-2"), [Shape(1, 4), Shape(1, 3)])
    with pytest.raises(NetworkFileError, match="must be equal"):
        Shortcut(section("shortcut", **{"from": -2}), [Shape(1, 4), Shape(2, 4)])
    with pytest.raises(NetworkFileError, match="stride=2"):
        Reorg(section("reorg", stride=2), [Shape(6, 4)])
