"""Darknet networks as torch modules, built from the sections of a `.cfg`."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helpers.darknet.layers import (
    BATCH_NORMS,
    LARGEST_NETWORK,
    LARGEST_SIDE,
    Avgpool,
    Convolutional,
    Cost,
    Maxpool,
    Reorg,
    Route,
    Shape,
    Shortcut,
    Softmax,
    Upsample,
)
from helpers.darknet.options import refuse_other_outputs, warn_of_unknown
from helpers.darknet.region import Region
from helpers.darknet.sections import Section
from helpers.darknet.yolo import Yolo
from helpers.errors import NetworkFileError

_LAYERS = {
    "convolutional": Convolutional,
    "maxpool": Maxpool,
    "route": Route,
    "shortcut": Shortcut,
    "upsample": Upsample,
    "reorg": Reorg,
    "avgpool": Avgpool,
    "softmax": Softmax,
    "cost": Cost,
    "region": Region,
    "yolo": Yolo,
}
BATCH_NORM_MOMENTUM = 0.01


class Step(NamedTuple):
    """One layer of a forward pass: the module, its inputs and its output."""

    layer: nn.Module
    inputs: list[Tensor]
    output: Tensor


class Layers(nn.Module):
    """Layers that run in order, each on the outputs of earlier ones.

    `layers` has one module a section of the `.cfg`, `[net]` excepted; `sources` the numbers of the layers that each
    one reads, -1 for the images; `size` is the side of the images [pixels], though others pass too, if they are
    multiples of the largest stride.
    """

    def __init__(self, layers: Iterable[nn.Module], sources: Sequence[tuple[int, ...]], size: int) -> None:
        super().__init__()
        self.layers, self.sources, self.size = nn.ModuleList(layers), list(sources), size
        self._last_reader = {source: number for number, read in enumerate(self.sources) for source in read}

    @property
    def heads(self) -> list[Region | Yolo]:
        """The layers with boxes and a loss, in order."""
        return [layer for layer in self.layers if isinstance(layer, Region | Yolo)]

    @property
    def is_classifier(self) -> bool:
        """Tell whether the output of the network is a softmax over classes."""
        return any(
            isinstance(layer, Softmax) for layer in [one for one in self.layers if not isinstance(one, Cost)][-1:]
        )

    def check_heads(self) -> None:
        """Raise NetworkFileError if the network has no head, and so neither boxes nor scores nor a loss."""
        if not self.heads:
            raise NetworkFileError(
                "this network has no [region] or [yolo], so it gives neither boxes nor scores; take the .cfg of a "
                "detector, or class_probabilities if it ends in [softmax]"
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs of the heads, activated as in Darknet's `layer.output`: a list of (N, channels, rows, columns)."""
        return [step.output for step in self.head_steps(images)]

    def all_outputs(self, images: Tensor) -> list[Tensor]:
        """Outputs of every layer, in order; holds them all in memory."""
        return [step.output for step in self._steps(images)]

    def head_steps(self, images: Tensor) -> list[Step]:
        """Raw input and activated output of each head, from one forward pass over images (N, channels, side, side)."""
        return [step for step in self._steps(images) if isinstance(step.layer, Region | Yolo)]

    def last_output(self, images: Tensor) -> Tensor:
        """Output of the last layer, from one forward pass over images (N, channels, side, side)."""
        return deque(self._steps(images), maxlen=1)[0].output

    def _steps(self, images: Tensor) -> Iterator[Step]:
        """Run the layers; an output is freed as soon as no later layer reads it."""
        outputs = {-1: images}
        for number, (layer, sources) in enumerate(zip(self.layers, self.sources, strict=True)):
            inputs = [outputs[source] for source in sources]
            outputs[number] = layer(*inputs)
            yield Step(layer, inputs, outputs[number])
            for done in {number, *sources}:
                if self._last_reader.get(done, -1) <= number:
                    del outputs[done]


