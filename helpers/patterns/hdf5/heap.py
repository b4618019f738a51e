"""The global heap of an HDF5 file, where lists and texts of any length lie: looked through before HDF5 does.

HDF5 never comes back from a heap in which a free place has no length. Layout: sections III.E (global heap) and IV.B of
the HDF5 file format specification, version 3.0.
"""

import os
import struct
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import h5py
import numpy as np

_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("object", "<u4")])
_HEAD = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HH4xQ")
_LARGEST_HEAP = 2**28


class Heaps:
    """The heaps that a data set of lists refers to; each is looked through once.

    Parameters
    ----------
    data
        A data set of lists or texts of any length.
    """

    def __init__(self, data: h5py.Dataset) -> None:
        self._data = data
        self._sound: set[int] = set()
        self._base = data.file.userblock_size
        lengths = data.file.id.get_create_plist().get_sizes()
        self._known = lengths == (8, 8) and data.id.get_type().get_size() == _REFERENCE.itemsize

    def check(self, rows: Iterable[int] | None = None) -> None:
        """Look through the heaps of some rows of a list of lists, or of everything.

        Raises
        ------
        OSError
            If one is damaged.
        """
        if not self._known or not self._data.size:
            return
        with open(Path(self._data.file.filename), "rb") as file:
            for references in self._references(file.fileno(), rows):
                for address in np.unique(references["address"][references["length"] > 0]).tolist():
                    if address not in self._sound:
                        self._check_heap(file.fileno(), address)
                        self._sound.add(address)

    def _references(self, file: int, rows: Iterable[int] | None) -> Iterable[np.ndarray]:
        """Where the lists are, as the file has it."""
        data = self._data
        if data.chunks is None:
            start = data.id.get_offset()
            if start is not None:  # else nothing was written, or it lies in the head of the data set
                wanted = np.arange(data.size) if rows is None else np.fromiter(rows, np.int64)
                first, last = int(wanted.min(initial=0)), int(wanted.max(initial=-1)) + 1
                yield _read(file, start + first * _REFERENCE.itemsize, (last - first) * _REFERENCE.itemsize)
            return
        if data.id.get_create_plist().get_nfilters():
            return
        places = product(*(range(0, length, chunk) for length, chunk in zip(data.shape, data.chunks, strict=True)))
        if rows is not None:
            places = ((number // data.chunks[0] * data.chunks[0],) for number in rows)
        for place in dict.fromkeys(places):
            stored = data.id.get_chunk_info_by_coord(place)
            if stored.byte_offset is not None:
                yield _read(file, stored.byte_offset, stored.size)

    def _check_heap(self, file: int, address: int) -> None:
        """Walk from object to object, as HDF5 does."""
        head = os.pread(file, _HEAD.size, self._base + address) if address < 2**62 else b""
        signature, version, size = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0, 0)
        if signature != b"GCOL" or version != 1 or not _HEAD.size < size <= _LARGEST_HEAP:
            raise OSError(f"no heap at {address}")
        content = os.pread(file, size, self._base + address)
        place = _HEAD.size
        while place + _OBJECT.size <= len(content):
            number, _, length = _OBJECT.unpack_from(content, place)
            step = _OBJECT.size + -(-length // 8) * 8 if number else length
            if step < 8 or place + step > size:
                raise OSError(f"a damaged object in the heap at {address}")
            place += step


def _read(file: int, start: int, length: int) -> np.ndarray:
    """References in a part of a file."""
    content = os.pread(file, length, start) if start < 2**62 else b""
    return np.frombuffer(content, _REFERENCE, len(content) // _REFERENCE.itemsize)
