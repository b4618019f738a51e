"""Accuracy of the preparation: centres, sizes and photons against the truth of simulated frames."""

import numpy as np
from matplotlib.figure import Figure

from helpers.figures.colours import HIGHLIGHT, NEUTRAL, QUIET
from helpers.figures.house_style import ONE_COLUMN, TWO_COLUMNS, letter, new_figure, number_twos_and_fives, styled

_BINS = 8
_DOTS = {"s": 5, "color": NEUTRAL, "alpha": 0.5, "linewidths": 0}

# tolerated errors, which the figures mark [pixels, nm, fraction]
_CENTRE_PIXELS, _SIZE_NM, _PHOTON_BIAS = 0.5, 3.0, 0.01


@styled
def centre_error_figure(photons: np.ndarray, errors: np.ndarray) -> Figure:
    """Measured minus true beam centre: (a) along rows and columns, (b) the distance against the photons.

    Parameters
    ----------
    photons
        (N,) number of photons in each pattern.
    errors
        (N, 2) measured minus true row and column [pixels].
    """
    distance = np.hypot(*np.asarray(errors, float).T)
    figure = new_figure(TWO_COLUMNS, 2.6)
    across, against = figure.subplots(1, 2)
    across.scatter(errors[:, 1], errors[:, 0], **_DOTS)
    angle = np.linspace(0, 2 * np.pi, 200)
    across.plot(_CENTRE_PIXELS * np.cos(angle), _CENTRE_PIXELS * np.sin(angle), color=HIGHLIGHT, linewidth=0.9)
    reach = 1.15 * max(_CENTRE_PIXELS, float(np.quantile(distance, 0.995)))
    across.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    across.set(xlabel="column, measured − true (pixels)", ylabel="row, measured − true\n(pixels)")
    against.scatter(photons, distance, **_DOTS)
    against.axhline(_CENTRE_PIXELS, color=HIGHLIGHT, linewidth=0.9)
    against.set(
        xscale="log", yscale="log", xlabel="photons in a pattern", ylabel="distance from the\ntrue centre (pixels)"
    )
    number_twos_and_fives(against.xaxis, against.yaxis)
    share = np.mean(distance <= _CENTRE_PIXELS)
    letter((across, against), [f"{share:.1%} within {_CENTRE_PIXELS:g} pixels", f"{len(distance)} patterns"])
    return figure


@styled
def size_error_figure(true_nm: np.ndarray, size_nm: np.ndarray) -> Figure:
    """Measured against true particle size.

    Parameters
    ----------
    true_nm
        (N,) true size, the diameter of the sphere of the same volume [nm].
    size_nm
        (N,) measured size [nm].
    """
    true_nm, size_nm = np.asarray(true_nm, float), np.asarray(size_nm, float)
    figure = new_figure(ONE_COLUMN, 2.6)
    axes = figure.subplots()
    ends = np.array([true_nm.min(), true_nm.max()])
    axes.fill_between(ends, -_SIZE_NM, _SIZE_NM, color="#EEEEEE", linewidth=0)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.scatter(true_nm, size_nm - true_nm, **_DOTS)
    axes.set(xlabel="true size (nm)", ylabel="measured − true size (nm)")
    letter([axes], [f"{np.mean(np.abs(size_nm - true_nm) <= _SIZE_NM):.1%} of {size_nm.size} within {_SIZE_NM:g} nm"])
    return figure


@styled
def photon_bias_figure(signal: np.ndarray, sums: dict[str, np.ndarray]) -> Figure:
    """Mean relative error of photon sums, in bins of equal numbers of patterns.

    Points are Σ measured / Σ true − 1 in a bin, bars its standard error from the scatter between patterns.

    Parameters
    ----------
    signal
        (N,) true expected number of scattered photons in each pattern.
    sums
        Name → (N,) measured photon sums, for instance before and after the removal of the background.
    """
    figure = new_figure(ONE_COLUMN, 2.8)
    axes = figure.subplots()
    axes.axhspan(-100 * _PHOTON_BIAS, 100 * _PHOTON_BIAS, color="#EEEEEE", linewidth=0)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    for (name, measured), marker in zip(sums.items(), "os^Dv", strict=False):
        middle, bias, error = binned_bias(signal, measured)
        total = np.sum(measured) / np.sum(signal) - 1
        axes.errorbar(
            middle, 100 * bias, yerr=100 * error, fmt=marker, elinewidth=0.8, label=f"{name}: {total:+.1%} in all"
        )
    axes.set(xscale="log", xlabel="scattered photons in a pattern (truth)", ylabel="error of the photon sum (%)")
    number_twos_and_fives(axes.xaxis)
    figure.legend(loc="outside upper center")
    return figure


def binned_bias(signal: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median of the true photons, Σ measured / Σ true − 1 and its standard error, in bins of equal numbers of patterns.

    Signal and measured are the true expected and the measured photons (N,) of each pattern; all results are (bins,).
    """
    signal, measured = np.asarray(signal, float), np.asarray(measured, float)
    order = np.argsort(signal, kind="stable")
    bins = [members for members in np.array_split(order, _BINS) if members.size > 1]
    middle = np.array([np.median(signal[members]) for members in bins])
    bias = np.array([measured[members].sum() / signal[members].sum() - 1 for members in bins])
    scatter = [np.std(measured[members] - signal[members], ddof=1) * np.sqrt(members.size) for members in bins]
    return middle, bias, np.array(scatter) / np.array([signal[members].sum() for members in bins])
