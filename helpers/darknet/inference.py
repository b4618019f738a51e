"""A network that only classifies: batch normalisation folded into the weights, and for each layer the fastest way.

Which way that is depends on the processor: `tests/benchmarks/classifying.py` measures it.

Most of a CPU's time beside the products goes into memory: fresh pages for large tensors, and reading them back. So the
first layers, whose outputs are large, are run for a few images at a time, and later ones for more and more.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.darknet.layers import LEAKY_SLOPE, Convolutional, Maxpool
from helpers.darknet.network import Network
from helpers.darknet.region import Region
from helpers.darknet.winograd import WinogradConvolution, Workspace
from helpers.darknet.yolo import Yolo

_WINOGRAD_CHANNELS = 128, 64
"""With so many channels and filters Winograd's convolution was the faster one (CPUs): on any side, on a large one.

But not where oneDNN's kernels have vectors of 512 bits: there they do twice as many products a second as torch's matrix
product, more than Winograd's saves.
"""

_WIDE_VECTORS = torch.backends.cpu.get_cpu_capability() == "AVX512"
_PACKS = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")

_LARGE_SIDE = 32

_OUTPUT_FLOATS = 4 * 2**20
"""Of a layer at once, 16 MB: the C library gives memory of 32 MB and more back at once, and each page costs anew."""


class FoldedNetwork(nn.Module):
    """The heads of a network in evaluation mode, for `scores`; made by `folded`.

    Attributes
    ----------
    layers : nn.ModuleList
        In the order of the `.cfg`.
    size : int
        Side of the images [pixels]; images of another size (a multiple of the largest stride) pass as well.
    """

    def __init__(self, network: Network, precision: torch.dtype) -> None:
        super().__init__()
        self.size, self._sources = network.size, network.sources
        on_cpu = all(layer.weights.device.type == "cpu" for layer in network.convolutions)
        with torch.no_grad():
            self.layers = nn.ModuleList(_fast(layer, on_cpu, precision) for layer in network.layers)
        self._last_reader = {source: number for number, read in enumerate(self._sources) for source in read}
        self._last_reader |= {number: len(self.layers) for number, layer in enumerate(self.layers) if _is_head(layer)}
        self._winograds = [layer for layer in self.layers if isinstance(layer, WinogradConvolution)]
        self._stages = _stages(network) if on_cpu else [(list(range(len(self.layers))), None)]
        self.eval()

    @property
    def heads(self) -> list[Region | Yolo]:
        """The layers that scores come from, in order."""
        return [layer for layer in self.layers if _is_head(layer)]

    @torch.inference_mode()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs of the heads, activated as in Darknet's `layer.output`: a list of (N, channels, rows, columns)."""
        threads = min(torch.get_num_threads(), len(images)) if self._winograds else 1
        if threads < 2:
            return self._head_outputs(images)
        parts = _in_threads(self._head_outputs, images.tensor_split(threads), threads)
        return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    @torch.inference_mode()
    def _head_outputs(self, images: Tensor) -> list[Tensor]:
        """The same, in this thread."""
        workspace = Workspace()
        for layer in self._winograds:
            layer.reserve(workspace)
        outputs = self._through(len(self._stages) - 1, images, workspace)
        return [outputs[number] for number, layer in enumerate(self.layers) if _is_head(layer)]

    def _through(self, stage: int, images: Tensor, workspace: Workspace) -> dict[int, Tensor]:
        """What is needed of the layers up to a stage, which takes its images in parts."""
        if stage < 0:
            return {-1: images}
        numbers, most = self._stages[stage]
        parts = [
            self._run(numbers, self._through(stage - 1, part, workspace), workspace)
            for part in images.split(most or max(1, len(images)))
        ]
        if len(parts) == 1:
            return parts[0]
        return {number: torch.cat([part[number] for part in parts]) for number in parts[0]}

    def _run(self, numbers: list[int], outputs: dict[int, Tensor], workspace: Workspace) -> dict[int, Tensor]:
        """Run some layers; what no later layer reads is let go."""
        for number in numbers:
            layer, inputs = self.layers[number], [outputs[source] for source in self._sources[number]]
            winograd = isinstance(layer, WinogradConvolution)
            outputs[number] = layer(*inputs, workspace) if winograd else layer(*inputs)
            for done in {number, *self._sources[number]}:
                if self._last_reader.get(done, -1) <= number:
                    del outputs[done]
        return outputs


def folded(network: Network, *, precision: torch.dtype = torch.float32) -> FoldedNetwork:
    """Make a network that gives the scores of another in evaluation mode, faster.

    Batch normalisation of either kind is folded into copies of the weights: the network itself is not changed, and
    what is changed there later does not count here. Tensors lie channels-last. On a CPU without vectors of 512 bits the
    3 × 3 convolutions with many channels are Winograd's: scores of YOLOv2 at 416 pixels stay within 1e-4.

    Parameters
    ----------
    network
        On the device where it is to run.
    precision
        Of the convolutions; heads compute in float32. torch.float16 and torch.bfloat16 are made for GPUs; they change
        scores in the third digit, so that patterns near the threshold may change sides.

    Returns
    -------
    FoldedNetwork
        For `scores`.
    """
    return FoldedNetwork(network, precision)


