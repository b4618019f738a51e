"""Values of an HDF5 file that nobody has to trust: never more than is stored, and never what HDF5 would make up.

HDF5 reads zeros where nothing was ever written, and reads on behind the end of a chunk that unpacks to less than it
should. A few kilobytes can declare a petabyte.
"""

import math
import zlib
from itertools import product
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.file import understandable
from helpers.patterns.hdf5.heap import Heaps
from helpers.patterns.hdf5.virtual import check_sources

LARGEST_PATTERN = 2**25
"""Pixels of a pattern; the largest detectors in use have half as many."""

MOST_PATTERNS = 2**26

_LARGEST_CHUNK = 2**28
_MOST_VALUES = 3 * LARGEST_PATTERN


def check_storage(data: h5py.Dataset, path: Path, name: str, *, holes_allowed: bool) -> None:
    """Refuse a data set whose values are not in an HDF5 file, or cannot be unpacked piece by piece.

    Of the chunks only it is asked whether there is any: `Chunks` refuses those that are missing when they are read.

    Parameters
    ----------
    data
        The data set.
    path, name
        The file and the data set, for people.
    holes_allowed
        Whether what was never written may be read as the fill value.

    Raises
    ------
    PatternFileError
        If values lie as raw bytes in another file, were never written, or are packed in chunks that are too large.
    """
    if data.external:
        raise PatternFileError(
            f"{path}: the values of {name} lie as raw bytes in other files ({data.external[0][0]!r}), which could be "
            "anything; copy them into the file, for instance with h5repack"
        )
    chunk_bytes = math.prod(data.chunks or ()) * data.dtype.itemsize
    if data.chunks and chunk_bytes > _LARGEST_CHUNK and data.id.get_create_plist().get_nfilters():
        raise PatternFileError(
            f"{path}: {name} is packed in chunks of {data.chunks} ({chunk_bytes / 2**20:.0f} MiB), and each pattern "
            f"would need a whole one; repack it with h5repack -l {name}:CHUNK={_small_chunk(data)}"
        )
    if not (holes_allowed or data.is_virtual or not data.size or _is_written(data)):
        raise _never_written(path, name, data)


def _is_written(data: h5py.Dataset) -> bool:
    """Whether any of a data set has a place in the file."""
    compact = data.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
    return compact or (data.id.get_num_chunks() if data.chunks else data.id.get_storage_size()) > 0


def _never_written(path: Path, name: str, data: h5py.Dataset, part: str = "") -> PatternFileError:
    return PatternFileError(
        f"{path}: {name}, shape {data.shape}, was never written{part} (HDF5 would read {data.fillvalue}); write it "
        "whole, or read that as no photons with nan_as_zero=True (--nan-as-zero)"
    )


def _small_chunk(data: h5py.Dataset) -> str:
    return "x".join(map(str, (1, *data.shape[1:])))


def values_of(data: h5py.Dataset, path: Path, name: str) -> np.ndarray:
    """All values of a data set that is not a stack: a mask, a map of positions, a column.

    Parameters
    ----------
    data
        The data set.
    path, name
        The file and the data set, for people.

    Raises
    ------
    PatternFileError
        If it has no values or absurdly many, if they are not all stored, or cannot be decoded.
    """
    if data.shape is None or data.size > _MOST_VALUES:
        raise PatternFileError(
            f"{path}: {name} has shape {data.shape}, that is no part of a pattern file; write it anew"
        )
    with understandable(path, name):
        check_sources(data, path, name, holes_allowed=True)
        check_storage(data, path, name, holes_allowed=False)
        Chunks(data, path, name).check()
        if data.dtype.kind == "O":
            Heaps(data).check()
        return data[()]


class Chunks:
    """The chunks of a data set: each is there, and one in gzip unpacks to as many bytes as it must have.

    Parameters
    ----------
    data
        A data set; what is packed otherwise than with gzip is left to HDF5.
    path, name
        The file and the data set, for people.
    holes_allowed
        Whether a chunk that was never written may be read as the fill value.
    """

    def __init__(self, data: h5py.Dataset, path: Path, name: str, *, holes_allowed: bool = False) -> None:
        self._data = data
        self._holes_allowed = holes_allowed
        self._path, self._name = path, name
        self._checked: set[tuple[int, ...]] = set()
        plain = data.dtype.kind in "iufbS" and data.id.get_type().get_size() == data.dtype.itemsize
        self.packed = data.chunks is not None and _filters(data)[-1:] == [h5py.h5z.FILTER_DEFLATE]
        known = _filters(data) in ([h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE])
        self.a_pattern_each = bool(self.packed and plain and known and data.chunks == (1, *data.shape[1:]))
        self._shuffled = len(_filters(data)) > 1

    def pattern(self, number: int) -> np.ndarray:
        """A pattern whose chunk holds nothing else, and which is gzip with or without shuffle."""
        data = self._data
        values = self._bytes((number, *(0 for _ in data.shape[1:])))
        if values is None:
            return data[number]
        unpacked = _in_order(values, data.dtype) if self._shuffled else np.frombuffer(values, data.dtype)
        return unpacked.reshape(data.shape[1:])

    def check(self, start: int = 0, stop: int | None = None) -> None:
        """Look once at the chunks of patterns `start` to `stop`: whether each is there and holds all its bytes.

        Raises
        ------
        PatternFileError
            If a chunk is missing.
        OSError
            If one is damaged.
        """
        data = self._data
        if data.chunks is None:
            return
        stop = data.shape[0] if stop is None else stop
        first = range(start // data.chunks[0] * data.chunks[0], stop, data.chunks[0])
        others = [range(0, length, chunk) for length, chunk in zip(data.shape[1:], data.chunks[1:], strict=True)]
        for place in product(first, *others):
            if place not in self._checked:
                self._bytes(place)
                self._checked.add(place)

    def _bytes(self, place: tuple[int, ...]) -> bytes | None:
        """The bytes of a chunk, or None if only HDF5 can tell."""
        if self._data.id.get_chunk_info_by_coord(place).byte_offset is None:
            if self._holes_allowed:
                return None
            raise _never_written(self._path, self._name, self._data, f" at {place}")
        if not self.packed:
            return None
        skipped, packed = self._data.id.read_direct_chunk(place)
        return None if skipped else self._unpacked(packed)

    def _unpacked(self, packed: bytes) -> bytes:
        """The bytes of a chunk."""
        wanted = math.prod(self._data.chunks) * self._data.id.get_type().get_size()
        unpacking = zlib.decompressobj()
        try:
            values = unpacking.decompress(packed, wanted + 1)
        except zlib.error as error:
            raise OSError(f"{error} in a chunk") from error
        if len(values) != wanted:
            raise OSError(f"{len(values)} bytes or more in a chunk of {wanted}")
        return values


def _in_order(shuffled: bytes, dtype: np.dtype) -> np.ndarray:
    """Values (n,) from all their first bytes, then all their second bytes, and so on."""
    planes = np.frombuffer(shuffled, np.uint8).reshape(dtype.itemsize, -1)
    if dtype.itemsize not in (2, 4, 8):
        return np.frombuffer(planes.T.tobytes(), dtype)
    # by shifts, because a transpose of bytes is several times as slow
    found = planes[0].astype(f"<u{dtype.itemsize}")
    for place, plane in enumerate(planes[1:], start=1):
        found |= plane.astype(found.dtype) << found.dtype.type(8 * place)
    return found.view(dtype)


def _filters(data: h5py.Dataset) -> list[int]:
    """Numbers of the filters that a chunk has passed, in order."""
    settings = data.id.get_create_plist()
    return [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
