"""Crop of a detector frame for the networks: one half of a pattern, rotated so that row 0 is next to the beam."""

from dataclasses import dataclass

import numpy as np

from helpers.experiment import AMOX34117, Centre

SIDES = {"down": 0, "right": -1, "up": 2, "left": 1}
"""Half of a frame → quarter turns (counter-clockwise) after which it points down, to larger rows."""


@dataclass(frozen=True)
class Crop:
    """Region of a frame that is kept, by default the 123 × 240 pixels of the paper.

    A frame is only rotated, never mirrored, so the handedness of particles does not change.

    Raises
    ------
    ValueError
        If `side` is unknown, or the crop is empty.
    """

    side: str = "down"
    """Half of the detector: "down" (rows after the beam's), "up", "left", "right"; "both" keeps rows on both sides."""

    rows: int = AMOX34117.rows
    """Number of rows of the crop, away from the beam."""

    columns: int = AMOX34117.columns
    """Number of columns of the crop, along the edge next to the beam."""

    def __post_init__(self) -> None:
        if self.side not in (*SIDES, "both"):
            raise ValueError(f"side must be one of {', '.join(SIDES)} or both, got {self.side!r}")
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"a crop of {self.rows} x {self.columns} pixels is empty")

    @property
    def _turns(self) -> int:
        """Number of counter-clockwise quarter turns."""
        return SIDES.get(self.side, 0)

    @property
    def wanted_centre(self) -> Centre:
        """Wanted position of the beam in the crop (row, column): row 1.5, or the middle for both sides [pixels]."""
        return (self.rows - 1) / 2 if self.side == "both" else AMOX34117.centre_row, (self.columns - 1) / 2

    def corner(self, shape: tuple[int, int], centre: Centre) -> tuple[int, int]:
        """First row and column of the crop in the rotated frame, with the beam as near `wanted_centre` as pixels allow.

        Parameters
        ----------
        shape
            Number of rows and columns of the frame.
        centre
            Beam centre in the frame (row, column) [pixels].

        Returns
        -------
        row, column : int
            Corner of the crop; negative if the crop extends beyond the frame [pixels].
        """
        row, column = self._turned(centre, shape)
        return int(np.floor(row - self.wanted_centre[0] + 0.5)), int(np.floor(column - self.wanted_centre[1] + 0.5))

    def centres_inside(self, shape: tuple[int, int]) -> np.ndarray:
        """Lowest and highest row and column of the beam (2, 2) [pixels] with which the crop lies in such a frame.

        Where the crop is larger, those with which it takes up all of the frame.
        """
        turned = np.array(shape if self._turns % 2 == 0 else shape[::-1])
        first = np.array(self.wanted_centre)
        (row, column), (other_row, other_column) = first, first + turned - (self.rows, self.columns)
        last_row, last_column = shape[0] - 1, shape[1] - 1
        ends = {
            0: [(row, column), (other_row, other_column)],
            -1: [(last_row - column, row), (last_row - other_column, other_row)],
            2: [(last_row - row, last_column - column), (last_row - other_row, last_column - other_column)],
            1: [(column, last_column - row), (other_column, last_column - other_row)],
        }
        return np.sort(np.array(ends[self._turns], float), axis=0)

    def _turned(self, point: Centre, shape: tuple[int, int]) -> Centre:
        """Coordinates in the rotated frame of a point of the frame."""
        row, column = point
        last_row, last_column = shape[0] - 1, shape[1] - 1
        turned = {
            0: (row, column),
            -1: (column, last_row - row),
            2: (last_row - row, last_column - column),
            1: (last_column - column, row),
        }
        return turned[self._turns]

    def to_crop(self, points: np.ndarray, shape: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
        """Row and column in the crop of points (N, 2) of a frame of this `shape`; the crop begins at `corner`."""
        row, column = self._turned((points[:, 0], points[:, 1]), shape)
        return np.stack([row - corner[0], column - corner[1]], axis=1)

    def cut(self, frames: np.ndarray, corner: tuple[int, int], *, outside: float | bool = 0) -> np.ndarray:
        """Rotated and cropped copy of frames, of counts or of a mask.

        Parameters
        ----------
        frames
            (…, rows, columns) values of any type.
        corner
            First row and column of the crop in the rotated frame, from `corner`.
        outside
            Value of crop pixels that lie outside the frame: 0 for counts, True for a mask.

        Returns
        -------
        ndarray (…, crop rows, crop columns)
            Copy of the values, of the type of `frames`.
        """
        turned = np.rot90(frames, self._turns, axes=(-2, -1))
        cut = np.full((*turned.shape[:-2], self.rows, self.columns), outside, dtype=turned.dtype)
        # the overlap of crop and frame: in the frame from top, left to bottom, right
        (row, column), (rows, columns) = corner, turned.shape[-2:]
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + self.rows, rows), min(column + self.columns, columns)
        if top < bottom and left < right:
            seen = turned[..., top:bottom, left:right]
            cut[..., top - row : bottom - row, left - column : right - column] = seen
        return cut
