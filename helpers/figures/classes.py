"""EM classification: class averages, their evolution, the convergence of runs, and radial profiles."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.figures.colours import HIGHLIGHT, NEUTRAL, PHOTON_COLOURS, QUIET
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, styled, thumbnail

_KNOWN = "icosahedra of known sizes"
_GAMMA = 0.5
"""Exponent of the colour scale, so that the weaker rings are visible, too."""


@styled
def classes_figure(
    pictures: np.ndarray, titles: Sequence[str], *, chosen: Sequence[int] = (), columns: int = 7
) -> Figure:
    """Class averages of an EM run, each on its own colour scale (of the square root); chosen classes have a frame.

    Parameters
    ----------
    pictures
        (classes, side, side) mean pattern of each class, NaN outside the band of q.
    titles
        Title of each class.
    chosen
        Numbers of the classes that get a frame.
    columns
        Number of pictures in a row.
    """
    rows = -(-len(pictures) // columns)
    figure = new_figure(TWO_COLUMNS, rows * (TWO_COLUMNS / columns + 0.2), layout="compressed")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in panels[len(pictures) :]:
        spare.remove()
    for number, (axes, picture, title) in enumerate(zip(panels, pictures, titles, strict=False)):
        _show(axes, picture)
        axes.set_title(title, size=7, color=HIGHLIGHT if number in chosen else "black")
        if number in chosen:
            axes.spines[:].set(color=HIGHLIGHT, linewidth=2)
    return figure


@styled
def evolution_figure(pictures: np.ndarray, iterations: Sequence[int], titles: Sequence[str]) -> Figure:
    """Class averages from noise to rings, a row for each class; each picture has its own colour scale.

    Parameters
    ----------
    pictures
        (classes, iterations, side, side) mean pattern of each class, NaN outside the band of q.
    iterations
        Iteration after which the pictures of each column were taken; 0 is the start.
    titles
        Title of each class.
    """
    rows, columns = pictures.shape[:2]
    figure = new_figure(TWO_COLUMNS, 0.25 + rows * TWO_COLUMNS / max(columns, 4), layout="compressed")
    panels = figure.subplots(rows, columns, squeeze=False)
    for row, images, title in zip(panels, pictures, titles, strict=True):
        for axes, picture in zip(row, images, strict=True):
            _show(axes, picture, from_lowest=True)
        row[0].set_ylabel(title)
    for axes, iteration in zip(panels[0], iterations, strict=True):
        axes.set_title("noise" if iteration == 0 else f"iteration {iteration}", size=7)
    return figure


@styled
def convergence_figure(log_likelihood: Sequence[Sequence[float]], changed: Sequence[Sequence[int]]) -> Figure:
    """Log-likelihood and number of patterns that changed class at each iteration, a line for each run.

    Parameters
    ----------
    log_likelihood
        Log-likelihood (mean over the patterns) at each iteration, a sequence for each run.
    changed
        Number of patterns whose class changed at each iteration, a sequence for each run.
    """
    figure = new_figure(TWO_COLUMNS, 2.3)
    left, right = figure.subplots(1, 2)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(log_likelihood)))
    highest = max(max(gained) for gained in log_likelihood)
    for run, (gained, moved, colour) in enumerate(zip(log_likelihood, changed, colours, strict=True), start=1):
        iterations = np.arange(1, len(gained) + 1)
        left.plot(
            iterations, np.ma.masked_equal(highest - np.asarray(gained), 0), ".-", color=colour, label=f"run {run}"
        )
        right.plot(iterations, moved, ".-", color=colour)
    left.set(xlabel="iteration", ylabel="log-likelihood per pattern,\nbelow the highest", yscale="log")
    right.set(xlabel="iteration", ylabel="patterns that changed class")
    right.set_yscale("symlog", linthresh=1)
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    letter((left, right))
    figure.legend(loc="outside right center")
    return figure


@styled
def rings_figure(radii: np.ndarray, profiles: np.ndarray, chosen: Sequence[int], references: np.ndarray) -> Figure:
    """Mean radial profiles of the classes of an EM run, and those of the expected particle.

    Parameters
    ----------
    radii
        (radii,) distance from the beam [pixels].
    profiles
        (classes, radii) mean photons per pixel; NaN for an empty class.
    chosen
        Numbers of the classes on the left; all others are on the right.
    references
        (references, radii) profiles of the expected particle at several sizes, on any scale.

    Returns
    -------
    Figure
        6.9 in wide; each profile is divided by its mean.
    """
    figure = new_figure(TWO_COLUMNS, 2.5)
    panels = figure.subplots(1, 2, sharey=True)
    compared = references / references.mean(axis=1, keepdims=True)
    for axes, wanted, colour in zip(panels, (True, False), (HIGHLIGHT, NEUTRAL), strict=True):
        shown = [profile for k, profile in enumerate(profiles) if (k in chosen) is wanted and np.nansum(profile) > 0]
        label = "chosen classes" if wanted else "other classes"
        for number, profile in enumerate(shown):
            axes.semilogy(
                radii, profile / profile.mean(), color=colour, linewidth=0.7, label=label if number == 0 else None
            )
        axes.fill_between(radii, compared.min(0), compared.max(0), color=QUIET, alpha=0.3, linewidth=0, label=_KNOWN)
        axes.set(xlabel="distance from the beam (pixels)", ylim=(1e-3, None))
    panels[0].set_ylabel("photons (relative to the mean)")
    letter(panels, ["chosen", "not chosen"])
    handles = {text: handle for axes in panels for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower right", ncols=3)
    return figure


def _show(axes: Axes, picture: np.ndarray, *, from_lowest: bool = False) -> None:
    """Draw a class average without ticks."""
    norm = PowerNorm(_GAMMA, np.nanmin(picture) if from_lowest else 0.0, np.nanmax(picture))
    axes.imshow(picture, norm=norm, cmap=PHOTON_COLOURS)
    thumbnail(axes)
