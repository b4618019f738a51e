"""Figure 2: architectures of the networks, drawn from their layers. Lengths are inches on paper; y points downwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from helpers.darknet import Network
from helpers.figures.colours import INK, QUIET
from helpers.figures.house_style import TWO_COLUMNS, new_figure, styled
from helpers.figures.network_stages import Edge, Stage, stages

_STRIP = 0.13
_HEADER = 0.27
_TITLE = 0.24
_ROW_GAP = 0.2
_PANEL_GAP = 0.16
_LEFT, _RIGHT = 0.26, 0.04
_BOX_SHARE = 0.8
_TEXT = 6.0

_KINDS = {
    "convolution": ("#DCE9F5", "convolution: size, filters"),
    "down": ("#FBDDB8", "down-sampling"),
    "residual": ("#CDEBDD", "residual blocks of two convolutions each"),
    "up": ("#E9D5EC", "up-sampling"),
    "concat": ("#E2E2E2", "concatenation of two layers"),
    "head": ("#F6C3A8", "detection: cells × cells × numbers"),
}


@dataclass(frozen=True)
class _Box:
    """Box that stands for a stage on paper [in]."""

    stage: Stage
    left: float
    top: float
    width: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + _STRIP * len(self.stage.strips)

    def strip_y(self, strip: int) -> float:
        """Middle of a strip; −1 is the last."""
        return self.top + _STRIP * (strip % len(self.stage.strips) + 0.5)

    def y_of_layer(self, layer: int) -> float:
        """Middle of the strip that a layer stands in."""
        return self.strip_y(max(k for k, strip in enumerate(self.stage.strips) if strip.layer <= layer))


@styled
def figure_2(yolov2: Network, yolov3: Network) -> Figure:
    """Architecture of YOLOv2 (a) and YOLOv3 (b) (Figure 2 of the paper).

    Stages run from left to right: in the upper row those of the backbone, below it those that take up earlier data.
    Above each stage stand the dimensions of its input and the number of its convolutions.

    Parameters
    ----------
    yolov2, yolov3
        Networks to draw, for instance of `darknet.full_size_networks`.
    """
    networks = [("(a)", "YOLOv2", stages(yolov2)), ("(b)", "YOLOv3", stages(yolov3))]
    heights = [_panel_height(found) for _, _, found in networks]
    height = sum(heights) + _PANEL_GAP
    figure = new_figure(TWO_COLUMNS, height, layout="none")
    top = 0.0
    for (number, name, found), panel_height in zip(networks, heights, strict=True):
        axes = figure.add_axes((0, 1 - (top + panel_height) / height, 1, panel_height / height))
        axes.set(xlim=(0, TWO_COLUMNS), ylim=(panel_height, 0))
        axes.axis("off")
        axes.text(0.05, 0.04, f"{number}  {_summary(name, found)}", va="top")
        _draw_network(axes, found)
        top += panel_height + _PANEL_GAP
    _draw_legend(figure.axes[0], y=heights[0] - _STRIP * len(_KINDS) - 0.05)
    return figure


def _summary(name: str, found: Sequence[Stage]) -> str:
    """Title of a panel."""
    blocks = sum(stage.residual_blocks for stage in found)
    residual = f", {blocks} residual blocks" if blocks else ""
    size = found[0].shape_in.side
    return f"{name}, {size}×{size} pixels: {sum(stage.convolutions for stage in found)} convolutions{residual}"


def _rows(found: Sequence[Stage]) -> list[int]:
    """Row of each stage: 0 as long as the resolution falls, 1 from then on."""
    rows = []
    for stage in found:
        shrinks = stage.first == 0 or stage.strips[0].kind == "down"
        rows.append(0 if stage.on_main_path and shrinks and 1 not in rows else 1)
    return rows


def _row_tops(found: Sequence[Stage]) -> tuple[float, float]:
    """Top of the boxes in each of the two rows [in]."""
    first = _TITLE + _HEADER
    tallest = max(len(stage.strips) for stage, row in zip(found, _rows(found), strict=True) if row == 0)
    return first, first + _STRIP * tallest + _ROW_GAP + _HEADER


def _panel_height(found: Sequence[Stage]) -> float:
    """Height of a network on paper [in]."""
    tops = _row_tops(found)
    return max(tops[row] + _STRIP * len(stage.strips) for stage, row in zip(found, _rows(found), strict=True)) + 0.06


def _draw_network(axes: Axes, found: Sequence[Stage]) -> None:
    """Boxes in columns of equal resolution, and the arrows between them."""
    sides = sorted({stage.shape_out.side for stage in found}, reverse=True)
    pitch = (TWO_COLUMNS - _LEFT - _RIGHT) / len(sides)
    tops = _row_tops(found)
    boxes = []
    for stage, row in zip(found, _rows(found), strict=True):
        left = _LEFT + pitch * sides.index(stage.shape_out.side) + pitch * (1 - _BOX_SHARE) / 2
        boxes.append(_Box(stage, left, tops[row], pitch * _BOX_SHARE))
    for box in boxes:
        _draw_box(axes, box)
        for edge in box.stage.edges:
            _draw_edge(axes, edge, box, boxes)


def _draw_box(axes: Axes, box: _Box) -> None:
    """One stage: header, a strip for each layer, and a frame."""
    centre = box.left + box.width / 2
    number = box.stage.convolutions
    axes.text(
        centre, box.top - 0.145, str(box.stage.shape_in), ha="center", va="bottom", size=_TEXT + 0.5, weight="bold"
    )
    count = f"{number} convolution{'s' if number != 1 else ''}"
    axes.text(centre, box.top - 0.035, count, ha="center", va="bottom", size=_TEXT, color="#666666")
    for k, strip in enumerate(box.stage.strips):
        top = box.top + _STRIP * k
        colour = _KINDS[strip.kind][0]
        axes.add_patch(
            Rectangle((box.left, top), box.width, _STRIP, facecolor=colour, edgecolor="white", linewidth=0.5)
        )
        weight = "bold" if strip.kind == "residual" else "normal"
        axes.text(centre, top + _STRIP / 2, strip.text, ha="center", va="center_baseline", size=_TEXT, weight=weight)
        if strip.kind == "residual":
            _draw_group(axes, box, k)
    axes.add_patch(
        Rectangle((box.left, box.top), box.width, box.bottom - box.top, fill=False, edgecolor=INK, linewidth=0.6)
    )


def _draw_group(axes: Axes, box: _Box, first: int) -> None:
    """Frame around the heading of residual blocks and their two convolutions."""
    corner, width, height = (box.left + 0.02, box.top + _STRIP * first + 0.015), box.width - 0.04, 3 * _STRIP - 0.03
    shape = {"boxstyle": "round,pad=0,rounding_size=0.03", "fill": False, "zorder": 3}
    axes.add_patch(FancyBboxPatch(corner, width, height, edgecolor="#009E73", linewidth=0.7, **shape))


def _draw_edge(axes: Axes, edge: Edge, box: _Box, boxes: Sequence[_Box]) -> None:
    """Arrow into a strip: along the row, down to the row below, or around a side."""
    y = box.strip_y(edge.strip)
    if edge.source < 0:
        axes.text(0.05, y - 0.08, "image", size=_TEXT, va="center")
        _arrow(axes, [(0.05, y), (box.left, y)])
        return
    origin = next(earlier for earlier in reversed(boxes) if earlier.stage.first <= edge.source)
    if origin.top == box.top:
        _arrow(axes, _along_row(edge, origin, box, y))
    elif edge.strip == 0 and edge.source == box.stage.first - 1:
        centre = box.left + box.width / 2
        _arrow(axes, [(centre, origin.bottom), (centre, box.top - _HEADER + 0.01)])
    else:
        _draw_route(axes, edge, origin, box, y)


def _along_row(edge: Edge, origin: _Box, box: _Box, y: float) -> list[tuple[float, float]]:
    """Points of an arrow between neighbours in a row."""
    if origin.left < box.left:
        start, middle = origin.strip_y(-1), (origin.right + box.left) / 2
        return [(origin.right, start), (middle, start), (middle, y), (box.left, y)]
    start, middle = origin.y_of_layer(edge.source), box.right + 0.1
    return [(origin.left, start), (middle, start), (middle, y), (box.right, y)]


def _draw_route(axes: Axes, edge: Edge, origin: _Box, box: _Box, y: float) -> None:
    """Arrow from a stage of the upper row into a strip of the lower one, marked Route."""
    if origin.left < box.left:
        x = origin.left + 0.12
        points = [(x, origin.bottom), (x, y), (box.left, y)]
    else:
        enters_left = box.stage.edges[0].source > edge.source
        side, inside = (box.left, 0.12) if enters_left else (box.right, -0.12)
        x, outside, turn = side + inside, side - 0.7 * inside, origin.bottom + 0.1
        points = [(x, origin.bottom), (x, turn), (outside, turn), (outside, y), (side, y)]
    at_left = points[1][0] < origin.left + origin.width / 2
    offset, align = (0.04, "left") if at_left else (-0.04, "right")
    axes.text(x + offset, origin.bottom + 0.1, "Route", size=_TEXT, ha=align, va="center", style="italic")
    _arrow(axes, points)


def _arrow(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Thin line through points, with an arrowhead at its end."""
    axes.plot(*zip(*points, strict=True), color=INK, linewidth=0.7, solid_joinstyle="miter", zorder=4)
    arrow = {"arrowstyle": "-|>,head_length=0.28,head_width=0.12", "color": INK, "linewidth": 0.7}
    axes.annotate("", points[-1], points[-2], arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0}, zorder=4)


def _draw_legend(axes: Axes, y: float) -> None:
    """Legend of the colours, in the empty corner of a panel."""
    axes.text(0.33, y - _STRIP / 2, "bold", size=_TEXT, weight="bold", ha="right", va="center_baseline")
    axes.text(0.37, y - _STRIP / 2, "input dimensions of a stage", size=_TEXT, va="center_baseline")
    for k, (colour, meaning) in enumerate(_KINDS.values()):
        top = y + _STRIP * k
        axes.add_patch(
            Rectangle((0.15, top + 0.02), 0.16, _STRIP - 0.04, facecolor=colour, edgecolor=QUIET, linewidth=0.4)
        )
        axes.text(0.37, top + _STRIP / 2, meaning, size=_TEXT, va="center_baseline")