class Network(Layers):
    """A trainable network, built from the sections of a `.cfg`.

    Parameters
    ----------
    sections
        `[net]`, then one section a layer; kept as an attribute. `[net]` may hold `batch_norm_momentum`, an option of
        ours: the weight of a new batch in the running statistics (default 0.01, Darknet's).
    batch_norm
        "torch": in training (x − mean) / sqrt(biased variance of the batch + 1e-5), as Darknet with cuDNN.
        "darknet-cpu": (x − mean) / (sqrt(variance) + 1e-6), in training the unbiased variance of the batch.
    generator
        Source of the random weights; default: torch's global one.

    Raises
    ------
    NetworkFileError
        If a section is of an unknown type, holds a value that we do not compute, or does not fit the layers before.
    """

    def __init__(
        self, sections: Sequence[Section], *, batch_norm: str = "torch", generator: torch.Generator | None = None
    ) -> None:
        if batch_norm not in BATCH_NORMS:
            raise ValueError(f"batch_norm must be one of {', '.join(BATCH_NORMS)}, got {batch_norm!r}")
        if not sections:
            raise NetworkFileError("a network without sections; give a Darknet .cfg")
        net, *described = sections
        images = _images_shape(net)
        sources = [_sources(section, number) for number, section in enumerate(described)]
        super().__init__(_built(net, described, sources, images, batch_norm), sources, images.side)
        self.sections = tuple(sections)
        for convolution in self.convolutions:
            convolution.initialise(generator)

    @property
    def convolutions(self) -> list[Convolutional]:
        """The convolutional layers, in order: those with weights in a file."""
        return [layer for layer in self.layers if isinstance(layer, Convolutional)]


def _built(
    net: Section, described: Sequence[Section], sources: Sequence[tuple[int, ...]], images: Shape, batch_norm: str
) -> Iterator[nn.Module]:
    """Build one module a section; each is told the shapes of the layers that it reads."""
    momentum = net.number("batch_norm_momentum", BATCH_NORM_MOMENTUM)
    warn_of_unknown(net)
    builders = _LAYERS | {"convolutional": partial(Convolutional, batch_norm=batch_norm, momentum=momentum)}
    shapes, weights = {-1: images}, 0
    for number, section in enumerate(described):
        if section.name not in builders:
            raise section.error(f"this layer type is not supported, only {', '.join(builders)}")
        if section.name == "cost" and number < len(described) - 1:
            raise section.error("is supported only as the last layer, which changes no output")
        refuse_other_outputs(section)
        layer = builders[section.name](section, [shapes[source] for source in sources[number]])
        warn_of_unknown(section)
        shapes[number] = layer.shape
        weights += sum(tensor.numel() for tensor in layer.parameters())
        if weights > LARGEST_NETWORK:
            raise section.error(f"the network up to here has {weights} weights, more than {LARGEST_NETWORK}")
        yield layer


def _images_shape(net: Section) -> Shape:
    """Channels and side of the images, from section `[net]`."""
    if net.name not in ("net", "network"):
        raise net.error("the first section must be [net]")
    refuse_other_outputs(net)
    width, height = (net.integer(key, minimum=1) for key in ("width", "height"))
    if width != height:
        raise net.error(f"width={width} and height={height}: only square images are supported", "height")
    if width > LARGEST_SIDE:
        raise net.error(f"width={width} is not supported, only up to {LARGEST_SIDE}", "width")
    return Shape(net.integer("channels", minimum=1), width)


def _sources(section: Section, number: int) -> tuple[int, ...]:
    """Numbers of the layers that layer `number` reads; -1 is the images."""
    if section.name == "route":
        return tuple(_earlier(section, "layers", value, number) for value in section.integers("layers"))
    if section.name == "shortcut":
        values = section.integers("from")
        if len(values) != 1:
            raise section.error("from= takes one layer", "from")
        return number - 1, _earlier(section, "from", values[0], number)
    return (number - 1,)


def _earlier(section: Section, key: str, value: int, number: int) -> int:
    """Absolute number of a layer that is given by its number, or counted back from layer `number`."""
    absolute = value if value >= 0 else number + value
    if not 0 <= absolute < number:
        raise section.error(
            f"{key} names layer {value}, but only layers 0 to {number - 1} come before layer {number}", key
        )
    return absolute
