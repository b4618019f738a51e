"""Curves of training and validation (Figures 6 and 7), and of precision against recall."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers.figures.colours import INK, QUIET, family_colour, family_dashes, family_title
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, styled

_ROW_INCHES = 1.45
_RAW = {"alpha": 0.35, "linewidth": 0.4}
_RATE = {"color": INK, "linewidth": 0.7, "linestyle": (0, (3, 2)), "zorder": 1}
_RING = {"markeredgecolor": "black", "markeredgewidth": 0.6}
_SHADE = {"facecolor": "#E6E6E6", "linewidth": 0}


@styled
def training_figure(
    losses: Mapping[str, pd.DataFrame],
    curves: Mapping[str, pd.DataFrame],
    *,
    table_2_range: tuple[int, int],
    network: str = "",
) -> Figure:
    """Loss of each iteration (left) and F₁ of each checkpoint (right), a row for each family (Figures 6 and 7).

    Parameters
    ----------
    losses
        Family → table with the columns iteration, loss, average_loss, learning_rate.
    curves
        Family → metrics of its checkpoints, from `evaluation.validation_curve`.
    table_2_range
        First and last iteration that Table 2 averages over, shaded in the figure.
    network
        Only families of this network; all if empty.

    Returns
    -------
    Figure
        6.9 in wide; letters (a), (b), … along the rows.
    """
    losses = {family: loss for family, loss in losses.items() if not network or family.startswith(f"{network}-")}
    figure = new_figure(TWO_COLUMNS, _ROW_INCHES * len(losses) + 0.45)
    panels = figure.subplots(len(losses), 2, sharex="col", sharey="col", squeeze=False)
    for (left, right), (family, loss) in zip(panels, losses.items(), strict=True):
        _draw_loss(left, loss, family)
        _draw_f1(right, curves[family], family, table_2_range)
    letter(panels.flat, [title for family in losses for title in (family_title(family), "")])
    for axes in panels[-1]:
        axes.set(xlabel="iteration", xlim=(0, 1.01 * max(loss["iteration"].max() for loss in losses.values())))
    figure.legend(handles=_legend_handles(), loc="outside lower center", ncols=4)
    return figure


@styled
def precision_recall_figure(
    curves: Mapping[str, tuple[np.ndarray, ...]], points: Mapping[str, tuple[float, float]], positives_share: float
) -> Figure:
    """Precision and recall at every threshold, so that one default threshold does not decide a comparison.

    Parameters
    ----------
    curves
        Family → precision, recall and thresholds, from `sklearn.metrics.precision_recall_curve`.
    points
        Family → precision and recall of its stable selection (Table 4), fractions.
    positives_share
        Fraction of single hits, which is the precision of a random selection.
    """
    figure = new_figure(TWO_COLUMNS, 3.1)
    axes = figure.subplots()
    for family, (precision, recall, _) in curves.items():
        # from the highest threshold on; scikit-learn's last point (1, 0) belongs to no threshold
        look = {"color": family_colour(family), "linestyle": family_dashes(family), "label": family_title(family)}
        axes.plot(recall[-2::-1], precision[-2::-1], drawstyle="steps-post", **look)
    for family, (precision, recall) in points.items():
        axes.plot(recall, precision, "o", color=family_colour(family), zorder=4, clip_on=False, **_RING)
    axes.plot([], [], "o", color="white", label="stable selection", **_RING)
    axes.axhline(positives_share, color=QUIET, linewidth=0.8, linestyle=(0, (2, 2)), label="random choice")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall (fraction)", ylabel="precision (fraction)")
    axes.grid(visible=True)
    figure.legend(loc="outside right upper")
    return figure


def _draw_loss(axes: Axes, loss: pd.DataFrame, family: str) -> None:
    """Draw loss, running mean, and lines at the changes of the learning rate."""
    colour = family_colour(family)
    axes.plot(loss["iteration"], loss["loss"], color=colour, **_RAW)
    axes.plot(loss["iteration"], loss["average_loss"], color=colour)
    for iteration in rate_changes(loss):
        axes.axvline(iteration, **_RATE)
    axes.set(yscale="log", ylabel="training loss")


def _draw_f1(axes: Axes, curve: pd.DataFrame, family: str, table_2_range: tuple[int, int]) -> None:
    """Draw F₁ of the checkpoints over the shaded range of Table 2."""
    axes.axvspan(*table_2_range, **_SHADE)
    look = {"linestyle": family_dashes(family), "color": family_colour(family), "markersize": 2.5, "linewidth": 0.7}
    axes.plot(curve["iteration"], curve["f1"], "o", **look)
    axes.set(ylim=(0, 1.02), ylabel="$F_1$, validation set")


def _legend_handles() -> list[Artist]:
    """Legend entries for the elements that all rows share, in neutral ink."""
    return [
        Line2D([], [], color=INK, label="loss of an iteration", **_RAW),
        Line2D([], [], color=INK, label="running average"),
        Line2D([], [], label="learning rate changes", **_RATE),
        Patch(label="iterations of Table 2", **_SHADE),
    ]


def rate_changes(loss: pd.DataFrame) -> np.ndarray:
    """Iterations at which the learning rate changes and then stays; a burn-in, where it always rises, counts as one."""
    rate = loss["learning_rate"].to_numpy()
    changed = np.append(np.diff(rate) != 0, False)
    starts = np.flatnonzero(changed[:-1] & ~changed[1:]) + 1
    return loss["iteration"].to_numpy()[starts]
