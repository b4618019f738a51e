"""Values of HDF5 data sets: never more than a pattern file can hold, and never what HDF5 would make up.

HDF5 reads zeros where nothing was ever written, and reads on behind the end of a chunk that unpacks to less than it
should (HDF5 2.0 gives whatever the memory held). A few kilobytes can declare a petabyte.
"""

import math
import zlib
from itertools import product, zip_longest

import h5py
import numpy as np

from helpers.errors import PatternFileError, WorkbookError
from helpers.patterns.hdf5.file import FOREIGN
from helpers.patterns.hdf5.virtual import check_sources
from helpers.system import in_short

LARGEST_PATTERN = 2**25
"""Pixels of a pattern; the largest detectors in use have half as many."""

MOST_PATTERNS = 2**26

_LARGEST_CHUNK = 2**28
_MOST_VALUES = 3 * LARGEST_PATTERN
_GZIP, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE


def values_of(data: h5py.Dataset) -> np.ndarray:
    """All values of a data set that is not a stack: a mask, a map of positions, a column.

    Refused if it has no values or absurdly many, if they are not all stored, or cannot be decoded.
    """
    if data.shape is None or data.size > _MOST_VALUES:
        raise PatternFileError(
            f"{name_of(data)} has shape {data.shape}, that is no part of a pattern file; write it anew"
        )
    try:
        check_stored(data, holes_allowed=data.is_virtual)
        if data.chunks is not None:
            Chunks(data).check()
        return data[()]
    except WorkbookError:
        raise
    except FOREIGN as error:
        raise PatternFileError(
            f"{name_of(data)} cannot be read ({in_short(error)}); copy the file again, or write it anew"
        ) from error


def name_of(data: h5py.Dataset) -> str:
    """The path of a data set in its file, without the first slash."""
    return in_short((data.name or "a data set").lstrip("/"))


def check_stored(data: h5py.Dataset, *, holes_allowed: bool = False) -> None:
    """Refuse a data set whose values are not in an HDF5 file, or cannot be unpacked piece by piece.

    Refused are raw bytes in another file, what was never written (unless `holes_allowed`: then it is read as the fill
    value), and packed chunks that are too large. Missing chunks are refused by `Chunks` when they are read.
    """
    settings = data.id.get_create_plist()
    layout = settings.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        return check_sources(data, name_of(data), holes_allowed=holes_allowed)
    if settings.get_external_count():
        raise PatternFileError(
            f"the values of {name_of(data)} lie as raw bytes in other files ({data.external[0][0]!r}), which could be "
            "anything; copy them into the file, for instance with h5repack"
        )
    chunk_bytes = math.prod(data.chunks or ()) * data.dtype.itemsize
    if chunk_bytes > _LARGEST_CHUNK and layout == h5py.h5d.CHUNKED and settings.get_nfilters():
        one_each = "x".join(map(str, (1, *data.shape[1:])))
        raise PatternFileError(
            f"{name_of(data)} is packed in chunks of {data.chunks} ({chunk_bytes / 2**20:.0f} MiB), and each pattern "
            f"would need a whole one; repack it with h5repack -l {name_of(data)}:CHUNK={one_each}"
        )
    stored = data.id.get_num_chunks() if layout == h5py.h5d.CHUNKED else data.id.get_storage_size()
    if data.size and not stored and layout != h5py.h5d.COMPACT and not holes_allowed:
        raise _never_written(data)
    return None


def _never_written(data: h5py.Dataset, part: str = "") -> PatternFileError:
    return PatternFileError(
        f"{name_of(data)}, shape {data.shape}, was never written{part} (HDF5 would read {data.fillvalue}); write it "
        "whole, or read that as no photons with nan_as_zero=True (--nan-as-zero)"
    )


class Chunks:
    """The chunks of a data set: each is there, and one in gzip unpacks to as many bytes as it must have.

    What is packed otherwise is left to HDF5; with `holes_allowed` a chunk never written is read as the fill value.
    """

    def __init__(self, data: h5py.Dataset, *, holes_allowed: bool = False) -> None:
        self._data = data
        self._holes_allowed = holes_allowed
        self._checked: set[tuple[int, ...]] = set()
        settings = data.id.get_create_plist()
        filters = [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
        self._bytes = math.prod(data.chunks) * data.id.get_type().get_size()
        self._is_gzip = filters[-1:] == [_GZIP]
        self._is_shuffled = filters == [_SHUFFLE, _GZIP]
        plain = data.dtype.kind in "iufb" and data.id.get_type().get_size() == data.dtype.itemsize
        self.unpacked_here = plain and (self._is_shuffled or filters == [_GZIP]) and data.chunks == (1, *data.shape[1:])
        """True where each pattern is a chunk of gzip, which `pattern` checks and unpacks in one go."""

    def pattern(self, pattern: int) -> np.ndarray:
        """The values of a pattern that is a chunk of its own, in gzip."""
        values = self._unpacked((pattern, *(0 for _ in self._data.shape[1:])))
        if values is None:
            return self._data[pattern]
        unpacked = _unshuffled if self._is_shuffled else np.frombuffer
        return unpacked(values, self._data.dtype).reshape(self._data.shape[1:])

    def check(self, wanted: tuple[slice, ...] = ()) -> None:
        """Look once at the chunks of a part of the values, or of all: whether each is there and holds all its bytes.

        PatternFileError if one is missing, OSError if one is damaged.
        """
        corners = []
        for length, chunk, part in zip_longest(self._data.shape, self._data.chunks, wanted, fillvalue=slice(None)):
            start, stop, _ = part.indices(length)
            corners.append(range(start // chunk * chunk, stop, chunk))
        for corner in product(*corners):
            if corner not in self._checked:
                self._unpacked(corner)
                self._checked.add(corner)

    def _unpacked(self, corner: tuple[int, ...]) -> bytes | None:
        """The bytes of the chunk that begins at a corner, or None if only HDF5 can tell."""
        if self._data.id.get_chunk_info_by_coord(corner).byte_offset is None:
            if self._holes_allowed:
                return None
            raise _never_written(self._data, f" at {corner}")
        if not self._is_gzip:
            return None
        skipped_filters, packed = self._data.id.read_direct_chunk(corner)
        if skipped_filters:
            return None
        try:
            values = zlib.decompressobj().decompress(packed, self._bytes + 1)
        except zlib.error as error:
            raise OSError(f"{error} in a chunk") from error
        if len(values) != self._bytes:
            raise OSError(f"{len(values)} bytes or more in a chunk of {self._bytes}")
        return values


def _unshuffled(shuffled: bytes, dtype: np.dtype) -> np.ndarray:
    """Values (n,) from all their first bytes, then all their second bytes, and so on."""
    planes = np.frombuffer(shuffled, np.uint8).reshape(dtype.itemsize, -1)
    values = np.empty(planes.shape[::-1], np.uint8)
    for number, plane in enumerate(planes):  # several times as fast as a transpose of bytes
        values[:, number] = plane
    return values.view(dtype)[:, 0]
