"""House style of all figures: style file, panel letters, photon colour bars, saving."""

import functools
import io
import os
import string
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ParamSpec

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from helpers.figures.colours import PHOTON_COLOURS
from helpers.system import written_whole

ONE_COLUMN = 3.35
TWO_COLUMNS = 6.9
"""Print widths [in]."""

_STYLE_FILE = Path(__file__).with_name("style.mplstyle")
_PDF_IMAGE_DPI = 600
_NO_STAMPS = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}

Arguments = ParamSpec("Arguments")


class _WorkbookFigure(Figure):
    """Figure that is shown once as the value of a notebook cell, whether or not pyplot is loaded."""

    def _repr_png_(self) -> bytes:
        """PNG for the notebook."""
        stream = io.BytesIO()
        with style():
            self.savefig(stream, format="png", dpi="figure", metadata=_NO_STAMPS["png"])
        return stream.getvalue()


def style() -> AbstractContextManager[None]:
    """Context in which Matplotlib's defaults are those of the workbook; they are restored at its end."""
    return matplotlib.style.context(["default", _STYLE_FILE])


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Decorator for functions that return a Figure: they draw in the house style, and the layout is final.

    Ticks are made and the layout is solved here, because Matplotlib would do both later, with the caller's defaults.
    """

    @functools.wraps(draw)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        return figure

    return wrapper


def new_figure(width: float, height: float, *, layout: str = "constrained") -> Figure:
    """Empty figure of this size [in], which pyplot does not know and a notebook shows once.

    The layout is "constrained"; "compressed", which keeps pictures of fixed shape together; or "none".
    """
    return _WorkbookFigure(figsize=(width, height), layout=layout)


def number_twos_and_fives(*axes: Axis) -> None:
    """Label 1, 2 and 5 in each decade: on a logarithmic axis of one or two decades, 1 alone is too little."""
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(plain)
        axis.set_minor_locator(LogLocator(subs=range(2, 10)))
        axis.set_minor_formatter(NullFormatter())


def letter(axes: Iterable[Axes], titles: Sequence[str] | None = None) -> None:
    """Write (a), (b), … and the panels' titles above their left edges; without titles, letters alone."""
    for panel, (number, axis) in enumerate(zip(string.ascii_lowercase, axes, strict=False)):
        title = titles[panel] if titles else ""
        axis.set_title(f"({number})  {title}".rstrip(), loc="left")


def show_photons(
    axes: Axes, counts: np.ndarray, *, norm: Normalize | None = None, mask: np.ndarray | None = None
) -> AxesImage:
    """Show (rows, columns) counts on a logarithmic colour scale; 0 has the lowest colour, masked (bad) pixels are gray.

    The scale is that of `photon_norm`, fitted to these counts unless one is given.
    """
    norm = norm or photon_norm(counts)
    shown = np.ma.array(np.maximum(counts, norm.vmin), mask=mask)
    return axes.imshow(shown, norm=norm, cmap=PHOTON_COLOURS)


def photon_norm(counts: np.ndarray) -> LogNorm:
    """Logarithmic colour scale from 0 photons, for which half a photon stands, to the highest count."""
    return LogNorm(0.5, max(float(np.max(counts, initial=1.0)), 2.0))


def photon_bar(figure: Figure, image: AxesImage, axes: Axes | Sequence[Axes], **options: float | str) -> Colorbar:
    """Add a colour bar labelled "photons", with a 0 at its end."""
    bar = figure.colorbar(image, ax=axes, **{"label": "photons", "pad": 0.02, "aspect": 25, **options})
    decades = 10 ** np.arange(np.floor(np.log10(image.norm.vmax)) + 1)
    bar.set_ticks([image.norm.vmin, *decades], labels=["0", *(f"{decade:.0f}" for decade in decades)])
    bar.minorticks_off()
    bar.outline.set_linewidth(0.4)
    return bar


def pixel_axes(axes: Axes) -> None:
    """Label the axes of a picture as detector rows and columns, in a frame of four sides."""
    axes.set(xlabel="column (pixels)", ylabel="row (pixels)")
    axes.spines[:].set_visible(True)


def thumbnail(axes: Axes) -> None:
    """Show a picture without ticks, in a thin frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)


def save_figure(figure: Figure, path_without_suffix: str | os.PathLike) -> None:
    """Write a figure as PNG (200 dots per inch) and PDF; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        Figure made by a function of this package.
    path_without_suffix
        Path without its suffix: `results/RUN/figures/figure_6` makes figure_6.png and figure_6.pdf.
    """
    path = Path(path_without_suffix)
    save_picture(figure, path.with_name(f"{path.name}.png"))
    with style(), written_whole(path.with_name(f"{path.name}.pdf")) as partial:
        figure.savefig(partial, format="pdf", dpi=_PDF_IMAGE_DPI, metadata=_NO_STAMPS["pdf"])


def save_picture(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure as PNG only (200 dots per inch).

    Parameters
    ----------
    figure
        Figure made by a function of this package.
    path
        PNG file to write.
    """
    with style(), written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=matplotlib.rcParams["savefig.dpi"], metadata=_NO_STAMPS["png"])
