"""Stages of a network for Figure 2: groups of consecutive layers, and the data that flow between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from helpers.darknet import Network, Section


class Shape(NamedTuple):
    """Dimensions of the data between two layers: width and height [pixels], and the number of channels."""

    side: int
    channels: int

    def __str__(self) -> str:
        return f"{self.side}×{self.side}×{self.channels}"


class Strip(NamedTuple):
    """One line of a stage: a layer, or the heading of a group of equal residual blocks.

    The kind decides the colour; layer is the number of the layer, or of the last one of a group.
    """

    kind: str
    text: str
    layer: int


class Edge(NamedTuple):
    """Data that flow from an earlier layer (−1 is the image) into a strip of a stage, counted from 0."""

    source: int
    strip: int


@dataclass
class Stage:
    """Consecutive layers between two changes of resolution or path; equal residual blocks are one group of strips."""

    first: int
    shape_in: Shape
    shape_out: Shape
    strips: list[Strip] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    convolutions: int = 0
    residual_blocks: int = 0

    @property
    def on_main_path(self) -> bool:
        """True if its only input is the layer before it."""
        return all(edge.source == self.first - 1 for edge in self.edges)


def stages(network: Network) -> list[Stage]:
    """Stages of a network, in the order of its layers.

    A stage begins where the image is shrunk, where the path goes back to an earlier layer (a `route` with one source),
    and after the last residual block of a resolution.
    """
    net, *layers = network.sections
    shapes = [Shape(layer.shape.side, layer.shape.channels) for layer in network.layers]
    shapes.append(Shape(network.size, net.integer("channels")))  # the image is layer −1
    found: list[Stage] = []
    for number, sources in enumerate(network.sources):
        if number == 0 or _begins_stage(layers, number):
            found.append(Stage(number, shapes[sources[0]], shapes[number], edges=[Edge(sources[0], 0)]))
        _add_layer(found[-1], layers, number, sources, shapes[number])
    return found


def _begins_stage(layers: Sequence[Section], number: int) -> bool:
    """True if a stage begins at this layer."""
    layer = layers[number]
    if layer.name == "route":
        return len(layer.integers("layers")) == 1
    if layer.name in ("convolutional", "maxpool") and layer.integer("stride") > 1:
        return True
    ends_residuals = layers[number - 1].name == "shortcut"
    return ends_residuals and all(following.name != "shortcut" for following in layers[number : number + 3])


def _add_layer(stage: Stage, layers: Sequence[Section], number: int, sources: Sequence[int], shape: Shape) -> None:
    """Append a layer to a stage; residual blocks after the first one only raise the number in their heading."""
    layer = layers[number]
    stage.shape_out = shape
    stage.convolutions += layer.name == "convolutional"
    if layer.name == "shortcut":
        stage.residual_blocks += 1
        # the heading of the group, or, for its first block, the first of the two convolutions that it will stand above
        first = next((k for k, strip in enumerate(stage.strips) if strip.kind == "residual"), len(stage.strips) - 2)
        block = stage.strips[first + (stage.residual_blocks > 1) :][:2]
        heading = Strip("residual", f"Residual × {stage.residual_blocks}", number)
        stage.strips[first:] = [heading, *block]
    elif layer.name == "route":
        if len(sources) > 1:
            stage.edges += [Edge(source, len(stage.strips)) for source in sources if source != number - 1]
            stage.strips.append(Strip("concat", f"concat, {shape.channels}", number))
    else:
        stage.strips.append(Strip(*_strip_text(layer, shape), number))


def _strip_text(layer: Section, shape: Shape) -> tuple[str, str]:
    """Kind of a layer, and the text of its line."""
    if layer.name == "convolutional":
        size, stride = layer.integer("size"), layer.integer("stride")
        kind, shrinking = ("down", f" /{stride}") if stride > 1 else ("convolution", "")
        return kind, f"conv {size}×{size}{shrinking}, {shape.channels}"
    if layer.name == "maxpool":
        return "down", f"max pool /{layer.integer('stride')}"
    if layer.name == "upsample":
        return "up", f"upsample ×{layer.integer('stride')}"
    if layer.name == "reorg":
        return "down", f"reorg /{layer.integer('stride')}, {shape.channels}"
    return "head", f"{'Region' if layer.name == 'region' else 'YOLO'} {shape}"
