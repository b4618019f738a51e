"""Dragonfly's files of photons: `.emc`, sparse or dense, and the sparse form in HDF5.

An `.emc` starts with 1024 bytes, int32: patterns, pixels, and 0 (sparse), 1 (dense, int32) or 2 (dense, float64).
Sparse: for each pattern the number of pixels with one photon and with several, then where the ones are, where the
others are, and their counts. In HDF5: `num_pix`, and `place_ones`, `place_multi`, `count_multi` with a list of int32
for each pattern.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.entry import Entry
from helpers.patterns.hdf5.file import require_file
from helpers.patterns.hdf5.values import LARGEST_PATTERN, MOST_PATTERNS, check_stored, values_of
from helpers.system import in_short, written_whole

SPARSE, DENSE_INTEGERS, DENSE_FLOATS = 0, 1, 2
KINDS = ("sparse photons", "dense int32 frames", "dense float64 frames")
MEMBERS = ("num_pix", "place_ones", "place_multi", "count_multi")

_HEADER_BYTES = 1024
_NUMBER = np.dtype("<i4")
_LARGEST_COUNT = np.iinfo(np.int32).max


class SparseFile:
    """Photons of a sparse `.emc`; only the numbers of lit pixels are read when it is opened."""

    def __init__(self, path: Path, patterns: int, pixels: int) -> None:
        self.shape = (patterns, pixels)
        self.dtype = np.dtype(np.int32)
        _refuse_other_size(path, _HEADER_BYTES + 8 * patterns, at_least=True)
        lit = np.fromfile(path, _NUMBER, 2 * patterns, offset=_HEADER_BYTES).reshape(2, patterns).astype(np.int64)
        if (lit < 0).any():
            raise PatternFileError("a pattern has a negative number of lit pixels; the file is damaged, write it anew")
        self._starts = np.concatenate([np.zeros((2, 1), np.int64), lit.cumsum(axis=1)], axis=1)
        ones, several = (int(number) for number in self._starts[:, -1])
        self._after = (0, ones, ones + several)
        _refuse_other_size(path, _HEADER_BYTES + 4 * (2 * patterns + ones + 2 * several))
        offset = _HEADER_BYTES + 8 * patterns
        numbers = ones + 2 * several  # NumPy maps no empty file
        self._numbers = np.memmap(path, _NUMBER, "r", offset, (numbers,)) if numbers else np.empty(0, _NUMBER)

    def read(self, patterns: np.ndarray) -> np.ndarray:
        """Counts (n, pixels)."""
        ones, several = (np.stack([starts[patterns], starts[patterns + 1]]) for starts in self._starts)
        place_ones, place_several, counts = (
            [self._numbers[after + start : after + stop] for start, stop in lists.T]
            for after, lists in zip(self._after, (ones, several, several), strict=True)
        )
        return _dense(self.shape[1], patterns, place_ones, place_several, counts)


class SparseDatasets:
    """Photons of Dragonfly's HDF5 form, of a root with all `MEMBERS`."""

    def __init__(self, root: Entry) -> None:
        self._lists = [root.dataset("", name) for name in MEMBERS[1:]]
        patterns = {data.shape for data in self._lists}
        if len(patterns) > 1 or not all(_holds_lists(data) for data in self._lists):
            raise PatternFileError(
                f"{', '.join(MEMBERS[1:])} must hold one list of integers for each pattern, their shapes are "
                f"{[data.shape for data in self._lists]}; write the file anew"
            )
        for data in self._lists:
            check_stored(data)
        count = np.ravel(values_of(root.dataset("", "num_pix")))
        pixels = int(count[0]) if count.size == 1 and count.dtype.kind in "iu" else 0
        if not 1 <= pixels <= LARGEST_PATTERN or self._lists[0].shape[0] > MOST_PATTERNS:
            raise PatternFileError(
                f"num_pix is {in_short(str(count))}, of {self._lists[0].shape[0]} patterns; write "
                f"the number of pixels of a pattern (at most {LARGEST_PATTERN})"
            )
        self.shape = (self._lists[0].shape[0], pixels)
        self.dtype = np.dtype(np.int32)

    def read(self, patterns: np.ndarray) -> np.ndarray:
        """Counts (n, pixels)."""
        lists = ([data[pattern] for pattern in patterns] for data in self._lists)
        return _dense(self.shape[1], patterns, *lists)


def _holds_lists(data: h5py.Dataset) -> bool:
    """Whether a data set holds a list of integers for each pattern."""
    kind = h5py.check_vlen_dtype(data.dtype)
    return len(data.shape or ()) == 1 and kind is not None and np.dtype(kind).kind in "iu"


class DenseFile:
    """Frames of a dense `.emc`."""

    def __init__(self, path: Path, patterns: int, pixels: int, dtype: np.dtype) -> None:
        self.shape = (patterns, pixels)
        self.dtype = dtype
        _refuse_other_size(path, _HEADER_BYTES + patterns * pixels * dtype.itemsize)
        self._frames = np.memmap(path, dtype, "r", _HEADER_BYTES, self.shape)

    def read(self, patterns: np.ndarray) -> np.ndarray:
        """Values (n, pixels)."""
        return np.asarray(self._frames[patterns])


