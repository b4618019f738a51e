"""Pictures of patterns: Figures 3, 4 and 5, galleries, the mean pattern, detections."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.annotation import Box
from helpers.family import REPRESENTATIONS
from helpers.figures.colours import BAD_PIXEL, HIGHLIGHT
from helpers.figures.house_style import (
    ONE_COLUMN,
    TWO_COLUMNS,
    letter,
    new_figure,
    photon_bar,
    photon_norm,
    pixel_axes,
    show_photons,
    styled,
    thumbnail,
)
from helpers.patterns import PatternStack
from helpers.rendering import to_rgb


@styled
def figure_3(counts: np.ndarray, network_input: np.ndarray, *, mask: np.ndarray | None = None) -> Figure:
    """Pattern (a), and the image of it that a network gets as input (b) (Figure 3 of the paper).

    Parameters
    ----------
    counts
        (rows, columns) photon counts of the pattern.
    network_input
        (3, size, size) image of the same pattern, 0 to 1, from `rendering.render`.
    mask
        (rows, columns), True = bad pixel; None shows all pixels.
    """
    figure = new_figure(TWO_COLUMNS, 2.25, layout="compressed")
    start, image = figure.subplots(1, 2, width_ratios=(1.75, 1))
    photon_bar(figure, show_photons(start, counts, mask=mask), start)
    pixel_axes(start)
    channels, *size = np.shape(network_input)
    image.imshow(np.moveaxis(np.asarray(network_input), 0, -1))
    image.set(xlabel="image column (pixels)", ylabel="image row (pixels)")
    image.spines[:].set_visible(True)
    letter(
        (start, image),
        (f"pattern, {counts.shape[0]} × {counts.shape[1]}", f"input, {size[0]} × {size[1]} × {channels}"),
    )
    return figure


@styled
def figure_4(rgb_linear: np.ndarray, rgb_log: np.ndarray) -> Figure:
    """Red, green and blue layers of two colour images: linear (a)–(d), logarithmic (e)–(h) (Figure 4 of the paper).

    Parameters
    ----------
    rgb_linear, rgb_log
        uint8 (rows, columns, 3) colour images of one pattern on both intensity scales, from `rendering.to_rgb`.
    """
    figure = new_figure(TWO_COLUMNS, 2.2, layout="compressed")
    panels = figure.subplots(2, 4)
    for row, rgb in zip(panels, (rgb_linear, rgb_log), strict=True):
        row[0].imshow(rgb)
        for layer, axes in enumerate(row[1:]):
            shown = axes.imshow(rgb[..., layer], cmap="gray", vmin=0, vmax=255)
    for axes in panels.flat:
        thumbnail(axes)
    letter(panels.flat, 2 * ["image", "red", "green", "blue"])
    panels[0, 0].set_ylabel("linear scale")
    panels[1, 0].set_ylabel("logarithmic scale")
    bar = figure.colorbar(
        shown, ax=panels, label="level of the layer (8 bit)", ticks=(0, 64, 128, 192, 255), pad=0.015, aspect=25
    )
    bar.outline.set_linewidth(0.4)
    return figure


@styled
def figure_5(counts_positive: np.ndarray, counts_negative: np.ndarray, box: Box) -> Figure:
    """Two positive examples with their box and two negative ones in four representations (Figure 5 of the paper).

    Parameters
    ----------
    counts_positive, counts_negative
        (2, rows, columns) photon counts of two positive and of two negative examples.
    box
        Bounding box that all positive examples share.

    Returns
    -------
    Figure
        6.9 in wide; rows jet linear, jet log, gray linear, gray log, letters (a) to (p).
    """
    figure = new_figure(TWO_COLUMNS, 4.25, layout="compressed")
    panels = figure.subplots(4, 4)
    for row, representation in zip(panels, REPRESENTATIONS, strict=True):
        images = to_rgb(np.concatenate([counts_positive, counts_negative]), representation)
        for axes, image in zip(row, images, strict=True):
            axes.imshow(image)
            thumbnail(axes)
        for axes in row[: len(counts_positive)]:
            _outline(axes, box.column_start, box.row_start, box.column_stop, box.row_stop)
        row[0].set_ylabel(f"{representation.colour}, {representation.scale}")
    letter(panels.flat, ["positive", "positive", "negative", "negative", *[""] * 12])
    return figure


@styled
def gallery(
    counts: np.ndarray,
    titles: Sequence[str],
    *,
    columns: int,
    mask: np.ndarray | None = None,
    unit: str = "photons",
) -> Figure:
    """Thumbnails of patterns on one logarithmic colour scale.

    Parameters
    ----------
    counts
        (N, rows, columns) photon counts, or other values with their `unit`.
    titles
        Title of each pattern.
    columns
        Number of thumbnails in a row.
    mask
        (rows, columns), True = bad pixel; None shows all pixels.
    unit
        Label of the colour bar.
    """
    panels, figure = _grid(len(counts), columns, np.shape(counts)[1:], bar=True)
    norm = photon_norm(counts)
    for axes, pattern, title in zip(panels, counts, titles, strict=True):
        shown = show_photons(axes, pattern, norm=norm, mask=mask)
        axes.set_title(title, size=7)
    photon_bar(figure, shown, panels, label=unit)
    return figure


def by_brightness(photons: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Positions of the patterns at some quantiles of the photons of a pattern.

    Parameters
    ----------
    photons
        (N,) photons of each pattern [photons].
    quantiles
        0 (the darkest) to 1 (the brightest).

    Returns
    -------
    ndarray
        One position for each quantile.
    """
    order = np.argsort(photons)
    return order[[int(quantile * (len(order) - 1)) for quantile in quantiles]]


