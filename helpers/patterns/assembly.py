"""Assembly of the pixels of a detector, in whatever order a file keeps them, into a picture with rows and columns.

Each pixel goes to the nearest row and column; places that no pixel reaches are gaps, and count as bad pixels.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from helpers.errors import PatternFileError
from helpers.experiment import Centre

_LARGEST_SIDE = 20_000
_LARGEST_PICTURE = 2**25


@dataclass(frozen=True, eq=False)
class Assembly:
    """Map from the pixels of a detector, in the order of the file, to the rows and columns of a picture.

    `rows`, `columns` and `mask_values` (pixels,); beam centre (row, column) and distance in pixels, where the geometry
    tells them; `source` says what it was made from, for people.
    """

    rows: np.ndarray
    columns: np.ndarray
    shape: tuple[int, int]
    centre: Centre | None = None
    mask_values: np.ndarray | None = None
    distance: float | None = None
    source: str = ""

    @property
    def pixels(self) -> int:
        """Number of pixels of the detector."""
        return self.rows.size

    @cached_property
    def _places(self) -> np.ndarray:
        """Place of each pixel in the flattened picture."""
        return self.rows * self.shape[1] + self.columns

    @cached_property
    def _pixels_at(self) -> np.ndarray:
        """Number of pixels at each place of the flattened picture."""
        return np.bincount(self._places, minlength=self.shape[0] * self.shape[1])

    @property
    def gaps(self) -> np.ndarray:
        """Places without a pixel, bool (rows, columns)."""
        return (self._pixels_at == 0).reshape(self.shape)

    def images(self, values: np.ndarray) -> np.ndarray:
        """Pictures (n, rows, columns), float32, 0 in gaps, from values (n, pixels) or (n, ...) with as many each.

        Where rounding brings two pixels to one place, their values are added.
        """
        flat = np.asarray(values, dtype=np.float32).reshape(len(values), self.pixels)
        if self._pixels_at.max(initial=0) <= 1:
            pictures = np.zeros((len(flat), self._pixels_at.size), np.float32)
            pictures[:, self._places] = flat
        else:
            shape = (self._pixels_at.size, self.pixels)
            adding = csr_array((np.ones(self.pixels, np.float32), (self._places, np.arange(self.pixels))), shape=shape)
            pictures = np.ascontiguousarray((adding @ flat.T).T)
        return pictures.reshape(len(flat), *self.shape)

    def mask(self, bad: np.ndarray) -> np.ndarray:
        """Bad places of the picture (rows, columns): gaps, and those with a bad pixel; `bad` is one bool a pixel."""
        mask = self._pixels_at == 0
        mask[self._places[np.asarray(bad).ravel()]] = True
        return mask.reshape(self.shape)


def in_rows(shape: tuple[int, int]) -> Assembly:
    """Pixels that already stand row after row, with rows and columns of `shape`."""
    rows, columns = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    return Assembly(rows, columns, shape, source=f"{shape[0]} rows x {shape[1]} columns")


def from_positions(x: np.ndarray, y: np.ndarray, *, pixel: tuple[float, float], source: str) -> Assembly:
    """Pixels by their middles x, y [m] in the coordinates of CXI: the beam at (0, 0), y up; pixel (height, width) [m].

    The picture is what one sees looking along the beam, as in section "orientation of pixel detectors" of CXI 1.6: row
    = (max y − y) / p_y and column = (max x − x) / p_x, so that a detector with the default basis vectors stays as it is
    stored. Positions that are not finite and absurdly large pictures are refused.
    """
    x, y = np.ravel(x).astype(float), np.ravel(y).astype(float)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise PatternFileError(f"{source}: a pixel's position is not finite; correct it, or give another geometry")
    with np.errstate(over="ignore"):
        down, across = (y.max() - y) / pixel[0], (x.max() - x) / pixel[1]
    if max(down.max(), across.max()) >= _LARGEST_SIDE or (down.max() + 1) * (across.max() + 1) > _LARGEST_PICTURE:
        raise PatternFileError(
            f"{source}: the picture would have {down.max():.0f} x {across.max():.0f} pixels of "
            f"{pixel[0]:g} x {pixel[1]:g} m; give positions and pixel sizes in metres"
        )
    rows, columns = np.rint(down).astype(np.intp), np.rint(across).astype(np.intp)
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    centre = (float(y.max() / pixel[0]), float(x.max() / pixel[1]))
    return Assembly(rows, columns, shape, centre, source=source)


def module_positions(
    corners: np.ndarray, basis_vectors: np.ndarray, module_shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Middles x, y (modules, *module_shape) [m] of the pixels of flat modules, from CXI's corners and basis vectors.

    Pixel (s, f) is at corner + (s + ½) b₀ + (f + ½) b₁ (section "orientation of pixel detectors"): `corners` (modules,
    3) is the outer corner of each first pixel, `basis_vectors` (modules, 2, 3) the steps along the two dimensions [m].
    """
    slow = np.arange(module_shape[0])[:, None, None] + 0.5
    fast = np.arange(module_shape[1])[:, None] + 0.5
    first, second = basis_vectors[:, None, None, 0], basis_vectors[:, None, None, 1]
    with np.errstate(over="ignore", invalid="ignore"):  # `from_positions` refuses what is not finite
        positions = corners[:, None, None] + slow * first + fast * second
    return positions[..., 0], positions[..., 1]
