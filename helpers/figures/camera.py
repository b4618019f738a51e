"""Raw output of a camera: photon peaks in the values of its pixels, and lit pixels of its frames."""

import numpy as np
from matplotlib.figure import Figure

from helpers.figures.colours import HIGHLIGHT, NEUTRAL
from helpers.figures.house_style import TWO_COLUMNS, letter, new_figure, number_twos_and_fives, styled

_PHOTONS_SHOWN = 3.6
_BINS_A_PHOTON = 60
_LIT_BINS = 50


@styled
def camera_figure(values: np.ndarray, lit: np.ndarray, *, adu_per_photon: float, fewest_lit: int) -> Figure:
    """Histograms of (a) the values of good pixels, with a peak for each number of photons, and (b) lit pixels.

    Parameters
    ----------
    values
        Values of good pixels, of any shape [ADU].
    lit
        (frames,) number of lit pixels of each frame.
    adu_per_photon
        Expected distance between the peaks [ADU].
    fewest_lit
        Number of lit pixels from which on a frame is a hit.

    Returns
    -------
    Figure
        6.9 in wide.
    """
    figure = new_figure(TWO_COLUMNS, 2.4)
    peaks, frames = figure.subplots(1, 2)
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
    frames.hist(lit, np.geomspace(lit.min(), lit.max() + 1, _LIT_BINS), color=NEUTRAL)
    frames.axvline(fewest_lit, color=HIGHLIGHT, linewidth=0.9)
    frames.set(xscale="log", xlabel="lit pixels in a frame", ylabel="frames per bin")
    number_twos_and_fives(frames.xaxis)
    letter((peaks, frames), ["values of the good pixels", f"{np.mean(lit >= fewest_lit):.0%} of {lit.size} are hits"])
    return figure
