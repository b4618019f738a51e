"""Values that mark a pixel without a count: the largest ones of the integer types.

Detectors write 2ⁿ − 1 into gaps and dead pixels, and programs keep that value when they store the counts in a wider
type or as floats. With 15 bits and more it is no count: no detector holds ten thousand photons in a pixel and a shot.
255 and 127 can be counts that were cut off at the end of an 8-bit type: such a value marks a pixel only where the
type is that narrow, and the pixel has no other in eight patterns or more.
"""

import math
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from helpers.errors import WorkbookError
from helpers.patterns.hdf5.file import FOREIGN
from helpers.patterns.storage import Storage

NO_MARKERS = np.array([], np.float32)

_BITS = (15, 16, 31, 32, 63, 64)
_FEWEST_OF_8_BITS = 8


def markers_of(dtype: np.dtype, saturation: float | None, bits: tuple[int, ...] = _BITS) -> np.ndarray:
    """Values that are no counts in a data set of this type, ascending (n,), float32 as they are read.

    The file may say with `saturation` that its pixels count further [photons]: up to there a value is a count.
    """
    largest = np.iinfo(dtype).max if dtype.kind in "iu" else np.inf
    values = [2**number - 1 for number in bits if (saturation or 0) < 2**number - 1 <= largest]
    return np.array(values, np.float32)


def marker_in_words(value: float) -> str:
    """A marker as the file holds it; float32 has no 2³² − 1."""
    return f"{2 ** round(math.log2(value + 1)) - 1}, the largest of an integer type"


def dead_in_words(dead: np.ndarray) -> str:
    """How many pixels `dead_pixels` found, and what they hold."""
    return f"{np.count_nonzero(dead)} pixels that always hold {marker_in_words(dead.max())}"


def dead_pixels(storage: Storage, saturation: Callable[[], float | None], patterns: np.ndarray) -> np.ndarray:
    """Value of each pixel that holds one and the same marker in all of these patterns (n,); else 0: (rows, columns).

    Patterns that cannot be read are passed over: that is told when they are asked for. In most files the first pattern
    shows that there is none.
    """
    bits = _BITS
    if storage.dtype.itemsize == 1:
        if patterns.size < _FEWEST_OF_8_BITS:
            return np.zeros(storage.shape[1:], np.float32)
        bits = (7,) if storage.dtype.kind == "i" else (8,)
    markers = markers_of(storage.dtype, None, bits)
    held = None
    for pattern in patterns:
        values = None
        with suppress(WorkbookError, *FOREIGN), np.errstate(over="ignore"):
            values = np.asarray(storage.read(np.array([pattern])), np.float32)[0]
        if values is None:
            continue
        if held is None and (values >= markers[0]).any():
            markers = markers_of(storage.dtype, saturation(), bits)
            held = np.where(np.isin(values, markers), values, 0)
        elif held is not None:
            held = np.where(held == values, held, 0)
        if held is None or not held.any():
            break
    return np.zeros(storage.shape[1:], np.float32) if held is None else held
