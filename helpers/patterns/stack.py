"""A stack of patterns: what every layout becomes when it is opened."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from helpers.errors import PatternFileError, WorkbookError
from helpers.experiment import Centre, Experiment
from helpers.patterns.assembly import Assembly
from helpers.patterns.hdf5.file import FOREIGN, errors_name
from helpers.patterns.hdf5.virtual import value_files
from helpers.patterns.layouts.base import listed
from helpers.patterns.layouts.columns import Column
from helpers.patterns.photon_check import impossible_counts
from helpers.patterns.storage import JoinedStorage, Storage
from helpers.system import in_short

_ONE_CENTRE = 0.01
"""Beam centres of patterns that differ by less are one [pixels]."""


@dataclass(frozen=True, eq=False)
class Part:
    """Patterns (patterns, rows, columns) that lie together in a data set of a file.

    `mask` (rows, columns), True = bad pixel; where each pattern has a mask of its own, it is what is bad in all of
    them, and `masks` gives the bad pixels (n, rows, columns) of some patterns (n,). `mask_source` tells people where
    the mask is from, `mask_bits` what bits it has, `mask_candidates` paths at which masks are looked for. `dead` (rows,
    columns) is the value of bad pixels that hold one of the `markers` in all patterns looked at, else 0. The `centres`
    (n, 2), row and column, are in pixels. `mask_bits`, `mask_candidates`, `event_ids` and `columns` read when called.
    """

    dataset: str
    storage: Storage
    mask: np.ndarray
    masks: Callable[[np.ndarray], np.ndarray] | None
    mask_source: str
    mask_bits: Callable[[], list[str]]
    mask_candidates: Callable[[], set[str]]
    dead: np.ndarray
    markers: Callable[[], np.ndarray]
    centres: np.ndarray
    event_ids: Callable[[], np.ndarray | None]
    columns: Callable[[], Mapping[str, Column]]

    @cached_property
    def centre(self) -> Centre | None:
        """The beam centre (row, column) [pixels] of all patterns, or None."""
        if not len(self.centres) or (np.ptp(self.centres, axis=0) > _ONE_CENTRE).any():
            return None
        row, column = np.median(self.centres, axis=0).tolist()
        return row, column


@dataclass(frozen=True, eq=False)
class Origin:
    """The file of a stack, and what it says of all patterns together; what can be called reads when it is called.

    `geometry` is that of patterns put together from panels or lists of pixels; `experiment` gives the known fields of
    an `Experiment`, and what is missing for it; `file` is open, where it is HDF5.
    """

    layout: Callable[[], str]
    title: Callable[[], str]
    geometry: Assembly | None
    experiment: Callable[[], tuple[Mapping[str, Any], Sequence[str]]]
    file: h5py.File | None


class PatternStack:
    """Patterns in a file, read when asked for; close it, or use it in a `with` block. Made by `open_stack`."""

    def __init__(self, path: Path, parts: Sequence[Part], origin: Origin, *, nan_as_zero: bool = False) -> None:
        self.path = path
        self.parts = tuple(parts)
        self.origin = origin
        self.geometry = origin.geometry
        self._file = origin.file
        self._nan_as_zero = nan_as_zero
        self._storage = JoinedStorage([part.storage for part in parts])
        self.shape: tuple[int, int, int] = self._storage.shape
        self.dtype: np.dtype = self._storage.dtype
        self.mask = np.logical_or.reduce([part.mask for part in parts])
        self.centre = parts[0].centre if len({part.centre for part in parts}) == 1 else None

    def __len__(self) -> int:
        return self.shape[0]

    def __enter__(self) -> "PatternStack":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    @cached_property
    def layout(self) -> str:
        """Names of the layouts, for people."""
        return self.origin.layout()

    @cached_property
    def title(self) -> str:
        """Title of the file, on one line."""
        with errors_name(self.path):
            return self.origin.title()

    @cached_property
    def _experiment(self) -> tuple[Mapping[str, Any], Sequence[str]]:
        with errors_name(self.path):
            return self.origin.experiment()

    @cached_property
    def experiment(self) -> Experiment | None:
        """The experiment that the file describes; None if something is `missing`."""
        values, missing = self._experiment
        return None if missing or not values else Experiment(**values)

    @property
    def experiment_values(self) -> Mapping[str, Any]:
        """The fields of an `Experiment` that the file tells, by name."""
        return self._experiment[0]

    @property
    def missing(self) -> tuple[str, ...]:
        """Values that the file lacks for an experiment, for people."""
        return tuple(self._experiment[1])

    @cached_property
    def event_ids(self) -> np.ndarray | None:
        """One id a pattern (patterns,); None if not all have one."""
        with errors_name(self.path):
            known = [ids for part in self.parts if (ids := part.event_ids()) is not None]
        if len(known) < len(self.parts):
            return None
        return known[0] if len(known) == 1 else np.concatenate(known)

    @property
    def other_files(self) -> set[Path]:
        """Other files that patterns are read from, through links and virtual data sets."""
        if self._file is None:
            return set()
        found = set().union(*(value_files(self._file[name]) for name in self.datasets))
        return found - {Path(self._file.filename)}

    @cached_property
    def markers(self) -> np.ndarray:
        """Values that are no counts, ascending (n,), as they are read."""
        with errors_name(self.path):
            return np.unique(np.concatenate([part.markers() for part in self.parts]))

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that the patterns are read from, in order."""
        return tuple(part.dataset for part in self.parts)

    @property
    def dataset(self) -> str:
        """The data sets as one text."""
        return listed(self.datasets)

    def origins(self, patterns: np.ndarray | None = None) -> pd.DataFrame:
        """Data set of each pattern and its number there, columns dataset and dataset_index; of all patterns if None."""
        wanted = np.arange(len(self)) if patterns is None else _numbers(patterns, len(self))
        part, inside = self._storage.locate(wanted)
        return pd.DataFrame({"dataset": np.array(self.datasets, dtype=object)[part], "dataset_index": inside})

    def read(self, patterns: slice | np.ndarray) -> np.ndarray:
        """Photon counts of some patterns.

        Parameters
        ----------
        patterns
            A slice, or an array of pattern numbers in any order.

        Returns
        -------
        ndarray (n, rows, columns)
            float32 [photons]; bad pixels are 0.

        Raises
        ------
        PatternFileError
            If a good pixel holds what cannot be a photon count (`photon_check`), or if the file cannot be decoded.
        IndexError
            If a number is not that of a pattern.
        """
        return self.checked(self.read_frames(patterns), patterns)

    def checked(self, counts: np.ndarray, patterns: slice | np.ndarray) -> np.ndarray:
        """Counts of these patterns, with bad pixels 0, if they can be photons; raises as `read`."""
        if self._nan_as_zero:
            counts[~np.isfinite(counts)] = 0
        if (found := impossible_counts(counts, self.markers)) is not None:
            place, finding, cure = found
            pattern = _numbers(patterns, len(self))[place]
            raise PatternFileError(f"{self.path}: {self._named(pattern, finding)}; {cure}")
        return counts

    def read_frames(self, patterns: slice | np.ndarray) -> np.ndarray:
        """Values of some patterns as the detector gave them, unchecked: `preparation` makes photons of them.

        Returns
        -------
        ndarray (n, rows, columns)
            float32 [units of the file]; put together from panels, bad pixels are 0.

        Raises
        ------
        PatternFileError
            If the file cannot be decoded.
        IndexError
            If a number is not that of a pattern.
        """
        values, bad = self.read_unmasked(patterns)
        np.copyto(values, 0, where=bad)
        return values

    def read_unmasked(self, patterns: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of some patterns as `read_frames`, but also in bad pixels, and which these are (n, rows, columns)."""
        wanted = _numbers(patterns, len(self))
        with errors_name(self.path):
            try:
                with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `read` refuses
                    values = np.asarray(self._storage.read(wanted), dtype=np.float32)
                return values, self._bad_pixels(wanted)
            except WorkbookError:
                raise
            except FOREIGN as error:
                raise PatternFileError(
                    f"{self.dataset} cannot be decoded in patterns {wanted[0]} to {wanted[-1]} ({in_short(error)}); "
                    "the file is damaged or needs a compression that is not installed: copy it again or use gzip"
                ) from error

    def _bad_pixels(self, wanted: np.ndarray) -> np.ndarray:
        """Bad pixels of some patterns, bool (n, rows, columns); a view where no pattern has a mask of its own."""
        bad = np.broadcast_to(self.mask, (wanted.size, *self.mask.shape))
        part, inside = self._storage.locate(wanted)
        for number, masked in enumerate(self.parts):
            here = part == number
            if masked.masks is not None and here.any():
                bad = bad if bad.flags.writeable else bad.copy()
                bad[here] |= masked.masks(inside[here])
        return bad

    def _named(self, pattern: int, finding: str) -> str:
        """A finding in a pattern, with the data set that it is from."""
        part, inside = self._storage.locate(np.array([pattern]))
        other = f" (pattern {inside[0]} of that data set)" if len(self.parts) > 1 else ""
        return f"{self.datasets[part[0]]} has {finding} in unmasked pixels of pattern {pattern}{other}"

    @cached_property
    def _columns(self) -> list[Mapping[str, Column]]:
        """Columns of each part."""
        with errors_name(self.path):
            return [part.columns() for part in self.parts]

    @property
    def column_names(self) -> list[str]:
        """Names of the columns of `table`."""
        return list(dict.fromkeys(name for columns in self._columns for name in columns))

    def table(self) -> pd.DataFrame:
        """One row a pattern: every 1-D data set beside the patterns.

        Columns are named by their path relative to the data, or to the entry; strings are decoded. A value that only
        some of several data sets have is missing for the others.
        """
        with errors_name(self.path):
            tables = [
                pd.DataFrame(
                    {name: column.read() for name, column in columns.items()},
                    index=pd.RangeIndex(part.storage.shape[0]),
                )
                for part, columns in zip(self.parts, self._columns, strict=True)
            ]
        table = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
        return table.set_axis(pd.RangeIndex(len(self), name="pattern"))

    def batches(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """All patterns in order: number of the first of each batch, and counts (n, rows, columns) as `read` gives them.

        Parameters
        ----------
        size
            Patterns at a time; the last batch may hold fewer.
        """
        for start in range(0, len(self), size):
            yield start, self.read(slice(start, start + size))


def _numbers(patterns: slice | np.ndarray, length: int) -> np.ndarray:
    """Pattern numbers from a slice or an array of numbers."""
    if isinstance(patterns, slice):
        return np.arange(*patterns.indices(length))
    wanted = np.asarray(patterns)
    if wanted.ndim != 1 or not (wanted.size == 0 or wanted.dtype.kind in "iu"):
        raise IndexError(f"patterns are chosen by a slice or a 1-D array of numbers, got {patterns!r}")
    unknown = wanted[(wanted < 0) | (wanted >= length)]
    if unknown.size:
        raise IndexError(f"there is no pattern {unknown[0]} in a stack of {length}")
    return wanted.astype(np.intp)
