"""Pattern stacks on disk: open the CXI layouts that are about, write selections, tell what is in a file.

CXI is HDF5 with agreed names (cxidb.org, version 1.6).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the compressions of foreign files
import numpy as np
import pandas as pd

from helpers import cxi_layout
from helpers.cxi_writing import new_stack, write_stack, write_table
from helpers.errors import PatternFileError
from helpers.files import write_csv

__all__ = [
    "PatternStack",
    "describe",
    "new_stack",
    "open_stack",
    "write_selection",
    "write_stack",
    "write_table",
]

_SHOWN_PATTERNS = 1000


class PatternStack:
    """Patterns in a file, read when asked for; close it, or use it in a `with` block. Made by `open_stack`."""

    def __init__(self, path: Path, file: h5py.File, name: str, *, nan_as_zero: bool) -> None:
        self.path = path
        self.dataset = name
        self._file = file
        self._data: h5py.Dataset = file[name]
        self._nan_as_zero = nan_as_zero
        self.shape: tuple[int, int, int] = self._data.shape
        self.dtype: np.dtype = self._data.dtype
        self.mask = cxi_layout.read_mask(file, path, name)
        self.centre = cxi_layout.read_centre(file, path, name)
        self.event_ids = cxi_layout.read_event_ids(file, name)

    def __len__(self) -> int:
        return self.shape[0]

    def __enter__(self) -> "PatternStack":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def title(self) -> str:
        """What the file says about itself (`entry_N/title`), or nothing."""
        title = self._file.get(f"{self.dataset.split('/')[0]}/title")
        return "" if title is None else str(cxi_layout.decoded(np.atleast_1d(title[()]))[0])

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
            If a good pixel is negative, infinite or not a number, or if the file cannot be decoded.
        IndexError
            If an index is not that of a pattern.
        """
        wanted = _pattern_indices(indices, len(self))
        try:
            counts = self._read_raw(wanted)
        except OSError as error:
            raise PatternFileError(
                f"{self.path}: {self.dataset} cannot be decoded in patterns {wanted[0]} to {wanted[-1]} ({error}); "
                f"the file is damaged or needs a compression that is not installed: copy it again or use gzip"
            ) from error
        counts[:, self.mask] = 0
        if self.dtype.kind != "u":
            self._check(counts, wanted)
        return counts

    def read_frames(self, indices: slice | np.ndarray) -> np.ndarray:
        """Values as stored and unchecked, negative and infinite ones too (n, rows, columns), float32; bad pixels 0."""
        frames = self._read_raw(_pattern_indices(indices, len(self)))
        frames[:, self.mask] = 0
        return frames

    def _read_raw(self, wanted: np.ndarray) -> np.ndarray:
        """The values as stored, as float32; a run of neighbours in one go, others one by one (h5py lists are slow)."""
        if wanted.size and (np.diff(wanted) == 1).all():
            return self._data[wanted[0] : wanted[-1] + 1].astype(np.float32)
        counts = np.empty((wanted.size, *self.shape[1:]), np.float32)
        for place, pattern in enumerate(wanted):
            counts[place] = self._data[pattern]
        return counts

    def _check(self, counts: np.ndarray, wanted: np.ndarray) -> None:
        """Refuse values that cannot be photon counts; in place, make NaN and infinity 0 where that was asked for."""
        if self._nan_as_zero:
            counts[~np.isfinite(counts)] = 0
        wrong = ~(np.isfinite(counts) & (counts >= 0))
        if not wrong.any():
            return
        place = int(np.flatnonzero(wrong.any(axis=(1, 2)))[0])
        values = counts[place][wrong[place]]
        if np.isfinite(values).all():
            kind, cure = "negative values", "mask them, or convert to photons with negative counts set to 0"
        else:
            kind, cure = "NaN or infinite values", "mask them, or read with nan_as_zero=True (--nan-as-zero)"
        raise PatternFileError(
            f"{self.path}: {self.dataset} has {values.size} {kind} (first {values[0]:g}) in unmasked pixels of pattern "
            f"{wanted[place]}; {cure}"
        )

    def table(self) -> pd.DataFrame:
        """One row a pattern: every 1-D data set beside the patterns.

        Returns
        -------
        DataFrame
            Columns are named by their path relative to the data; strings are decoded.
        """
        group = self._data.parent
        names = cxi_layout.column_names(self._file, self.dataset)
        columns = {name: cxi_layout.decoded(group[name][()]) for name in names}
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self), name="pattern"))

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


