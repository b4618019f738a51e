"""Online classification: rates and delay over time, and the distribution of scores."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.figures.colours import HIGHLIGHT, INK, NEUTRAL, QUIET
from helpers.figures.house_style import ONE_COLUMN, TWO_COLUMNS, letter, new_figure, styled


@styled
def online_rates_figure(history: pd.DataFrame) -> Figure:
    """Patterns, hits and single hits of each second (a), and their median delay (b).

    Parameters
    ----------
    history
        Table of `OnlineClassification.history`: second [s], scored, hits, selected, delay [s].
    """
    figure = new_figure(TWO_COLUMNS, 2.3)
    rates, delays = figure.subplots(1, 2)
    second = history["second"].to_numpy(float)
    lines = (
        ("scored", "patterns", INK, "-"),
        ("hits", "hits", NEUTRAL, "--"),
        ("selected", "single hits", HIGHLIGHT, "-"),
    )
    for column, label, colour, dashes in lines:
        rates.plot(second, history[column], color=colour, linestyle=dashes, marker=".", markersize=3, label=label)
    highest = max(1.0, float(history["scored"].max()))
    rates.set(ylabel="per second", ylim=(0, 1.08 * highest))
    rates.legend(loc="upper left", bbox_to_anchor=(0, -0.22), ncols=3, borderaxespad=0)
    seen = history["delay"].notna().to_numpy()
    delay = history["delay"].to_numpy(float)[seen]
    delays.plot(second[seen], delay, color=INK, marker=".", markersize=3)
    delays.set(ylabel="median delay (s)", ylim=(0, 1.08 * delay.max(initial=0.01)))
    for axes in (rates, delays):
        axes.set_xlabel("time since the first pattern (s)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    letter((rates, delays), ["rates", "from pattern to score"])
    return figure


@styled
def online_scores_figure(histogram: np.ndarray, threshold: float) -> Figure:
    """Histogram of the lowest score of each pattern; the single hits are right of the threshold.

    Parameters
    ----------
    histogram
        Patterns in each bin (bins,); the bins divide 0 to 1 evenly.
    threshold
        Score above which a checkpoint calls a pattern single.
    """
    figure = new_figure(ONE_COLUMN, 2.3)
    axes = figure.subplots()
    axes.stairs(
        np.maximum(histogram, 0.5), np.linspace(0, 1, len(histogram) + 1), baseline=0.5, fill=True, color=NEUTRAL
    )
    axes.axvline(threshold, color=QUIET, linestyle=(0, (3, 2)), label=f"threshold {threshold:g}")
    axes.set(
        xlim=(0, 1),
        ylim=(0.5, 1.5 * max(float(histogram.max(initial=0)), 2.0)),
        yscale="log",
        xlabel="lowest score of the checkpoints",
        ylabel="patterns per bin",
    )
    axes.legend(loc="upper right")
    return figure
