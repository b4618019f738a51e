"""The part of a detector that the networks see: one half of a pattern, turned so that row 0 is next to the beam."""

from dataclasses import dataclass

import numpy as np

from helpers.experiment import AMOX34117, Centre

SIDES = {"down": 0, "right": -1, "up": 2, "left": 1}
"""Halves of a frame, and quarter turns (counter-clockwise) after which they point down, to larger rows."""


@dataclass(frozen=True)
class Crop:
    """Which pixels are kept: by default those of the paper, 123 × 240.

    A frame is only turned, never mirrored, so the handedness of particles stays what it is. `side` is a half of the
    detector: "down" (rows after the beam's), "up", "left" or "right"; "both" keeps rows on both sides of the beam.
    """

    side: str = "down"
    rows: int = AMOX34117.rows
    columns: int = AMOX34117.columns
    centre_row: float | None = None
    """Where the beam comes to lie; None is 1.5, as in AMOX34117, or the middle for both sides [pixels]."""

    def __post_init__(self) -> None:
        if self.side not in (*SIDES, "both"):
            raise ValueError(f"side must be one of {', '.join(SIDES)} or both, got {self.side!r}")
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"a crop of {self.rows} x {self.columns} pixels is empty")

    @property
    def _turns(self) -> int:
        """Quarter turns."""
        return SIDES.get(self.side, 0)

    @property
    def wanted_centre(self) -> Centre:
        """Where the beam should lie in the crop (row, column) [pixels]."""
        middle = (self.rows - 1) / 2 if self.side == "both" else AMOX34117.centre_row
        return middle if self.centre_row is None else self.centre_row, (self.columns - 1) / 2

    def corner(self, shape: tuple[int, int], centre: Centre) -> tuple[int, int]:
        """First row and column of the crop in the turned frame, so that the beam lies as near as whole pixels allow.

        Parameters
        ----------
        shape
            Rows and columns of the frame.
        centre
            Beam centre in the frame (row, column) [pixels].

        Returns
        -------
        row, column : int
            Negative where the crop sticks out.
        """
        row, column = self._turned(centre, shape)
        return int(np.floor(row - self.wanted_centre[0] + 0.5)), int(np.floor(column - self.wanted_centre[1] + 0.5))

    def _turned(self, point: Centre, shape: tuple[int, int]) -> Centre:
        """A point of the frame in the turned frame."""
        row, column = point
        last_row, last_column = shape[0] - 1, shape[1] - 1
        turned = {
            0: (row, column),
            -1: (column, last_row - row),
            2: (last_row - row, last_column - column),
            1: (last_column - column, row),
        }
        return turned[self._turns]

    def place(self, points: np.ndarray, shape: tuple[int, int], corner: tuple[int, int]) -> np.ndarray:
        """Points of the frame in the crop.

        Parameters
        ----------
        points
            (N, 2) row and column in the frame [pixels].
        shape
            Rows and columns of the frame.
        corner
            From `corner`.

        Returns
        -------
        ndarray (N, 2)
            Row and column in the crop [pixels].
        """
        row, column = self._turned((points[:, 0], points[:, 1]), shape)
        return np.stack([row - corner[0], column - corner[1]], axis=1)

    def cut(self, frames: np.ndarray, corner: tuple[int, int], *, outside: float | bool = 0) -> np.ndarray:
        """The crop of frames.

        Parameters
        ----------
        frames
            (…, rows, columns).
        corner
            From `corner`.
        outside
            Value of pixels outside the frame: 0 for counts, True for a mask.

        Returns
        -------
        ndarray (…, crop rows, crop columns)
            A copy.
        """
        turned = np.rot90(frames, self._turns, axes=(-2, -1))
        cut = np.full((*turned.shape[:-2], self.rows, self.columns), outside, dtype=turned.dtype)
        (row, column), (rows, columns) = corner, turned.shape[-2:]
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + self.rows, rows), min(column + self.columns, columns)
        if top < bottom and left < right:
            seen = turned[..., top:bottom, left:right]
            cut[..., top - row : bottom - row, left - column : right - column] = seen
        return cut