def open_stack(path: str | os.PathLike, *, dataset: str | None = None, nan_as_zero: bool = False) -> PatternStack:
    """Open a file of patterns, lazily.

    Looks for `entry_*/image_*/data`, then `entry_*/data_*/data`, with a mask (non-zero = bad) beside it or in an
    `image_*` of the same entry.

    Parameters
    ----------
    path
        A CXI file.
    dataset
        Which data set to read, where the file holds several.
    nan_as_zero
        Read NaN and infinity as no photons instead of refusing them.

    Returns
    -------
    PatternStack

    Raises
    ------
    PatternFileError
        If the file cannot be opened, holds no stack or several, or if mask, centre or data have an impossible shape.
    """
    path = Path(path)
    file = cxi_layout.opened(path)
    try:
        name = cxi_layout.stack_name(file, path) if dataset is None else dataset.strip("/")
        cxi_layout.check_stack(file, path, name)
        return PatternStack(path, file, name, nan_as_zero=nan_as_zero)
    except BaseException:
        file.close()
        raise


def _pattern_indices(indices: slice | np.ndarray, patterns: int) -> np.ndarray:
    """Pattern numbers from a slice or an array of numbers."""
    if isinstance(indices, slice):
        return np.arange(patterns)[indices]
    wanted = np.asarray(indices)
    if wanted.ndim != 1 or not (wanted.size == 0 or wanted.dtype.kind in "iu"):
        raise IndexError(f"patterns are chosen by a slice or a 1-D array of numbers, got {indices!r}")
    unknown = wanted[(wanted < 0) | (wanted >= patterns)]
    if unknown.size:
        raise IndexError(f"there is no pattern {unknown[0]} in a stack of {patterns}")
    return wanted.astype(np.intp)


def write_selection(
    path: str | os.PathLike,
    *,
    file: str | os.PathLike,
    indices: np.ndarray,
    event_ids: np.ndarray | None,
    scores: np.ndarray,
    single: np.ndarray,
) -> None:
    """Write the patterns of a selection as CSV: file, index, event_id, score, single (0 or 1).

    Parameters
    ----------
    path
        The CSV file.
    file
        The pattern file that the indices belong to.
    indices
        (n,) pattern indices.
    event_ids
        (n,) their event ids; None leaves the column empty.
    scores
        (n,) scores.
    single
        (n,) whether each is a single hit.
    """
    selection = {
        "file": str(file),
        "index": np.asarray(indices),
        "event_id": "" if event_ids is None else np.asarray(event_ids),
        "score": np.asarray(scores),
        "single": np.asarray(single).astype(int),
    }
    write_csv(path, pd.DataFrame(selection))


def describe(path: str | os.PathLike) -> str:
    """What is in a pattern file, and how it would be read.

    Parameters
    ----------
    path
        A CXI file.

    Returns
    -------
    str
        Lines of text.

    Raises
    ------
    PatternFileError
        As `open_stack`; unreadable counts are told in the text.
    """
    with open_stack(path) as stack:
        table = stack.table()
        ids = "none" if stack.event_ids is None else f"{stack.event_ids[0]} to {stack.event_ids[-1]}"
        centre = "not given" if stack.centre is None else "row {:g}, column {:g}".format(*stack.centre)
        lines = [
            f"{stack.path}" + (f": {stack.title}" if stack.title else ""),
            f"  data set   {stack.dataset}",
            f"  patterns   {len(stack)} of {stack.shape[1]} rows x {stack.shape[2]} columns, {stack.dtype}",
            f"  mask       {stack.mask.sum()} bad pixels ({stack.mask.mean():.1%})",
            f"  centre     {centre}",
            f"  event ids  {ids}",
            f"  columns    {', '.join(table.columns) or 'none'}",
            f"  photons    {_photons(stack)}",
        ]
    return "\n".join(lines)


def _photons(stack: PatternStack) -> str:
    """Photons in the first patterns, or why they cannot be read."""
    shown = min(len(stack), _SHOWN_PATTERNS)
    try:
        photons = stack.read(slice(0, shown)).sum(axis=(1, 2))
    except PatternFileError as error:
        return f"unreadable: {error}"
    low, middle, high = np.percentile(photons, [5, 50, 95])
    return f"median {middle:.0f} (5 % below {low:.0f}, 5 % above {high:.0f}) in the first {shown}"
