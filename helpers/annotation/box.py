"""Bounding box shared by all positive examples of a training set: its proposal, and its JSON file for the training.

Section 2.6 of the paper: one box, "covering the major part of all intensity counts", for every positive example.
"""

import json
import numbers
import os
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.errors import BoxError
from helpers.system import in_short, read_json, write_text

SOURCES = ("proposed", "user")

_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Shares of the counts that `table_box` compares."""

# the sums are exact, the share of their total is not: a box that holds exactly the share must not fail by rounding
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Box:
    """Rectangle of detector pixels: rows row_start … row_stop − 1, and the same for columns.

    Parameters
    ----------
    row_start, row_stop
        First row, and the one after the last [pixels].
    column_start, column_stop
        First column, and the one after the last [pixels].

    Raises
    ------
    BoxError
        If an edge is not a whole number or is negative, or if no pixel lies between the edges.
    """

    row_start: int
    row_stop: int
    column_start: int
    column_stop: int

    def __post_init__(self) -> None:
        edges = astuple(self)
        if any(isinstance(edge, bool) or not isinstance(edge, numbers.Integral) for edge in edges):
            raise BoxError(f"the edges of a box must be whole detector pixels, got {edges}")
        if not (0 <= self.row_start < self.row_stop and 0 <= self.column_start < self.column_stop):
            raise BoxError(
                f"a box needs 0 <= start < stop, got rows {self.row_start} to {self.row_stop} "
                f"and columns {self.column_start} to {self.column_stop}"
            )

    def check_inside(self, shape: tuple[int, int]) -> None:
        """Raise a BoxError if the box extends beyond a pattern of this shape (rows, columns)."""
        rows, columns = shape
        if self.row_stop > rows or self.column_stop > columns:
            raise BoxError(
                f"the box ends at row {self.row_stop} and column {self.column_stop}, "
                f"but a pattern has {rows} rows and {columns} columns; draw the box again for these patterns"
            )

    def relative(self, shape: tuple[int, int]) -> tuple[float, float, float, float]:
        """Box in the units of Darknet's label files: relative to the width and height of the picture.

        Parameters
        ----------
        shape
            Number of rows and columns of a pattern.

        Returns
        -------
        tuple of float
            x and y of the centre, width and height, each 0 to 1.

        Raises
        ------
        BoxError
            If the box extends beyond the pattern.
        """
        self.check_inside(shape)
        rows, columns = shape
        return (
            (self.column_start + self.column_stop) / (2 * columns),
            (self.row_start + self.row_stop) / (2 * rows),
            (self.column_stop - self.column_start) / columns,
            (self.row_stop - self.row_start) / rows,
        )


def propose_box(counts: np.ndarray, share: float = 0.9) -> Box:
    """Smallest rectangle that holds a share of all counts of the positive examples (section 2.6), by exact search.

    Every interval of rows is combined with the narrowest sufficient interval of columns; of equally small rectangles
    the one with the most counts is taken.

    Parameters
    ----------
    counts
        (N, rows, columns) photon counts of the positive examples, 0 in bad pixels.
    share
        Fraction of the summed counts that must lie inside, above 0 and up to 1.

    Raises
    ------
    BoxError
        If `share` is out of range, or if the patterns hold no photons.
    """
    if not 0 < share <= 1:
        raise BoxError(f"the share of the counts inside the box must be above 0 and at most 1, got {share}")
    summed = sum_patterns(counts)
    rows, columns = summed.shape
    # above[r, c]: counts above row r and left of column c, so that a rectangle's counts are four look-ups
    above = np.zeros((rows + 1, columns + 1))
    above[1:, 1:] = summed.cumsum(axis=0).cumsum(axis=1)
    enough = share * above[-1, -1] * (1 - _ROUNDING)
    best, best_rank = None, (rows * columns + 1, 0.0)
    for row_start in range(rows):
        for row_stop in range(row_start + 1, rows + 1):
            # counts of these rows left of each column; too few, or too many rows to beat the best, are skipped
            left_of = above[row_stop] - above[row_start]
            if left_of[-1] < enough or row_stop - row_start > best_rank[0]:
                continue
            column_start, column_stop = _narrowest(left_of, enough)
            area = (row_stop - row_start) * (column_stop - column_start)
            # the smaller area wins, then the larger sum
            rank = (area, left_of[column_start] - left_of[column_stop])
            if rank < best_rank:
                best, best_rank = Box(row_start, row_stop, column_start, column_stop), rank
    return best


def sum_patterns(counts: np.ndarray) -> np.ndarray:
    """Sum of all patterns, on which the box is drawn.

    Parameters
    ----------
    counts
        (…, rows, columns) photon counts of the positive examples.

    Returns
    -------
    ndarray (rows, columns)
        Summed photon counts, float64.

    Raises
    ------
    BoxError
        If there is no photon at all, so that no box can be drawn.
    """
    counts = np.asarray(counts)
    summed = counts.sum(axis=tuple(range(counts.ndim - 2)), dtype=np.float64)
    if not summed.sum() > 0:
        raise BoxError(
            f"{len(counts)} patterns without a photon have no box; check the labels of the positive examples"
        )
    return summed


def held_share(summed: np.ndarray, box: Box) -> float:
    """Fraction of the summed counts that lies inside a box.

    Parameters
    ----------
    summed
        (rows, columns) summed photon counts of the positive examples, from `sum_patterns`.
    box
        Rectangle on these patterns.

    Returns
    -------
    float
        Fraction, 0 to 1.
    """
    inside = summed[box.row_start : box.row_stop, box.column_start : box.column_stop]
    return float(inside.sum() / summed.sum())


def table_box(counts: np.ndarray) -> pd.DataFrame:
    """Proposed boxes for several shares of the photons.

    Parameters
    ----------
    counts
        (N, rows, columns) photon counts of the positive examples.

    Returns
    -------
    pandas.DataFrame
        Columns share_asked and share_held (fractions of the photons), area (fraction of the pattern), and the edges of
        the box [pixels].
    """
    summed = sum_patterns(counts)
    rows = []
    for share in _SHARES:
        box = propose_box(counts, share=share)
        area = (box.row_stop - box.row_start) * (box.column_stop - box.column_start) / summed.size
        rows.append({"share_asked": share, "share_held": held_share(summed, box), "area": area, **asdict(box)})
    return pd.DataFrame(rows)


def write_box(
    path: str | os.PathLike, box: Box, *, shape: tuple[int, int], source: str, share: float | None = None
) -> None:
    """Write a box to a JSON file, atomically.

    Parameters
    ----------
    path
        JSON file to write.
    box
        Rectangle on the patterns.
    shape
        Number of rows and columns of the patterns that it was drawn on.
    source
        Origin of the box: "proposed" by `propose_box`, or drawn by the "user".
    share
        Fraction of the positives' summed counts inside, if known.

    Raises
    ------
    BoxError
        If the box extends beyond the pattern, or `source` is unknown.
    """
    box.check_inside(shape)
    if source not in SOURCES:
        raise BoxError(f"the source of a box must be one of {', '.join(SOURCES)}, got {source!r}")
    fields = {
        "rows": [int(box.row_start), int(box.row_stop)],
        "columns": [int(box.column_start), int(box.column_stop)],
        "shape": [int(length) for length in shape],
        "source": source,
        "share": share,
    }
    write_text(path, json.dumps(fields, indent=2) + "\n")


def read_box(path: str | os.PathLike, *, shape: tuple[int, int] | None = None) -> Box:
    """Read a box from a JSON file.

    Parameters
    ----------
    path
        JSON file written by `write_box`; only `rows`, `columns` and `shape` are needed.
    shape
        Number of rows and columns of the patterns that the box is for; None does not compare them with the file's.

    Raises
    ------
    BoxError
        If the file holds no box, or a box for patterns of another shape.
    """
    advice = "delete it and draw the box again"
    fields = read_json(Path(path), "box", error=BoxError, advice=advice)
    try:
        (row_start, row_stop), (column_start, column_stop) = fields["rows"], fields["columns"]
        rows, columns = fields["shape"]
        box = Box(row_start, row_stop, column_start, column_stop)
        box.check_inside((rows, columns))
    except (KeyError, TypeError, ValueError) as error:
        raise BoxError(f"{path} holds no box ({in_short(error)}); {advice}") from error
    if shape is not None and (rows, columns) != tuple(shape):
        raise BoxError(
            f"{path} holds a box for patterns of {rows} × {columns} pixels, but these have "
            f"{shape[0]} × {shape[1]}; {advice}"
        )
    return box


def _narrowest(left_of: np.ndarray, enough: float) -> tuple[int, int]:
    """Narrowest interval of columns with enough counts; `left_of` are the counts left of each column edge."""
    # the first stop that suffices for each start
    stops = np.searchsorted(left_of, left_of[:-1] + enough)
    starts = np.flatnonzero(stops < len(left_of))
    if len(starts) == 0:  # only rounding keeps the whole width from being enough
        return 0, len(left_of) - 1
    widths = stops[starts] - starts
    # among equally narrow intervals, the one with the most counts
    narrowest = starts[widths == widths.min()]
    start = narrowest[np.argmax(left_of[narrowest + widths.min()] - left_of[narrowest])]
    return int(start), int(start + widths.min())
