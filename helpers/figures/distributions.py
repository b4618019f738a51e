"""Distributions of photons, sizes and labels over patterns."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import beta

from helpers.figures.colours import NEUTRAL, QUIET
from helpers.figures.house_style import ONE_COLUMN, new_figure, styled

_BINS = 40
_SHARE_BINS = 12
_DASHES = ("-", "--", "-.", ":")
"""Line styles in turn, so that the lines differ in gray print, too."""


@styled
def photon_histogram(photons: Mapping[str, np.ndarray]) -> Figure:
    """Histogram of the photons in a pattern, a line for each species.

    Parameters
    ----------
    photons
        Species → (N,) number of photons in each of its patterns.
    """
    figure = new_figure(ONE_COLUMN, 2.6)
    axes = figure.subplots()
    everything = np.concatenate([np.maximum(values, 1) for values in photons.values()])
    edges = np.geomspace(everything.min(), everything.max() * 1.001 + 1, _BINS + 1)
    for (species, values), dashes in zip(photons.items(), cycle(_DASHES), strict=False):
        axes.hist(np.maximum(values, 1), edges, histtype="step", linestyle=dashes, label=f"{species} ({len(values)})")
    axes.set(xscale="log", xlabel="photons in a pattern", ylabel="patterns per bin")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def size_histogram(sizes: Mapping[str, np.ndarray], size_range: tuple[float, float]) -> Figure:
    """Histogram of the sizes measured from the radial profiles, a line for each label, and the range that is kept.

    Parameters
    ----------
    sizes
        Label → (N,) measured size of each of its patterns [nm].
    size_range
        Smallest and largest size that is kept [nm].
    """
    figure = new_figure(ONE_COLUMN, 2.5)
    axes = figure.subplots()
    edges = np.histogram_bin_edges(np.concatenate(list(sizes.values())), _BINS)
    axes.axvspan(*size_range, color="#EEEEEE", linewidth=0, label=f"{size_range[0]:g}–{size_range[1]:g} nm")
    for (label, values), dashes in zip(sizes.items(), cycle(_DASHES), strict=False):
        axes.hist(values, edges, histtype="step", linestyle=dashes, label=f"{label} ({len(values)})")
    axes.set(xlabel="particle size (nm)", ylabel="patterns per bin", yscale="log")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


@styled
def label_bias_figure(photons: np.ndarray, label: np.ndarray, truth: np.ndarray) -> Figure:
    """Fraction of the true single hits that the simulated expert labels, against their photons.

    Bins hold equal numbers of single hits; bars are 95 % Clopper–Pearson intervals.

    Parameters
    ----------
    photons
        (N,) photons of each pattern.
    label
        bool (N,), True where the expert labels the pattern as a single hit.
    truth
        bool (N,), True where the pattern is a single hit in the simulation.
    """
    label, truth = np.asarray(label, bool), np.asarray(truth, bool)
    middle, share, lower, upper = labelled_share(np.asarray(photons), label, truth)
    overall = label[truth].mean()
    figure = new_figure(ONE_COLUMN, 2.4)
    axes = figure.subplots()
    axes.axhline(overall, color=QUIET, linewidth=0.8, linestyle=(0, (3, 2)), label=f"all: {overall:.2f}")
    bars = (share - lower, upper - share)
    axes.errorbar(middle, share, yerr=bars, fmt="o", color=NEUTRAL, elinewidth=0.8, label="95 % interval")
    axes.set(
        xscale="log",
        ylim=(0, 1),
        xlabel="photons in a pattern",
        ylabel="labelled share of true singles\n(simulated expert, fraction)",
    )
    axes.legend(loc="upper left")
    return figure


def labelled_share(photons: np.ndarray, label: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, ...]:
    """Fraction of single hits with a label, in bins of equal numbers of them, with 95 % Clopper–Pearson intervals.

    Returns the median photons of each bin, the fraction, and the lower and upper end of its interval, each (bins,).
    """
    order = np.argsort(photons[truth], kind="stable")
    bins = np.array_split(order, min(_SHARE_BINS, len(order)))
    middle = np.array([np.median(photons[truth][members]) for members in bins])
    labelled = np.array([label[truth][members].sum() for members in bins])
    number = np.array([len(members) for members in bins])
    # quantiles of the beta distribution; a bin with none or all of its hits labelled ends at 0 or 1
    lower = np.where(labelled > 0, beta.ppf(0.025, np.maximum(labelled, 1), number - labelled + 1), 0.0)
    upper = np.where(labelled < number, beta.ppf(0.975, labelled + 1, np.maximum(number - labelled, 1)), 1.0)
    return middle, labelled / number, lower, upper