def kinds_gallery(
    stack: PatternStack, kinds: pd.Series, photons: np.ndarray, quantiles: Sequence[float] = (0.5, 0.75, 0.9, 0.98)
) -> Figure:
    """A row of thumbnails for each kind of pattern, the most frequent kind first, from middling to bright patterns.

    Parameters
    ----------
    stack
        The patterns.
    kinds
        Kind of each pattern, from `annotation.kinds_of`.
    photons
        (N,) photons of each pattern [photons].
    quantiles
        Of the photons of a kind: one thumbnail each.
    """
    shown, titles = [], []
    for kind in kinds.value_counts().index:
        members = np.flatnonzero(kinds == kind)
        shown += list(members[by_brightness(photons[members], quantiles)])
        titles += [f"{kind}: {photons[pattern]:.0f}" for pattern in shown[-len(quantiles) :]]
    return gallery(stack.read(np.array(shown)), titles, columns=len(quantiles), mask=stack.mask)


def scored_gallery(stack: PatternStack, patterns: np.ndarray, scores: np.ndarray, *, digits: int = 2) -> Figure:
    """Thumbnails of patterns in four columns, each under its species (where the file knows it) and its score.

    Parameters
    ----------
    stack
        The patterns.
    patterns
        (N,) numbers of the patterns that are shown; without any, the figure says that there are none.
    scores
        (N,) score of each in 0..1.
    digits
        Of the scores.
    """
    if not len(patterns):
        return _nothing_to_show()
    species = stack.table()["species"].to_numpy() if "species" in stack.column_names else np.full(len(stack), "")
    titles = [f"{species[p]} {score:.{digits}f}".strip() for p, score in zip(patterns, scores, strict=True)]
    return gallery(stack.read(patterns), titles, columns=4, mask=stack.mask)


@styled
def _nothing_to_show() -> Figure:
    """A line in place of a gallery."""
    figure = new_figure(TWO_COLUMNS, 0.4)
    figure.text(0.5, 0.5, "there are no such patterns", ha="center", va="center")
    return figure


@styled
def sum_image(mean_counts: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> Figure:
    """Mean pattern of a stack, with its bad pixels and the beam centre.

    Parameters
    ----------
    mean_counts
        (rows, columns) mean photons per pattern in each pixel.
    mask
        (rows, columns), True = bad pixel.
    centre
        Beam centre (row, column) [pixels].
    """
    figure = new_figure(ONE_COLUMN, 2.35, layout="compressed")
    axes = figure.subplots()
    good = mean_counts[~mask & (mean_counts > 0)]
    norm = LogNorm(good.min(), max(good.max(), 2 * good.min())) if good.size else LogNorm(0.5, 1)
    shown = show_photons(axes, mean_counts, norm=norm, mask=mask)
    bar = figure.colorbar(shown, ax=axes, label="mean photons in a pattern", location="top", pad=0.03, aspect=35)
    bar.outline.set_linewidth(0.4)
    row, column = centre
    axes.plot(column, row, "+", color=HIGHLIGHT, markersize=8, clip_on=False, label="beam centre")
    axes.plot([], [], "s", color=BAD_PIXEL, markersize=5, label="bad pixel")
    pixel_axes(axes)
    figure.legend(loc="outside lower right", ncols=2, handlelength=1)
    return figure


@styled
def detections_figure(
    rgb: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray | None = None,
    *,
    titles: Sequence[str] | None = None,
    columns: int = 4,
) -> Figure:
    """Pictures with one box each: that of the annotation, or the best detection of a network with its score.

    Parameters
    ----------
    rgb
        uint8 (N, rows, columns, 3) pictures from `rendering.to_rgb`, or the input images of a network.
    boxes
        (N, 4) x and y of the centre, width and height, relative to the picture; NaN for a picture without a box.
    scores
        (N,) scores of the detections, 0 to 1; None if the boxes are not detections.
    titles
        Title of each picture, written before the score.
    columns
        Number of thumbnails in a row.
    """
    panels, figure = _grid(len(rgb), columns, np.shape(rgb)[1:3], bar=False)
    rows, wide = np.shape(rgb)[1:3]
    named = [""] * len(rgb) if scores is None else [f"score {score:.2f}" for score in scores]
    for axes, image, (x, y, width, height), score, title in zip(
        panels, rgb, boxes, named, titles or [""] * len(rgb), strict=True
    ):
        axes.imshow(image)
        axes.set(xlim=(-0.5, wide - 0.5), ylim=(rows - 0.5, -0.5), title=f"{title}  {score}".strip())
        if np.isfinite(x):
            across = np.clip([x - width / 2, x + width / 2], 0, 1) * wide
            down = np.clip([y - height / 2, y + height / 2], 0, 1) * rows
            _outline(axes, across[0], down[0], across[1], down[1])
    return figure


def _grid(patterns: int, columns: int, shape: tuple[int, int], *, bar: bool) -> tuple[list[Axes], Figure]:
    """Figure with a thumbnail for each pattern, its height following from the shape of the patterns."""
    rows = -(-patterns // columns)
    width = (TWO_COLUMNS - (0.6 if bar else 0.1)) / columns
    figure = new_figure(TWO_COLUMNS, rows * (width * shape[0] / shape[1] + 0.24) + 0.05)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in panels[patterns:]:
        spare.remove()
    for axes in panels[:patterns]:
        thumbnail(axes)
    return list(panels[:patterns]), figure


def _outline(axes: Axes, left: float, top: float, right: float, bottom: float) -> None:
    """Draw a white frame between pixel edges [pixels from the picture's corner]."""
    axes.add_patch(
        Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor="white", linewidth=1.4)
    )
