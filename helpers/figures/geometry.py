"""Figure 1: sketch of the experiment, computed from its geometry. Lengths in the sketch are inches on paper."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, Polygon, RegularPolygon
from scipy import constants

from helpers.experiment import AMOX34117, Experiment
from helpers.figures.colours import HIGHLIGHT, INK, NEUTRAL
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, pixel_axes, styled
from helpers.preparation import sphere_form_factor

PANEL_SHAPE = (512, 1024)
"""Rows and columns of the pnCCD panel [pixels] (section 2.1 of the paper)."""

_SPHERE_NM = 68.0
_SKETCH = (4.35, 2.65)
_BEAM_Y = 0.92
_FOCUS_X = 1.55
_DETECTOR_X = 3.4
_PANEL_INCHES = 2.3
_DEPTH = np.array([0.56, 0.27])
_BEAM = "#7B4FA3"
_TEXT = 7
_ARROW = {"linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}
_PARTICLE = {"facecolor": "#E69F00", "edgecolor": INK}

# particles that are not hit: across and up [in]
_STREAM_ACROSS = (-0.02, 0.03, -0.03, 0.02, -0.02, 0.03, -0.02, 0.02)
_STREAM_UP = (1.93, 1.74, 1.55, 1.34, 1.15, 0.66, 0.47, 0.3)


@styled
def figure_1(experiment: Experiment) -> Figure:
    """Sketch of the experiment (a) and momentum transfer in the crop (b) (Figure 1 of the paper).

    E = h c / λ; q = 2π r p / (λ D); one full period at q is 2π / q long.

    Parameters
    ----------
    experiment
        Geometry of the experiment, from which every number but the panel's size is computed.
    """
    figure = new_figure(TWO_COLUMNS, 2.9)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.72, 1), height_ratios=(1, 0.62))
    sketch, crop, numbers = (figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1]))
    sketch.set(xlim=(0, _SKETCH[0]), ylim=(0, _SKETCH[1]), aspect="equal", anchor="W")
    sketch.axis("off")
    _draw_detector(sketch, experiment)
    _draw_beam(sketch, experiment)
    _draw_injector(sketch)
    _draw_distance(sketch, experiment)
    _draw_crop(crop, experiment)
    _write_numbers(numbers, experiment)
    letter((sketch, crop), ("not to scale", "crop, lines of equal q (nm$^{-1}$)"))
    return figure


def photon_energy_kev(experiment: Experiment) -> float:
    """Photon energy, h c / λ [keV]."""
    return constants.h * constants.c / (experiment.wavelength_nm * constants.nano) / (constants.kilo * constants.eV)


def _on_panel(across: np.ndarray | float, up: np.ndarray | float) -> np.ndarray:
    """Points (…, 2) of the sketch for positions on the detector plane, in widths of the panel from the beam."""
    across, up = np.asarray(across)[..., None], np.asarray(up)[..., None]
    return np.array([_DETECTOR_X, _BEAM_Y]) + _PANEL_INCHES * (across * _DEPTH + up * np.array([0.0, 1.0]))


def _rectangle(width: float, bottom: float, top: float) -> np.ndarray:
    """Corners of a rectangle on the detector plane, centred on the beam."""
    return _on_panel(np.array([-1, 1, 1, -1]) * width / 2, np.array([bottom, bottom, top, top]))


def _draw_detector(axes: Axes, experiment: Experiment) -> None:
    """Draw the panel above the beam, the crop with its rings, and the cone of scattered light."""
    (rows, columns), wide, name = _panel(experiment)
    edge = -experiment.centre_row / wide
    panel = _rectangle(columns / wide, edge, rows / wide + edge)
    axes.add_patch(Polygon(panel, facecolor="#EDEDED", edgecolor=INK))
    corners = _rectangle(experiment.columns / wide, edge, experiment.rows / wide + edge)
    focus = np.array([_FOCUS_X, _BEAM_Y])
    axes.add_patch(Polygon([focus, corners[0], corners[3], corners[2]], facecolor=NEUTRAL, alpha=0.13, linewidth=0))
    for corner in corners:
        axes.plot(*zip(focus, corner, strict=True), color=NEUTRAL, linewidth=0.4)
    _draw_rings(axes, experiment)
    axes.add_patch(Polygon(corners, fill=False, edgecolor=HIGHLIGHT, linewidth=0.9))
    left, top = _on_panel(-columns / wide / 2, rows / wide + edge)
    panel = f"{name}\n{rows} × {columns} pixels\nof {_pixel_text(experiment)}"
    axes.text(left - 0.15, top + 0.2, panel, size=_TEXT, ha="center")
    axes.annotate(
        f"crop {experiment.rows} × {experiment.columns}",
        corners[1],
        (corners[1][0] + 0.06, _BEAM_Y - 0.32),
        size=_TEXT,
        color=HIGHLIGHT,
        ha="left",
        va="top",
        arrowprops={"arrowstyle": "-", "color": HIGHLIGHT, **_ARROW, "shrinkB": 1},
    )


def _panel(experiment: Experiment) -> tuple[tuple[int, int], float, str]:
    """Rows and columns of the detector, pixels that fill the width of the sketch, and the detector's name.

    Where the crop is no part of the paper's panel, all that is known of the detector is the crop itself.
    """
    fits = experiment.rows <= PANEL_SHAPE[0] and experiment.columns <= PANEL_SHAPE[1]
    if fits and math.isclose(experiment.pixel_m, AMOX34117.pixel_m):
        return PANEL_SHAPE, PANEL_SHAPE[1], "pnCCD panel"
    above = experiment.rows - experiment.centre_row
    return experiment.shape, max(experiment.columns, 2 * above, 4 * experiment.centre_row), "detector"


def _draw_rings(axes: Axes, experiment: Experiment) -> None:
    """Draw the pattern of a sphere on the crop, in the perspective of the sketch."""
    _, wide, _ = _panel(experiment)
    row, column = np.mgrid[0 : experiment.rows + 1 : 3, 0 : experiment.columns + 1 : 3]
    corners = _on_panel((column - experiment.columns / 2) / wide, (row - experiment.centre_row) / wide)
    pattern = _sphere_pattern(experiment)[1::3, 1::3][: row.shape[0] - 1, : row.shape[1] - 1]
    axes.pcolormesh(corners[..., 0], corners[..., 1], pattern, norm=_pattern_norm(), rasterized=True)


def _draw_beam(axes: Axes, experiment: Experiment) -> None:
    """Draw the pulses, which are focused and pass through the gap below the panel."""
    ends = [(0.05, _BEAM_Y + 0.17), (_FOCUS_X, _BEAM_Y + 0.012), (_FOCUS_X, _BEAM_Y - 0.012), (0.05, _BEAM_Y - 0.17)]
    axes.add_patch(Polygon(ends, facecolor=_BEAM, alpha=0.15, linewidth=0))
    for x in (0.25, 0.68, 1.11):
        height = 0.34 * (_FOCUS_X - x) / (_FOCUS_X - 0.05)
        axes.add_patch(Ellipse((x, _BEAM_Y), 0.06, height, facecolor=_BEAM, linewidth=0))
    arrow = {"arrowstyle": "-|>,head_width=0.12,head_length=0.3", "color": _BEAM, "linestyle": (0, (4, 2)), **_ARROW}
    axes.annotate("", (_SKETCH[0] - 0.03, _BEAM_Y), (0.05, _BEAM_Y), arrowprops=arrow)
    energy = f"{photon_energy_kev(experiment):.2f} keV\nλ = {experiment.wavelength_nm:.3f} nm"
    axes.text(0.05, _BEAM_Y - 0.24, f"focused XFEL pulses\n{energy}", size=_TEXT, color=_BEAM, va="top")


def _draw_injector(axes: Axes) -> None:
    """Draw the nozzle, the stream of particles, and the particle that is hit."""
    x = _FOCUS_X
    nozzle = [(x - 0.17, 2.6), (x + 0.17, 2.6), (x + 0.17, 2.25), (x + 0.04, 2.03), (x - 0.04, 2.03), (x - 0.17, 2.25)]
    axes.add_patch(Polygon(nozzle, facecolor="#D5D5D5", edgecolor=INK))
    axes.text(x - 0.25, 2.42, "aerodynamic\nlens injector", size=_TEXT, ha="right", va="center")
    for across, y in zip(_STREAM_ACROSS, _STREAM_UP, strict=True):
        particle = RegularPolygon((x + across, y), 6, radius=0.035, orientation=9 * across, linewidth=0.4, **_PARTICLE)
        axes.add_patch(particle)
    axes.add_patch(RegularPolygon((x, _BEAM_Y), 6, radius=0.05, linewidth=0.5, zorder=5, **_PARTICLE))
    axes.add_patch(Circle((x, _BEAM_Y), 0.13, fill=False, edgecolor=INK, linewidth=0.5, linestyle=(0, (2, 1.5))))
    axes.text(x - 0.1, 1.62, "particle\nstream", size=_TEXT, ha="right", va="center")
    axes.text(x + 0.1, _BEAM_Y - 0.17, "interaction\nregion", size=_TEXT, ha="left", va="top")


def _draw_distance(axes: Axes, experiment: Experiment) -> None:
    """Draw the dimension line from the interaction region to the detector."""
    y = 0.14
    for x in (_FOCUS_X, _DETECTOR_X):
        axes.plot((x, x), (y - 0.06, y + 0.06), color=INK, linewidth=0.5)
    axes.plot((_DETECTOR_X, _DETECTOR_X), (y, _BEAM_Y), color=INK, linewidth=0.4, linestyle=(0, (1, 2)))
    arrow = {"arrowstyle": "<|-|>,head_width=0.1,head_length=0.25", "color": INK, **_ARROW}
    axes.annotate("", (_DETECTOR_X, y), (_FOCUS_X, y), arrowprops=arrow)
    middle, distance = (_FOCUS_X + _DETECTOR_X) / 2, f"D = {experiment.distance_m:.3f} m"
    axes.text(middle, y + 0.04, distance, size=_TEXT, ha="center", va="bottom")


def _draw_crop(axes: Axes, experiment: Experiment) -> None:
    """Draw the crop seen from the front, with lines of equal momentum transfer."""
    axes.imshow(_sphere_pattern(experiment), norm=_pattern_norm())
    q = experiment.q()
    lines = axes.contour(q, levels=np.arange(0.2, q.max(), 0.2), colors="white", linewidths=0.5)
    axes.clabel(lines, fmt="%.1f", fontsize=6.5)
    axes.plot(experiment.centre_column, experiment.centre_row, "+", color=HIGHLIGHT, markersize=6)
    pixel_axes(axes)


def _write_numbers(axes: Axes, experiment: Experiment) -> None:
    """Write the numbers that follow from the geometry."""
    axes.axis("off")
    q = experiment.q().max()
    lines = (
        ("pattern shown", f"calculated, sphere of {_SPHERE_NM:.0f} nm"),
        ("pixel", _pixel_text(experiment)),
        ("q of one pixel", f"{experiment.q_step:.5f} nm$^{{-1}}$"),
        ("largest q (corner)", f"{q:.2f} nm$^{{-1}}$"),
        ("full period there", f"{2 * math.pi / q:.1f} nm"),
    )
    for k, (name, value) in enumerate(lines):
        y = 0.9 - 0.2 * k
        axes.text(0.0, y, name, size=_TEXT, transform=axes.transAxes, va="center")
        axes.text(1.0, y, value, size=_TEXT, transform=axes.transAxes, va="center", ha="right")


def _pixel_text(experiment: Experiment) -> str:
    """Size of a pixel as text."""
    size = experiment.pixel_m * 1e6
    return f"{size:g} × {size:g} µm²"


def _sphere_pattern(experiment: Experiment) -> np.ndarray:
    """Intensity (rows, columns) of a sphere on the crop, relative to the forward direction."""
    intensity = sphere_form_factor(experiment.q(), _SPHERE_NM / 2)
    return intensity / sphere_form_factor(np.zeros(1), _SPHERE_NM / 2)


def _pattern_norm() -> LogNorm:
    """Colour scale over four decades of intensity."""
    return LogNorm(1e-5, 1e-1, clip=True)
