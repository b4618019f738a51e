"""Check that stored values can be photon counts, so that detector units are not taken for photons.

Whole and fractional counts pass, also after a background was subtracted. Refused are NaN and infinity, negative values,
the largest values of integer types (`markers`), and what no detector counts in one shot:

* more than a million in a pixel: such a value marks a pixel that the mask forgot;
* a thousand in the mean pixel of a pattern: a raw frame with its pedestal;
* values that are not whole (half of those above 0.5 lie more than 0.1 from a whole number) in a pattern whose light
  lies in pixels of more than 150 on average, Σv² / Σv. The paper's detector holds 126 photons a pixel. Ten measured
  frames of PR772 have 330 to 6100 in detector units (130 a photon), and 2.5 to 47 as fractional photons.
"""

import math
from functools import partial

import numpy as np

from helpers.patterns.markers import NO_MARKERS, marker_in_words

_LARGEST_COUNT = 1e6
_LARGEST_MEAN = 1e3
LARGEST_LIGHT = 150.0
_LIT = 0.5
_WHOLE = 0.1

_UNITS = "these look like detector units: convert them to photons with `workbook prepare`"


def impossible_counts(counts: np.ndarray, markers: np.ndarray = NO_MARKERS) -> tuple[int, str, str] | None:
    """The first of (n, rows, columns) patterns that cannot be photon counts: its place, what is wrong, the next step.

    Bad pixels must be 0; `markers` (m,), ascending, are values that are no counts. None if all patterns can be.
    """
    highest, lowest = counts.max(axis=(1, 2), initial=0), counts.min(axis=(1, 2), initial=0)
    checks = (
        (lambda: ~(np.isfinite(highest) & np.isfinite(lowest)), _tell_not_finite),
        (lambda: _hold_any(counts, highest, markers), partial(_tell_marked, markers=markers)),
        (lambda: highest > _LARGEST_COUNT, _tell_too_large),
        (lambda: (highest > _LARGEST_MEAN) & (_mean(counts, highest) > _LARGEST_MEAN), _tell_pedestal),
        (lambda: _in_detector_units(counts, highest > LARGEST_LIGHT), _tell_not_whole),
        (lambda: lowest < 0, _tell_negative),
    )
    for look, tell in checks:  # one after the other: a later check may not bear what an earlier one finds
        if (wrong := look()).any():
            place = int(np.flatnonzero(wrong)[0])
            return place, *tell(counts[place])
    return None


def _hold_any(counts: np.ndarray, highest: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Which patterns hold one of the markers, bool (n,); only the bright ones are looked through."""
    found = highest >= markers.min(initial=np.inf)
    found[found] = np.isin(counts[found], markers).any(axis=(1, 2))
    return found


def _mean(counts: np.ndarray, highest: np.ndarray) -> np.ndarray | float:
    """Mean pixel of each pattern, if any can have a high one."""
    return counts.mean(axis=(1, 2)) if (highest > _LARGEST_MEAN).any() else 0.0


def mean_light(light: np.ndarray) -> np.ndarray:
    """Photons of the pixel that the mean photon lies in, Σv² / Σv: (n,) of values (n, ...) from 0; 0 where all are."""
    flat = light.reshape(len(light), math.prod(light.shape[1:]))
    return np.einsum("ij,ij->i", flat, flat) / np.maximum(flat.sum(axis=1), np.finfo(np.float32).tiny)


def _in_detector_units(counts: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Which of the candidates have much light in pixels that do not hold whole numbers, bool (n,)."""
    light = np.maximum(counts[candidates], 0).reshape(candidates.sum(), counts.shape[1] * counts.shape[2])
    lit = light > _LIT
    fractional = (np.abs(light - np.rint(light)) > _WHOLE) & lit
    bright = mean_light(light) > LARGEST_LIGHT
    found = candidates.copy()
    found[candidates] = bright & (2 * fractional.sum(axis=1) > lit.sum(axis=1))
    return found


def _tell_not_finite(pattern: np.ndarray) -> tuple[str, str]:
    values = pattern[~np.isfinite(pattern)]
    finding = f"{values.size} NaN or infinite values (first {values[0]:g})"
    cure = "mask them, or read with nan_as_zero=True (--nan-as-zero)"
    rest = np.where(np.isfinite(pattern), pattern, 0)[None]
    return finding, f"{cure}; {_UNITS}" if _in_detector_units(rest, np.array([True])).any() else cure


def _tell_marked(pattern: np.ndarray, markers: np.ndarray) -> tuple[str, str]:
    values = pattern[np.isin(pattern, markers)]
    finding = f"{values.size} values of {marker_in_words(values[0])}, which marks pixels without a count,"
    return finding, "mark those pixels in the mask, or, if they are counts, store saturation_value in the detector"


def _tell_too_large(pattern: np.ndarray) -> tuple[str, str]:
    finding = f"{(pattern > _LARGEST_COUNT).sum()} values that cannot be photon counts (largest {pattern.max():g})"
    return finding, f"mark those pixels in the mask; if the whole pattern is so, {_UNITS}"


def _tell_pedestal(pattern: np.ndarray) -> tuple[str, str]:
    return f"values that cannot be photon counts (mean {pattern.mean():.0f})", _UNITS


def _tell_not_whole(pattern: np.ndarray) -> tuple[str, str]:
    finding = f"values that cannot be photon counts (up to {pattern.max():g} and far from whole numbers)"
    return finding, _UNITS


def _tell_negative(pattern: np.ndarray) -> tuple[str, str]:
    values = pattern[pattern < 0]
    finding = f"{values.size} negative values (first {values[0]:g})"
    return finding, "mask them, or convert to photons with negative counts set to 0 (`workbook prepare`)"