def is_emc(path: Path) -> bool:
    """Whether a file is meant to be an `.emc`: called so and not HDF5, or, under an older name, with its header."""
    if path.suffix.lower() == ".emc":
        return not (path.is_file() and h5py.is_hdf5(path))
    if not path.is_file() or path.stat().st_size <= _HEADER_BYTES:
        return False
    (patterns, pixels, kind), others = np.split(np.fromfile(path, _NUMBER, _HEADER_BYTES // 4), [3])
    is_header = 0 < patterns <= MOST_PATTERNS and 0 < pixels <= LARGEST_PATTERN and kind in range(len(KINDS))
    return is_header and not others.any()


def open_emc(path: Path) -> tuple[str, SparseFile | DenseFile]:
    """The kind (of `KINDS`) and the flat patterns of an `.emc`.

    Refused if its header is impossible, it is empty, or has another size than its header says.
    """
    require_file(path)
    _refuse_other_size(path, _HEADER_BYTES, at_least=True)
    patterns, pixels, kind = (int(number) for number in np.fromfile(path, _NUMBER, 3))
    if kind not in (SPARSE, DENSE_INTEGERS, DENSE_FLOATS) or not 1 <= pixels <= LARGEST_PATTERN or patterns < 0:
        raise PatternFileError(
            f"is no Dragonfly file (its header says {patterns} patterns of {pixels} pixels, kind {kind}); "
            "check the path, or copy the file again"
        )
    if patterns == 0:
        raise PatternFileError(f"{KINDS[kind]} are empty, its header says 0 patterns; write at least one pattern")
    if kind == SPARSE:
        return KINDS[kind], SparseFile(path, patterns, pixels)
    return KINDS[kind], DenseFile(path, patterns, pixels, np.dtype("<i4" if kind == DENSE_INTEGERS else "<f8"))


def _refuse_other_size(path: Path, wanted: int, *, at_least: bool = False) -> None:
    """Raise if a file does not have as many bytes as its header promises."""
    size = path.stat().st_size
    if size < wanted or (size > wanted and not at_least):
        raise PatternFileError(
            f"is not a whole Dragonfly file, it has {size} bytes and its header says {wanted}; "
            "copy it again if it was cut short"
        )


def _dense(
    pixels: int, patterns: np.ndarray, ones: list[np.ndarray], several: list[np.ndarray], counts: list[np.ndarray]
) -> np.ndarray:
    """Counts (n, pixels) from the places of lit pixels; photons at a place that is named twice are added."""
    values = np.zeros((len(patterns), pixels), np.float32)
    for number, (place_ones, place_several, count) in enumerate(zip(ones, several, counts, strict=True)):
        places = np.concatenate([place_ones, place_several])
        if len(place_several) != len(count) or (places.size and not 0 <= places.min() <= places.max() < pixels):
            raise PatternFileError(
                f"pattern {patterns[number]} has photons outside its {pixels} pixels, or places without a "
                "count; the file is damaged, write it anew"
            )
        np.add.at(values[number], places, np.concatenate([np.ones(len(place_ones), np.float32), count]))
    return values


def _lit(blocks: Iterable[np.ndarray], pixels: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Places of single photons, other places and their counts, for each pattern."""
    for block in blocks:
        flat = np.asarray(block).reshape(len(block), -1)
        if flat.shape[1] != pixels:
            raise ValueError(f"patterns of {flat.shape[1]} pixels do not go into a file of {pixels}")
        if flat.dtype.kind == "f" and (flat != np.rint(flat)).any():
            raise PatternFileError(
                "Dragonfly's sparse files hold whole photons, these patterns hold fractions; round them, or write "
                "the selection as .csv or .cxi"
            )
        if flat.size and not 0 <= flat.min() <= flat.max() <= _LARGEST_COUNT:
            raise PatternFileError(f"counts from {flat.min():g} to {flat.max():g} are no photons; write photon counts")
        for pattern in flat:
            several = np.flatnonzero(pattern > 1)
            yield np.flatnonzero(pattern == 1), several, pattern[several]


def write_emc(path: str | os.PathLike, blocks: Iterable[np.ndarray], *, pixels: int) -> None:
    """Write patterns as a sparse `.emc`, whole or not at all.

    `blocks` are counts (n, rows, columns) or (n, pixels), 0 in bad pixels [photons]; refused if not whole, or negative.
    """
    numbers: list[tuple[int, int]] = []
    with written_whole(path) as partial, ExitStack() as stack:
        lists = [stack.enter_context(tempfile.TemporaryFile(dir=partial.parent)) for _ in range(3)]
        for lit in _lit(blocks, pixels):
            numbers.append((lit[0].size, lit[1].size))
            for values, stream in zip(lit, lists, strict=True):
                stream.write(values.astype(_NUMBER).tobytes())
        header = np.zeros(_HEADER_BYTES // 4, _NUMBER)
        header[:3] = len(numbers), pixels, SPARSE
        with open(partial, "wb") as file:
            file.write(header.tobytes())
            file.write(np.array(numbers, _NUMBER).reshape(-1, 2).T.tobytes())
            for stream in lists:
                stream.seek(0)
                shutil.copyfileobj(stream, file)
