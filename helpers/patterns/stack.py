"""A stack of patterns: what every layout becomes when it is opened."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from helpers.errors import PatternFileError
from helpers.experiment import Centre, Experiment
from helpers.patterns.assembly import Assembly
from helpers.patterns.hdf5.file import understandable
from helpers.patterns.hdf5.virtual import value_files
from helpers.patterns.layouts import listed
from helpers.patterns.photon_check import impossible_counts
from helpers.patterns.storage import JoinedStorage, Storage
from helpers.system import in_short


@dataclass(frozen=True, eq=False)
class Part:
    """Patterns that lie together in a file.

    Parameters
    ----------
    dataset
        Its name in the file.
    storage
        The patterns, (patterns, rows, columns).
    mask
        (rows, columns), True = bad pixel; where each pattern has a mask of its own, what is bad in all of them.
    masks
        Bad pixels (n, rows, columns) of some patterns (n,), where each has a mask of its own.
    mask_source
        Where the mask is from and how it is read, for people.
    centre
        Beam centre (row, column) [pixels], where it is known.
    event_ids
        (patterns,), where there are any.
    columns
        Names of the values that each pattern has, and how to read them.
    """

    dataset: str
    storage: Storage
    mask: np.ndarray
    masks: Callable[[np.ndarray], np.ndarray] | None
    mask_source: str
    centre: Centre | None
    event_ids: np.ndarray | None
    columns: dict[str, Callable[[], np.ndarray]]


@dataclass(frozen=True, eq=False)
class Origin:
    """What a whole file says about its patterns: layout, title, geometry, experiment, and what that lacks."""

    layout: str
    title: str
    geometry: Assembly | None
    experiment: Experiment | None
    missing: Sequence[str]
    file: h5py.File | None


class PatternStack:
    """Patterns in a file, read when asked for; close it, or use it in a `with` block. Made by `open_stack`."""

    def __init__(self, path: Path, parts: Sequence[Part], origin: Origin, *, nan_as_zero: bool) -> None:
        self.path = path
        self.parts = tuple(parts)
        self.layout = origin.layout
        self.title = origin.title
        self.geometry = origin.geometry
        self.experiment = origin.experiment
        self.missing = tuple(origin.missing)
        self._file = origin.file
        self._nan_as_zero = nan_as_zero
        self._storage = JoinedStorage([part.storage for part in parts])
        self.shape: tuple[int, int, int] = self._storage.shape
        self.dtype: np.dtype = self._storage.dtype
        self.mask = np.logical_or.reduce([part.mask for part in parts])
        self.centre = _common([part.centre for part in parts])
        self.event_ids = _joined([part.event_ids for part in parts])

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

    @property
    def other_files(self) -> set[Path]:
        """Other files that patterns are read from, through links and virtual data sets."""
        if self._file is None:
            return set()
        found = set().union(*(value_files(self._file[name]) for name in self.datasets))
        return found - {Path(self._file.filename)}

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that the patterns are read from, in order."""
        return tuple(part.dataset for part in self.parts)

    @property
    def dataset(self) -> str:
        """The data sets as one text."""
        return listed(self.datasets)

    def origins(self, patterns: np.ndarray | None = None) -> pd.DataFrame:
        """Where patterns come from.

        Parameters
        ----------
        patterns
            Pattern numbers (n,); all if None.

        Returns
        -------
        DataFrame
            Columns dataset and dataset_index, one row a pattern.
        """
        wanted = np.arange(len(self)) if patterns is None else _pattern_indices(patterns, len(self))
        part, inside = self._storage.places(wanted)
        return pd.DataFrame({"dataset": np.array(self.datasets, dtype=object)[part], "dataset_index": inside})

    def read(self, indices: slice | np.ndarray) -> np.ndarray:
        """Photon counts of some patterns.

        Parameters
        ----------
        indices
            A slice, or an array of pattern indices in any order.

        Returns
        -------
        ndarray (n, rows, columns)
            float32 [photons]; bad pixels are 0.

        Raises
        ------
        PatternFileError
            If a good pixel holds what cannot be a photon count (`photon_check`), or if the file cannot be decoded.
        IndexError
            If an index is not that of a pattern.
        """
        wanted = _pattern_indices(indices, len(self))
        counts = self.read_frames(wanted)
        if self._nan_as_zero:
            counts[~np.isfinite(counts)] = 0
        if (found := impossible_counts(counts)) is not None:
            place, finding, cure = found
            raise PatternFileError(f"{self.path}: {self._named(wanted[place], finding)}; {cure}")
        return counts

    def read_frames(self, indices: slice | np.ndarray) -> np.ndarray:
        """Values of some patterns as the detector gave them, unchecked: `preparation` makes photons of them.

        Parameters
        ----------
        indices
            As in `read`.

        Returns
        -------
        ndarray (n, rows, columns)
            float32 [units of the file]; put together from panels, bad pixels are 0.

        Raises
        ------
        PatternFileError
            If the file cannot be decoded.
        IndexError
            If an index is not that of a pattern.
        """
        wanted = _pattern_indices(indices, len(self))
        try:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `read` refuses
                values = np.asarray(self._storage.read(wanted), dtype=np.float32)
            self._clear_own_masks(values, wanted)
        except PatternFileError:
            raise
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise PatternFileError(
                f"{self.path}: {self.dataset} cannot be decoded in patterns {wanted[0]} to {wanted[-1]} "
                f"({in_short(error)}); the file is damaged or needs a compression that is not installed: copy it again "
                "or use gzip"
            ) from error
        values[:, self.mask] = 0
        return values

    def _clear_own_masks(self, values: np.ndarray, wanted: np.ndarray) -> None:
        """Put 0 where a pattern has a mask of its own."""
        part, inside = self._storage.places(wanted)
        for number, masked in enumerate(self.parts):
            here = part == number
            if masked.masks is not None and here.any():
                values[here] = np.where(masked.masks(inside[here]), 0, values[here])

    def _named(self, pattern: int, finding: str) -> str:
        """What was found in a pattern, with the data set that it is from."""
        part, inside = self._storage.places(np.array([pattern]))
        other = f" (pattern {inside[0]} of that data set)" if len(self.parts) > 1 else ""
        return f"{self.datasets[part[0]]} has {finding} in unmasked pixels of pattern {pattern}{other}"

    @property
    def column_names(self) -> list[str]:
        """Names of the columns of `table`."""
        return list(dict.fromkeys(name for part in self.parts for name in part.columns))

    def table(self) -> pd.DataFrame:
        """One row a pattern: every 1-D data set beside the patterns.

        Returns
        -------
        DataFrame
            Columns are named by their path relative to the data, or to the entry; strings are decoded. A value that
            only some of several data sets have is missing for the others.
        """
        with understandable(self.path, "a column beside the patterns"):
            tables = [
                pd.DataFrame(
                    {name: read() for name, read in part.columns.items()}, index=pd.RangeIndex(part.storage.shape[0])
                )
                for part in self.parts
            ]
        table = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
        return table.set_axis(pd.RangeIndex(len(self), name="pattern"))

    def batches(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """All patterns in order.

        Parameters
        ----------
        size
            Patterns at a time; the last batch may hold fewer.

        Yields
        ------
        start : int
            Index of the first pattern of the batch.
        counts : ndarray (n, rows, columns)
            As `read`.
        """
        for start in range(0, len(self), size):
            yield start, self.read(slice(start, start + size))


def _pattern_indices(indices: slice | np.ndarray, patterns: int) -> np.ndarray:
    """Pattern numbers from a slice or an array of numbers."""
    if isinstance(indices, slice):
        return np.arange(*indices.indices(patterns))
    wanted = np.asarray(indices)
    if wanted.ndim != 1 or not (wanted.size == 0 or wanted.dtype.kind in "iu"):
        raise IndexError(f"patterns are chosen by a slice or a 1-D array of numbers, got {indices!r}")
    unknown = wanted[(wanted < 0) | (wanted >= patterns)]
    if unknown.size:
        raise IndexError(f"there is no pattern {unknown[0]} in a stack of {patterns}")
    return wanted.astype(np.intp)


def _common(centres: list[Centre | None]) -> Centre | None:
    """The centre of all parts, or None if they differ or one has none."""
    first = centres[0]
    return first if first is not None and all(centre == first for centre in centres) else None


def _joined(ids: list[np.ndarray | None]) -> np.ndarray | None:
    """Event ids of all parts, or None if one has none."""
    known = [part for part in ids if part is not None]
    if len(known) < len(ids):
        return None
    return known[0] if len(known) == 1 else np.concatenate(known)
