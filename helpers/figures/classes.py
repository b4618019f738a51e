"""EM classification: class averages and how they form, convergence of the runs, time of an iteration."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.figures.house_style import (
    BAD_PIXEL,
    HIGHLIGHT,
    NEUTRAL,
    QUIET,
    TWO_COLUMNS,
    letter,
    new_figure,
    styled,
    thumbnail,
)

_KNOWN = "icosahedra of known sizes"
_GAMMA = 0.5
"""Exponent of the colour scale: below 1, so that weaker rings are visible."""


@styled
def classes_figure(
    pictures: np.ndarray, titles: Sequence[str], *, chosen: Sequence[int] = (), columns: int = 7
) -> Figure:
    """Class averages of a run, each on a square-root colour scale of its own; chosen classes have a frame.

    Parameters
    ----------
    pictures
        (classes, side, side), NaN outside the band of q.
    titles
        Title of each class.
    chosen
        Numbers of the classes that get a frame.
    columns
        Pictures in a row.

    Returns
    -------
    Figure
        6.9 in wide.
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
    """Class averages from noise to rings, one row for each class; each on a square-root colour scale of its own.

    Parameters
    ----------
    pictures
        (classes, iterations, side, side), NaN outside the band of q.
    iterations
        Iteration of each column; 0 is the noise at the start.
    titles
        Title of each class.

    Returns
    -------
    Figure
        6.9 in wide.
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
    """Log-likelihood, and patterns that changed class, at each iteration; one line for each run.

    Parameters
    ----------
    log_likelihood
        Mean over the patterns, for each run and iteration.
    changed
        Number of patterns whose class changed, for each run and iteration.

    Returns
    -------
    Figure
        6.9 in wide.
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
    """Mean radial profiles of the classes of a run, and the range of profiles expected of the particle.

    Parameters
    ----------
    radii
        (radii,) distance from the beam [pixels].
    profiles
        (classes, radii) [photons per pixel]; NaN for an empty class.
    chosen
        Numbers of the classes in the left panel; the others go to the right one.
    references
        Expected profiles (references, radii) in any unit: each is divided by its mean.

    Returns
    -------
    Figure
        6.9 in wide; all profiles are divided by their means.
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


@styled
def growth_figure(timings: Mapping[str, pd.DataFrame]) -> Figure:
    """Time of an iteration against patterns, classes and rotations, one panel each, on logarithmic axes.

    Parameters
    ----------
    timings
        Varied quantity ("patterns", "classes", "rotations") → table with that column, and one column of seconds for
        each way to compute; NaN where it was not measured.

    Returns
    -------
    Figure
        6.9 in wide; a gray line shows growth in proportion.
    """
    figure = new_figure(TWO_COLUMNS, 2.4)
    panels = figure.subplots(1, len(timings), sharey=True, squeeze=False)[0]
    for axes, (name, table) in zip(panels, timings.items(), strict=True):
        amounts = table[name].to_numpy(float)
        for way, colour in zip(table.columns.drop(name), (NEUTRAL, HIGHLIGHT, "#009E73"), strict=False):
            axes.loglog(amounts, table[way], "o-", markersize=3, color=colour, label=way)
        first = table.columns.drop(name)[0]
        axes.loglog(amounts, table[first].iloc[-1] * amounts / amounts[-1], color=QUIET, linewidth=0.8, zorder=0.5)
        axes.set_xlabel(name)
        axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts], size=6)
        axes.minorticks_off()
    panels[0].set_ylabel("seconds per iteration")
    letter(panels)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=3)
    return figure


def _show(axes: Axes, picture: np.ndarray, *, from_lowest: bool = False) -> None:
    """Show one class average without ticks."""
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=BAD_PIXEL)
    norm = PowerNorm(_GAMMA, np.nanmin(picture) if from_lowest else 0.0, np.nanmax(picture))
    axes.imshow(picture, norm=norm, cmap=colours)
    thumbnail(axes)
