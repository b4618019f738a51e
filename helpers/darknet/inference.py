"""Networks that only classify: batch normalisation folded into the weights, packed convolutions on a CPU.

`tests/benchmarks/networks.py` measures them beside other programs.
"""

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.darknet.layers import LEAKY_SLOPE, Convolutional, Maxpool, activate_
from helpers.darknet.network import Layers, Network

# true if this torch has oneDNN's convolutions with weights in oneDNN's own order
_PACKS = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")

# Floats (32 MB) of the first layer's output for the images that run together on a CPU; at least one image does. The C
# library returns larger blocks to the system at once, and each fresh page costs again.
_OUTPUT_FLOATS = 8 * 2**20

# Input channels that a packed 3 × 3 convolution sums at once. oneDNN reads the weights of a block of filters again for
# each row of pixels: those of 512 channels stay in a core's cache. 1024 channels in two halves take 17 % less time,
# 3072 in six parts 22 % (AVX2, one image of 13 × 13 pixels; of several, 3072 at once take twice as long an image).
_CHANNELS_AT_ONCE = 512

# oneDNN's names of Darknet's activations
_FUSED = {
    "leaky": ("leaky_relu", [LEAKY_SLOPE], ""),
    "linear": ("none", [], ""),
    "logistic": ("sigmoid", [], ""),
    "relu": ("relu", [], ""),
}


class FoldedNetwork(Layers):
    """The heads of a network in evaluation mode, for `scores`; made by `folded`.

    Attributes
    ----------
    images_a_pass : int or None
        Most images that run through the layers together; None for as many as are given.
    """

    def __init__(self, layers: Iterable[nn.Module], network: Network, images_a_pass: int | None) -> None:
        super().__init__(layers, network.sources, network.size)
        self.images_a_pass = images_a_pass
        self.eval()

    @torch.inference_mode()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs of the heads, activated as in Darknet's `layer.output`: a list of (N, channels, rows, columns)."""
        parts = images.tensor_split(max(1, math.ceil(len(images) / (self.images_a_pass or len(images) or 1))))
        passes = [super(FoldedNetwork, self).forward(part) for part in parts]
        return [torch.cat(outputs) for outputs in zip(*passes, strict=True)]


@torch.no_grad()
def folded(network: Network, *, precision: torch.dtype = torch.float32) -> FoldedNetwork:
    """Make a network that gives the scores of another in evaluation mode, faster.

    Batch normalisation of either kind is folded into copies of the weights: the network itself is not changed, and
    later changes of it do not count here. Tensors lie channels-last. Float32 convolutions on a CPU are oneDNN's with
    packed weights, where this torch has them.

    Parameters
    ----------
    network
        A network on the device where the folded one is to run.
    precision
        Data type of the convolutions; heads compute in float32. torch.float16 and torch.bfloat16 are made for GPUs;
        they change scores in the third digit, so that patterns near the threshold may change sides.
    """
    on_cpu = all(layer.weights.device.type == "cpu" for layer in network.convolutions)
    layers = (_folded_layer(layer, on_cpu, precision) for layer in network.layers)
    return FoldedNetwork(layers, network, _images_a_pass(network) if on_cpu else None)


class FoldedConvolution(nn.Module):
    """Convolution, bias and activation of a Darknet layer, channels-last."""

    def __init__(self, layer: Convolutional, precision: torch.dtype) -> None:
        super().__init__()
        weights, bias = layer.folded()
        self.register_buffer("weights", weights.to(precision, memory_format=torch.channels_last))
        self.register_buffer("bias", bias.to(precision))
        self.stride, self.padding, self.groups = layer.stride, layer.padding, layer.groups
        self.activation = layer.activation
        self.pointwise = weights.shape[2:] == (1, 1) and (self.stride, self.padding, self.groups) == (1, 0, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve and activate: (N, channels, rows, columns) to (N, filters, rows', columns')."""
        values = values.to(self.weights.dtype).contiguous(memory_format=torch.channels_last)
        if self.pointwise:  # the channels of each pixel times the weights
            pixels = functional.linear(values.permute(0, 2, 3, 1), self.weights.flatten(1), self.bias)
            values = pixels.permute(0, 3, 1, 2)
        else:
            values = functional.conv2d(values, self.weights, self.bias, self.stride, self.padding, groups=self.groups)
        return activate_(values, self.activation)


class PackedConvolution(nn.Module):
    """Convolution, bias and activation by oneDNN on a CPU, weights reordered once for all.

    These are the operations that `torch.compile` makes of a frozen network, without a compiler. The layer's running
    statistics must be final. The order is best for one image of its size; others pass.
    """

    def __init__(self, layer: Convolutional) -> None:
        super().__init__()
        weights, self.bias = layer.folded()
        self.window = [layer.padding] * 2, [layer.stride] * 2, [1, 1], layer.groups
        self.activation = layer.activation
        self.channels = weights.shape[1] * layer.groups  # of the input
        if layer.groups == 1 and weights.shape[-1] > 1:
            self.channels = min(self.channels, _CHANNELS_AT_ONCE)
        side = layer.shape.side * layer.stride
        self.weights = [self._packed(part, side) for part in weights.split(self.channels, dim=1)]

    def forward(self, values: Tensor) -> Tensor:
        """Convolve and activate: (N, channels, rows, columns) to (N, filters, rows', columns'), channels-last."""
        parts = values.to(memory_format=torch.channels_last).split(self.channels, dim=1)
        if len(parts) == 1:
            return self._convolved(parts[0], self.weights[0], self.bias, self.activation)
        # a sum over all input channels is the sum of the sums over some; the bias counts once
        total = self._convolved(parts[0], self.weights[0], self.bias)
        for part, weights in zip(parts[1:], self.weights[1:], strict=True):
            total += self._convolved(part, weights)
        return activate_(total, self.activation)

    def _packed(self, weights: Tensor, side: int) -> Tensor:
        """Weights (filters, channels, size, size) in oneDNN's order for images of a side [pixels]."""
        usual = [1, weights.shape[1] * self.window[-1], side, side]
        return torch.ops.mkldnn._reorder_convolution_weight(weights.contiguous(), *self.window, usual)

    def _convolved(
        self, values: Tensor, weights: Tensor, bias: Tensor | None = None, activation: str = "linear"
    ) -> Tensor:
        """Convolve with packed weights; bias and activation are done in the same pass."""
        return torch.ops.mkldnn._convolution_pointwise(values, weights, bias, *self.window, *_FUSED[activation])


class PairMaxpool(nn.Module):
    """Maximum of 2 × 2 pixels, without the indices that torch's own keeps (and pays for) on a CPU."""

    def forward(self, values: Tensor) -> Tensor:
        """Pool (N, channels, rows, columns), both even."""
        rows = torch.maximum(values[:, :, ::2], values[:, :, 1::2])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


def _folded_layer(layer: nn.Module, on_cpu: bool, precision: torch.dtype) -> nn.Module:
    """Make the fastest module that does what a layer does."""
    if isinstance(layer, Convolutional):
        packs = _PACKS and on_cpu and precision == torch.float32
        return PackedConvolution(layer) if packs else FoldedConvolution(layer, precision)
    pairs = isinstance(layer, Maxpool) and (layer.size, layer.stride, layer.padding) == (2, 2, 1)
    return PairMaxpool() if pairs and on_cpu else copy.deepcopy(layer)


def _images_a_pass(network: Network) -> int:
    """Images whose first output fits into `_OUTPUT_FLOATS`; later layers give less, as sides are halved."""
    shape = network.layers[0].shape
    return max(1, _OUTPUT_FLOATS // (shape.channels * shape.side**2))
