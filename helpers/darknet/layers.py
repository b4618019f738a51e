"""Darknet's layers without a loss, as torch modules: `layer(*inputs)` gives what Darknet's `layer.output` holds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.darknet.sections import Section

BATCH_NORMS = ("torch", "darknet-cpu")
LEAKY_SLOPE = 0.1
LARGEST_NETWORK = 100_000_000  # most weights; YOLOv3 has 62 million
LARGEST_SIDE = 8192  # of an image anywhere in a network [pixels]
_GPU_EPSILON = 1e-5
_CPU_EPSILON = 1e-6
_ACTIVATIONS = ("leaky", "linear", "logistic", "relu")


class Shape(NamedTuple):
    """Channels and side [pixels] of a layer's square output, at the size that the `.cfg` names."""

    channels: int
    side: int


def activate_(values: Tensor, activation: str) -> Tensor:
    """Apply one of Darknet's activations in place: leaky has the slope 0.1 below 0, logistic is σ."""
    if activation == "leaky":
        return functional.leaky_relu_(values, LEAKY_SLOPE)
    if activation == "logistic":
        return values.sigmoid_()
    return values.relu_() if activation == "relu" else values


class Convolutional(nn.Module):
    """Convolution, batch normalisation if the section asks for it, bias, then the activation.

    The tensors have Darknet's names and lie in a `.weights` file in the order of `file_tensors`. Running statistics are
    (1 − momentum)·old + momentum·new with the unbiased variance of the batch, as in Darknet and cuDNN. They start at 0
    and 1 as in torch; Darknet's variance starts at 0, with which an untrained network overflows.
    """

    def __init__(self, section: Section, inputs: Sequence[Shape], *, batch_norm: str, momentum: float) -> None:
        super().__init__()
        (channels, side), filters = inputs[0], section.integer("filters", 1, minimum=1)
        kernel = section.integer("size", 1, minimum=1)
        self.stride = section.integer("stride", 1, minimum=1)
        self.padding = kernel // 2 if section.integer("pad", 0) else section.integer("padding", 0)
        self.groups = section.integer("groups", 1, minimum=1)
        if channels % self.groups or filters % self.groups:
            raise section.error(f"groups={self.groups} does not divide {channels} channels and {filters} filters")
        self.activation = section.choice("activation", _ACTIVATIONS, "logistic")
        self.batch_norm, self.momentum = batch_norm, momentum
        self.batch_normalize = bool(section.integer("batch_normalize", 0))
        self.shape = Shape(filters, _side(section, side + 2 * self.padding, kernel, self.stride))
        floats = filters * (channels // self.groups) * kernel**2
        if floats > LARGEST_NETWORK:
            raise section.error(f"{floats} weights in a layer are not supported, only up to {LARGEST_NETWORK}")
        self.biases = nn.Parameter(torch.zeros(filters))
        if self.batch_normalize:
            self.scales = nn.Parameter(torch.ones(filters))
            self.register_buffer("rolling_mean", torch.zeros(filters))
            self.register_buffer("rolling_variance", torch.ones(filters))
        self.weights = nn.Parameter(torch.empty(filters, channels // self.groups, kernel, kernel))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the weights: N(0, 1)·sqrt(2 / (size²·channels))."""
        self.weights.normal_(generator=generator).mul_(math.sqrt(2 / self.weights[0].numel()))

    @property
    def file_tensors(self) -> tuple[Tensor, ...]:
        """Tensors that a `.weights` file holds of this layer, in its order."""
        if self.batch_normalize:
            return self.biases, self.scales, self.rolling_mean, self.rolling_variance, self.weights
        return self.biases, self.weights

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Weights and biases of the convolution without batch normalisation that does the same in evaluation mode.

        scale·(w∗x − mean)/deviation + bias = (factor·w)∗x + (bias − factor·mean) with factor = scale/deviation.
        """
        if not self.batch_normalize:
            return self.weights.clone(), self.biases.clone()
        variance = self.rolling_variance.double()
        on_cpu = self.batch_norm == "darknet-cpu"
        deviation = variance.sqrt() + _CPU_EPSILON if on_cpu else (variance + _GPU_EPSILON).sqrt()
        factor = self.scales / deviation
        weights = self.weights * factor[:, None, None, None]
        return weights.to(self.weights), (self.biases - factor * self.rolling_mean).to(self.biases)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve, normalise, activate: (N, channels, rows, columns) to (N, filters, rows', columns')."""
        bias = None if self.batch_normalize else self.biases
        values = functional.conv2d(values, self.weights, bias, self.stride, self.padding, groups=self.groups)
        if self.batch_normalize:
            values = self._normalised(values)
        return activate_(values, self.activation)

    def _normalised(self, values: Tensor) -> Tensor:
        """Batch normalisation, scale and bias."""
        statistics = self.rolling_mean, self.rolling_variance
        if self.batch_norm == "darknet-cpu":
            return self._normalised_as_on_cpu(values, *statistics)
        return functional.batch_norm(
            values, *statistics, self.scales, self.biases, self.training, self.momentum, _GPU_EPSILON
        )

    def _normalised_as_on_cpu(self, values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Darknet's CPU path: (x − mean) / (sqrt(variance) + 1e-6), in training with the unbiased variance."""
        # in training the batch's own statistics count, and gradients flow through them
        if self.training:
            variance, mean = torch.var_mean(values, dim=(0, 2, 3))
            with torch.no_grad():
                self.rolling_mean.lerp_(mean, self.momentum)
                self.rolling_variance.lerp_(variance, self.momentum)
        factor = self.scales / (variance.sqrt() + _CPU_EPSILON)
        return (values - mean[:, None, None]) * factor[:, None, None] + self.biases[:, None, None]


class Maxpool(nn.Module):
    """Maximum of each window, padded as in Darknet: of `padding` (default size − 1) the odd pixel goes to the end."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.stride = section.integer("stride", 1, minimum=1)
        self.size = section.integer("size", self.stride, minimum=1)
        self.padding = section.integer("padding", self.size - 1)
        self.shape = Shape(inputs[0].channels, _side(section, inputs[0].side + self.padding, self.size, self.stride))

    def forward(self, values: Tensor) -> Tensor:
        """Pool (N, channels, rows, columns)."""
        rows, columns = (self._margins(side) for side in values.shape[-2:])
        if any(rows + columns):
            values = functional.pad(values, (*columns, *rows), value=-math.inf)
        return functional.max_pool2d(values, self.size, self.stride)

    def _margins(self, side: int) -> tuple[int, int]:
        """Pixels to add before and after, so that Darknet's number of windows fits."""
        before = self.padding // 2
        windows = (side + self.padding - self.size) // self.stride + 1
        return before, max(0, (windows - 1) * self.stride + self.size - side - before)


class Route(nn.Module):
    """The outputs of the named layers, one after the other along the channels."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        sides = sorted({shape.side for shape in inputs})
        if len(sides) > 1:
            raise section.error(
                f"the layers to join have sides {', '.join(map(str, sides))}; take an image size that is "
                "a multiple of the network's largest stride (32 for YOLOv2 and YOLOv3)"
            )
        self.shape = Shape(sum(shape.channels for shape in inputs), sides[0])

    def forward(self, *values: Tensor) -> Tensor:
        """Join tensors (N, channels, rows, columns)."""
        return values[0] if len(values) == 1 else torch.cat(values, dim=1)


class Shortcut(nn.Module):
    """The sum of the previous layer and an earlier one of the same shape."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.activation = section.choice("activation", _ACTIVATIONS, "linear")
        if inputs[0] != inputs[1]:
            raise section.error(
                f"adds {tuple(inputs[0])} to {tuple(inputs[1])} (channels, side); they must be equal", "from"
            )
        self.shape = inputs[0]

    def forward(self, values: Tensor, earlier: Tensor) -> Tensor:
        """Add two tensors (N, channels, rows, columns)."""
        return activate_(values + earlier, self.activation)


class Upsample(nn.Module):
    """Each pixel repeated `stride` times along rows and columns."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.stride = section.integer("stride", 2, minimum=1)
        self.shape = Shape(inputs[0].channels, inputs[0].side * self.stride)
        if self.shape.side > LARGEST_SIDE:
            raise section.error(
                f"the image here is {self.shape.side} pixels wide, only up to {LARGEST_SIDE} are supported"
            )

    def forward(self, values: Tensor) -> Tensor:
        """Enlarge (N, channels, rows, columns)."""
        return functional.interpolate(values, scale_factor=self.stride, mode="nearest")


class Reorg(nn.Module):
    """Darknet's own `[reorg]`, which is not plain space-to-depth (`reorg_cpu` in its blas.c).

    The C × H × W buffer is read as (C/s²) × sH × sW, taken apart in steps of s with (row, column) offsets before
    channels, and the result is read as s²C × H/s × W/s.
    """

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.stride = section.integer("stride", 1, minimum=1)
        channels, side = inputs[0]
        if side % self.stride or channels % self.stride**2:
            raise section.error(
                f"stride={self.stride} divides neither side {side} nor (squared) {channels} channels without rest",
                "stride",
            )
        self.shape = Shape(channels * self.stride**2, side // self.stride)

    def forward(self, values: Tensor) -> Tensor:
        """Reorganise (N, channels, rows, columns)."""
        stride, (count, channels, rows, columns) = self.stride, values.shape
        # (N, C/s², H, s, W, s): row and column inside each s × s block get dimensions of their own and go first
        apart = values.reshape(count, channels // stride**2, rows, stride, columns, stride).permute(0, 3, 5, 1, 2, 4)
        return apart.reshape(count, channels * stride**2, rows // stride, columns // stride)


class Avgpool(nn.Module):
    """The mean of each channel."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.shape = Shape(inputs[0].channels, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Average (N, channels, rows, columns) to (N, channels, 1, 1)."""
        return values.mean(dim=(2, 3), keepdim=True)


class Softmax(nn.Module):
    """Probabilities of classes: softmax of the values over `temperature`, in `groups` of as many values each."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.groups = section.integer("groups", 1, minimum=1)
        self.temperature = section.number("temperature", 1)
        self.shape = inputs[0]
        values = self.shape.channels * self.shape.side**2
        if values % self.groups:
            raise section.error(f"groups={self.groups} does not divide {values} values without rest", "groups")
        if not self.temperature:
            raise section.error("temperature=0 is not supported, only other numbers", "temperature")

    def forward(self, values: Tensor) -> Tensor:
        """Make probabilities (N, channels, rows, columns), in float32."""
        grouped = values.float().reshape(len(values), self.groups, -1) / self.temperature
        return grouped.softmax(dim=2).reshape(values.shape)


class Cost(nn.Module):
    """Darknet's loss of a classifier, which does nothing but in training: the network's output is the one before it."""

    def __init__(self, section: Section, inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.shape = inputs[0]

    def forward(self, values: Tensor) -> Tensor:
        """Hand on (N, channels, rows, columns)."""
        return values


def _side(section: Section, padded: int, kernel: int, stride: int) -> int:
    """Side [pixels] of the output of a window of `kernel` pixels on a padded image."""
    if padded < kernel:
        raise section.error(
            f"the image here is {padded} pixels wide, less than size={kernel}; take a larger image size"
        )
    return (padded - kernel) // stride + 1
