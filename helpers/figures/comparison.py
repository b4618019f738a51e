"""Comparison of selections: Table 4 with intervals, and agreement between families."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from helpers.evaluation import NEVER_SINGLE
from helpers.figures.colours import QUIET, family_colour, family_title
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, styled

_REFERENCES = {"manual": "against the manual selection", "truth": "against the simulated truth"}
_NO_SKILL = "without skill: every pattern selected"
_OPAQUE = {"facecolor": "white", "linewidth": 0, "pad": 0.5}


@styled
def table_4_figure(table_4: pd.DataFrame) -> Figure:
    """F₁ of each stable selection with its bootstrap interval, a panel for each reference (Table 4).

    The dashed line is F₁ = 2p / (1 + p) of a classifier that selects everything, with the share p of single hits: the
    best value without skill.

    Parameters
    ----------
    table_4
        Table from `evaluation.table_4` with the additional columns f1_lower and f1_upper, the ends of the interval.
    """
    references = list(dict.fromkeys(table_4["reference"]))
    families = list(dict.fromkeys(table_4["family"]))
    figure = new_figure(TWO_COLUMNS, 1.05 + 0.22 * len(families))
    panels = figure.subplots(1, len(references), sharey=True, squeeze=False)[0]
    for axes, reference in zip(panels, references, strict=True):
        _draw_f1_bars(axes, table_4[table_4["reference"] == reference])
    letter(panels, [_REFERENCES.get(reference, reference) for reference in references])
    panels[0].set_yticks(range(len(families)), [family_title(family) for family in families])
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right")
    return figure


def no_skill_f1(table_4: pd.DataFrame) -> float:
    """F₁ of selecting every pattern, 2p / (1 + p), where p is one minus the accuracy of selecting nothing.

    The rows of Table 4 are those of one reference; NaN without `never-single` among them.
    """
    share = 1 - table_4.loc[table_4["family"] == NEVER_SINGLE, "accuracy"].mean()
    return float(2 * share / (1 + share))


@styled
def agreement_figure(iou: pd.DataFrame) -> Figure:
    """Intersection over union of every two selections, equation (5), as an annotated matrix.

    Parameters
    ----------
    iou
        Symmetric table of fractions, families in rows and columns, from `evaluation.agreement`.
    """
    names = [family_title(name) for name in iou.index]
    figure = new_figure(TWO_COLUMNS, 1.8 + 0.34 * len(names))
    axes = figure.subplots()
    shown = axes.imshow(iou, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(iou.to_numpy()):
        red, green, blue = to_rgb(shown.cmap(shown.norm(value)))
        bright = 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="black" if bright else "white")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(
        shown, ax=axes, label="intersection over union (fraction)", pad=0.02, aspect=25
    ).outline.set_linewidth(0.4)
    return figure


def _draw_f1_bars(axes: Axes, rows: pd.DataFrame) -> None:
    """Bars with intervals of one reference."""
    bars = np.arange(len(rows))
    f1 = rows["f1"].to_numpy()
    spread = np.abs(rows[["f1_lower", "f1_upper"]].to_numpy().T - f1)
    axes.barh(bars, f1, height=0.65, color=[family_colour(family) for family in rows["family"]], alpha=0.7)
    axes.errorbar(f1, bars, xerr=spread, fmt="none", ecolor="black", elinewidth=0.8)
    for bar, value, upper in zip(bars, f1, rows["f1_upper"], strict=True):
        axes.text(max(upper, value) + 0.02, bar, f"{value:.2f}", va="center", size=7, bbox=_OPAQUE)
    axes.axvline(no_skill_f1(rows), color=QUIET, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0.5, label=_NO_SKILL)
    axes.set(xlim=(0, 1.08), xticks=np.arange(0, 1.01, 0.2), xlabel="$F_1$-score (95 % interval)")
