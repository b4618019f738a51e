"""One look at the counts of a stack before it is used: doubts whether they are what was measured.

A mask that is read the wrong way round, one that is not found, and values that are no counts leave a file readable, and
everything that is computed from it wrong. None of this can be refused: blank patterns and large gaps exist.
"""

import re
import sys
from collections.abc import Iterable
from contextlib import suppress

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.entry import address
from helpers.patterns.hdf5.file import FOREIGN
from helpers.patterns.layouts.base import listed
from helpers.patterns.markers import dead_in_words, marker_in_words
from helpers.patterns.masks import NAMES
from helpers.patterns.photon_check import LARGEST_LIGHT, impossible_counts, mean_light
from helpers.patterns.stack import PatternStack
from helpers.patterns.storage import spread

_LOOKED_AT = 64
_LOOKED_AT_PIXELS = 50_000_000
_MOST_MASKED = 0.5
_LIKE_A_MASK = re.compile("mask|(bad|dead|hot|good)_?pix", re.IGNORECASE)

_FEWEST = 8
_STUCK_AT = 10
"""Pixels that hold the same count of ten or more in eight patterns or more are stuck: light of ten photons gives the
same count with probability 1/8, so that chance leaves less than one in a million pixels."""

_POLARITY = (
    "if the mask means the opposite, say so with mask_polarity=... (--mask-polarity nonzero-good or nonzero-bad)"
)


def doubts(stack: PatternStack, *, are_frames: bool = False) -> list[str]:
    """Doubts about the counts of a stack, each on one line that names the file, what is odd, and the next step.

    Up to 64 patterns are read, spread over the file. Detector frames may be blank and need not be photons.
    """
    found = [*_of_markers(stack), *_of_masks_left_out(stack)]
    with suppress(PatternFileError):  # what cannot be read is told by whoever reads it
        found += _of_counts(stack, are_frames=are_frames)
    return [f"{stack.path}: {doubt}" for doubt in found]


def print_doubts(lines: Iterable[str]) -> None:
    """Print doubts on standard error as warnings."""
    for line in lines:
        print(f"workbook: warning: {line}", file=sys.stderr, flush=True)


def light_of(values: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Values without what is no light: markers, what is negative or not finite."""
    return np.where(np.isfinite(values) & (values > 0) & ~np.isin(values, markers), values, 0)


def _of_markers(stack: PatternStack) -> list[str]:
    """Pixels that became bad because they hold the largest value of a type."""
    return [
        f"{part.dataset} has {dead_in_words(part.dead)}; they are taken for dead: mark them in the mask"
        for part in stack.parts
        if part.dead.any()
    ]


def _of_masks_left_out(stack: PatternStack) -> list[str]:
    """Data sets that look like a mask of the patterns and are not used."""
    file = stack.origin.file
    if file is None:
        return []
    names: list[str] = []
    with suppress(*FOREIGN):
        file.visit(lambda name: names.append(name) if _LIKE_A_MASK.search(name.rpartition("/")[2]) else None)
    candidates = set().union(*(part.mask_candidates() for part in stack.parts))
    known = {address(file[path]) for path in candidates if path in file}
    known |= {address(file[path]) for path in stack.datasets if path in file}
    shapes = {file[path].shape[at:] for path in stack.datasets if path in file for at in (0, 1)}
    found = [name for name in names if _could_be_a_mask(file, name, shapes) and address(file[name]) not in known]
    if not found:
        return []
    mask = f"{stack.datasets[0].rpartition('/')[0]}/mask".lstrip("/")
    return [
        f"{listed(found)} looks like a mask of the patterns and is not used; if it is theirs, link or copy it to {mask}"
    ]


def _could_be_a_mask(file: h5py.File, name: str, shapes: set[tuple[int, ...]]) -> bool:
    """Whether a data set has a shape of a pattern or of all, and is not the mask of other data beside it."""
    data = None
    with suppress(*FOREIGN):
        data = file[name]
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "iufb":
        return False
    is_of_others = name.rpartition("/")[2] in NAMES and not {"data", "photons"}.isdisjoint(data.parent)
    return data.shape in shapes and not is_of_others


def _of_counts(stack: PatternStack, *, are_frames: bool) -> list[str]:
    """Doubts that a first look at the counts raises."""
    patterns = spread(len(stack), max(1, min(_LOOKED_AT, _LOOKED_AT_PIXELS // stack.mask.size)))
    values, bad = stack.read_unmasked(patterns)
    light = light_of(values, stack.markers)
    good = np.where(bad, 0, light)
    found = _of_the_mask(stack, light, good, bad, are_frames=are_frames)
    marked = values[np.isin(values, stack.markers) & ~bad]
    if are_frames and marked.size:  # patterns are refused for it when they are read
        found.append(
            f"the frames looked at hold {marked.size} values of {marker_in_words(marked[0])}; they count as light: "
            "mark those pixels in the mask"
        )
    if (stuck := _stuck(good)).any():
        row, column = np.argwhere(stuck)[0]
        found.append(
            f"{np.count_nonzero(stuck)} pixels hold the same value in all {len(good)} patterns looked at, for instance "
            f"{good[0, row, column]:g} at row {row}, column {column}: mark them in the mask"
        )
    are_photons = not are_frames and impossible_counts(good, stack.markers) is None
    if are_photons and (brightness := np.median(mean_light(good))) > LARGEST_LIGHT:
        found.append(
            f"the light of the median pattern lies in pixels of {brightness:.0f} photons, more than detectors hold: "
            "mark hot pixels in the mask, or convert detector units to photons with `workbook prepare`"
        )
    return found


def _of_the_mask(
    stack: PatternStack, light: np.ndarray, good: np.ndarray, bad: np.ndarray, *, are_frames: bool
) -> list[str]:
    """Doubts whether bad pixels are bad, from the light (n, rows, columns) in all pixels and in the good ones."""
    usual = np.max if are_frames else np.median
    after, before = (float(usual(values.sum(axis=(1, 2)))) for values in (good, light))
    sensitive = np.ones(stack.mask.shape, bool) if stack.geometry is None else ~stack.geometry.gaps
    share = bad[:, sensitive].mean()
    of = f"the {'brightest' if are_frames else 'median'} of {len(good)} patterns looked at holds"
    if after == 0 and before > 0:
        return [f"{of} 0 photons in good pixels and {before:.0f} in the bad ones ({share:.1%} of all); {_POLARITY}"]
    if after == 0:
        return [f"{of} 0 photons: check that these are the patterns, or name others with dataset=... (--dataset)"]
    if share > _MOST_MASKED:
        return [f"{share:.1%} of the pixels are bad ({stack.parts[0].mask_source}); {_POLARITY}"]
    return []


def _stuck(good: np.ndarray) -> np.ndarray:
    """Pixels that hold the same bright value in all patterns, bool (rows, columns)."""
    if len(good) < _FEWEST:
        return np.zeros(good.shape[1:], bool)
    return (good[0] >= _STUCK_AT) & (good == good[0]).all(axis=0)
