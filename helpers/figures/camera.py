"""Raw output of a camera: photon peaks in the values of its pixels, and lit pixels of its frames."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.figures.colours import HIGHLIGHT, NEUTRAL
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, number_twos_and_fives, styled
from helpers.figures.patterns import gallery
from helpers.patterns import PatternStack
from helpers.preparation import HitRule, whole_photons

_PHOTONS_SHOWN = 3.6
_BINS_A_PHOTON = 60
_LIT_BINS = 50
_KINDS = ("blank", "single", "double", "droplet")


def brightest_frames(frames: PatternStack, truth: pd.DataFrame, kinds: Sequence[str] = _KINDS) -> Figure:
    """The brightest frame of each kind, in two columns, on one colour scale.

    Parameters
    ----------
    frames
        Simulated detector frames.
    truth
        One row a frame, with the columns species and counted_photons.
    kinds
        Species that are shown, in this order, where there are any.
    """
    brightest = truth.groupby("species")["counted_photons"].idxmax()
    brightest = brightest[[kind for kind in kinds if kind in brightest]]
    values = frames.read_frames(brightest.to_numpy()).clip(0)  # noise about zero has no colour on a logarithmic scale
    titles = [f"{kind}, frame {frame}" for kind, frame in brightest.items()]
    return gallery(values, titles, columns=2, mask=frames.mask, unit="ADU")


@styled
def camera_figure(frames: np.ndarray, mask: np.ndarray, rule: HitRule) -> Figure:
    """Histograms of (a) the values of good pixels, with a peak for each number of photons, and (b) lit pixels.

    Parameters
    ----------
    frames
        (N, rows, columns) [ADU].
    mask
        (rows, columns), True = bad pixel.
    rule
        ADU of a photon, which is the distance between two peaks, and fewest lit pixels of a hit.
    """
    _, lit, _ = whole_photons(frames, mask, rule)
    values, adu_per_photon, fewest_lit = frames[:, ~mask], rule.adu_per_photon, rule.lit_pixels[0]
    figure = new_figure(TWO_COLUMNS, 2.4)
    peaks, lit_panel = figure.subplots(1, 2)
    # bins of whole ADU, because the camera's values are whole numbers
    width = max(1, round(adu_per_photon / _BINS_A_PHOTON))
    edges = np.arange(round(-0.4 * adu_per_photon) - 0.5, _PHOTONS_SHOWN * adu_per_photon, width)
    peaks.hist(np.ravel(values), edges, histtype="stepfilled", color=NEUTRAL)
    for photons in range(int(_PHOTONS_SHOWN) + 1):
        peaks.axvline(photons * adu_per_photon, color=HIGHLIGHT, linewidth=0.7, linestyle=":")
    peaks.set(
        yscale="log", xlabel=f"value of a pixel (ADU); dotted: 0 … {int(_PHOTONS_SHOWN)} photons", ylabel="pixels"
    )
    lit = np.maximum(lit, 1)
    lit_panel.hist(lit, np.geomspace(lit.min(), lit.max() + 1, _LIT_BINS), color=NEUTRAL)
    lit_panel.axvline(fewest_lit, color=HIGHLIGHT, linewidth=0.9)
    lit_panel.set(xscale="log", xlabel="lit pixels in a frame", ylabel="frames per bin")
    number_twos_and_fives(lit_panel.xaxis)
    letter(
        (peaks, lit_panel), ["values of the good pixels", f"{np.mean(lit >= fewest_lit):.0%} of {lit.size} are hits"]
    )
    return figure