class FoldedConvolution(nn.Module):
    """Convolution, bias and activation of a Darknet layer, channels-last."""

    def __init__(self, layer: Convolutional, precision: torch.dtype) -> None:
        super().__init__()
        weights, bias = layer.folded()
        self.register_buffer("weights", weights.to(precision, memory_format=torch.channels_last))
        self.register_buffer("bias", bias.to(precision))
        self.stride, self.padding, self.groups = layer.stride, layer.padding, layer.groups
        self.leaky = layer.activation == "leaky"
        self.pointwise = weights.shape[2:] == (1, 1) and (self.stride, self.padding, self.groups) == (1, 0, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve and activate: (N, channels, rows, columns) to (N, filters, rows', columns')."""
        values = values.to(self.weights.dtype).contiguous(memory_format=torch.channels_last)
        values = self._pointwise(values) if self.pointwise else self._windowed(values)
        return functional.leaky_relu_(values, LEAKY_SLOPE) if self.leaky else values

    def _pointwise(self, values: Tensor) -> Tensor:
        """A 1 × 1 convolution is a matrix product."""
        return functional.linear(values.permute(0, 2, 3, 1), self.weights.flatten(1), self.bias).permute(0, 3, 1, 2)

    def _windowed(self, values: Tensor) -> Tensor:
        """Any other."""
        return functional.conv2d(values, self.weights, self.bias, self.stride, self.padding, groups=self.groups)


class PackedConvolution(nn.Module):
    """Convolution, bias and activation on a CPU by oneDNN: weights in its own order once for all, all in one pass.

    These are the operations that `torch.compile` makes of a frozen network, without a compiler.

    Parameters
    ----------
    layer
        With the side of its outputs [pixels].
    """

    def __init__(self, layer: Convolutional) -> None:
        super().__init__()
        weights, self.bias = layer.folded()
        side = layer.shape.side * layer.stride  # the order is best for such images; any pass
        self.window = [layer.padding] * 2, [layer.stride] * 2, [1, 1], layer.groups
        usual = [1, weights.shape[1] * layer.groups, side, side]
        self.weights = torch.ops.mkldnn._reorder_convolution_weight(weights, *self.window, usual)
        self.activation = ("leaky_relu", [LEAKY_SLOPE]) if layer.activation == "leaky" else ("none", [])

    def forward(self, values: Tensor) -> Tensor:
        """Convolve and activate: (N, channels, rows, columns) to (N, filters, rows', columns'), channels-last."""
        values = values.to(memory_format=torch.channels_last)
        return torch.ops.mkldnn._convolution_pointwise(
            values, self.weights, self.bias, *self.window, *self.activation, ""
        )


class PairMaxpool(nn.Module):
    """Maximum of 2 × 2 pixels, without the indices that torch's own keeps (and pays for) on a CPU."""

    def forward(self, values: Tensor) -> Tensor:
        """Pool (N, channels, rows, columns), both even."""
        rows = torch.maximum(values[:, :, ::2], values[:, :, 1::2])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


def _fast(layer: nn.Module, on_cpu: bool, precision: torch.dtype) -> nn.Module:
    """The fastest module that does what a layer does."""
    if isinstance(layer, Maxpool) and on_cpu and (layer.size, layer.stride, layer.padding) == (2, 2, 1):
        return PairMaxpool()
    if not isinstance(layer, Convolutional):
        return copy.deepcopy(layer)
    if not (on_cpu and precision == torch.float32):
        return FoldedConvolution(layer, precision)
    form = (layer.weights.shape[-1], layer.stride, layer.padding, layer.groups)
    many_channels = min(layer.weights.shape[:2]) >= _WINOGRAD_CHANNELS[layer.shape.side >= _LARGE_SIDE]
    if form == (3, 1, 1, 1) and many_channels and not _WIDE_VECTORS:
        return WinogradConvolution(*layer.folded(), side=layer.shape.side, leaky=layer.activation == "leaky")
    return PackedConvolution(layer) if _PACKS else FoldedConvolution(layer, precision)


def _is_head(layer: nn.Module) -> bool:
    return isinstance(layer, Region | Yolo)


def _in_threads(work: Callable[[Tensor], list[Tensor]], parts: Sequence[Tensor], threads: int) -> list[list[Tensor]]:
    """Do parts side by side, one thread each: threads that share each small product of Winograd wait for each other."""
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            return list(pool.map(work, parts))
        finally:
            torch.set_num_threads(torch.get_num_threads())  # for threads to come; those of the pool have their own


def _stages(network: Network) -> list[tuple[list[int], int | None]]:
    """Numbers of layers, and how many images are run through them at once, more and more; the last layers take all.

    A layer's output takes about as much memory as its side is long, because channels double where a side is halved.
    """
    shapes = [layer.shape for layer in network.layers]
    first = max(1, _OUTPUT_FLOATS // (shapes[0].channels * shapes[0].side ** 2))
    sides = [network.size if source < 0 else shapes[source].side for source in map(max, network.sources)]
    most = [first * network.size // max(shape.side, side) for shape, side in zip(shapes, sides, strict=True)]
    most = [*accumulate(most, max)]
    stages = [(list(numbers), images) for images, numbers in groupby(range(len(most)), most.__getitem__)]
    return [*stages[:-1], (stages[-1][0], None)]
