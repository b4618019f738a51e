"""Geometry of a detector in a pattern file, or in a file beside it.

Known are CXI's `corner_position` and `basis_vectors`, a map of pixel positions `xyz_map`, and Dragonfly's detector.
"""

import math
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.assembly import Assembly, from_positions, module_positions
from helpers.patterns.dragonfly.detector import lacking, read_detector
from helpers.patterns.hdf5.entry import Entry
from helpers.patterns.hdf5.file import errors_name, open_hdf5, require_file
from helpers.patterns.hdf5.values import values_of

_CORNERS = ("corner_position", "corner_positions")
_MAPS = ("xyz_map", "pixel_positions")
_LONGEST_M = 1e7

HOW_TO_GIVE_ONE = (
    "give a geometry with detector=FILE (--detector FILE), an HDF5 file that holds xyz_map (3, panels, rows, columns) "
    "[m], corner_position and basis_vectors, or a Dragonfly detector"
)
_OLD_TEXT = " (of today: its make_detector.py writes in HDF5 what was text, .dat, before)"


def geometry_in(entry: Entry, groups: list[str], shape: tuple[int, ...]) -> Assembly | None:
    """The geometry of a stack of panels in some groups of an entry ("" is the root); None if there is none.

    `shape` (panels, rows, columns) is that of a pattern as stored; a geometry that does not fit it is refused.
    """
    for group in groups:
        pixel = entry.pixel_sizes([group])
        name, positions = _first(entry, group, _MAPS)
        if positions is not None:
            return _from_map(name, positions, shape, pixel)
        name, corners = _first(entry, group, _CORNERS)
        _, basis = _first(entry, group, ("basis_vectors",))
        if corners is not None:
            return _from_modules(name, corners, basis, shape, pixel)
    return None


def given_geometry(detector: Path | Assembly, shape: tuple[int, ...]) -> tuple[Assembly, str]:
    """The geometry that the user gives, and where it is from for people; refused if it has another number of pixels."""
    if isinstance(detector, Path):
        return geometry_file(detector, shape)[0], f"put together by {detector}"
    if detector.pixels != math.prod(shape):
        raise PatternFileError(
            f"the geometry has {detector.pixels} pixels, a pattern {shape}; give that of this detector"
        )
    return detector, "put together by the geometry given"


def geometry_file(path: Path, shape: tuple[int, ...]) -> tuple[Assembly, dict[str, float | str]]:
    """The geometry that a file of its own holds, and the fields of the experiment that a detector file of ours holds.

    It is a Dragonfly detector, or has `xyz_map` or `corner_position` and `basis_vectors` at its root or in
    `entry_*/instrument_*/detector_*`; refused if there is none, or it has another number of pixels than `shape`.
    """
    with errors_name(path):
        require_file(path)
        if not h5py.is_hdf5(path):
            raise PatternFileError(f"is no HDF5, and holds no geometry that can be read; {HOW_TO_GIVE_ONE}{_OLD_TEXT}")
    with errors_name(path), open_hdf5(path) as file:
        if lacking(file):
            root = Entry(file, "")
            found = geometry_in(root, ["", *root.groups("entry", "instrument", "detector")], shape)
            if found is None:
                raise PatternFileError(f"holds no geometry; {HOW_TO_GIVE_ONE}")
            return found, {}
    return read_detector(path, math.prod(shape))


def _first(entry: Entry, group: str, names: tuple[str, ...]) -> tuple[str, np.ndarray | None]:
    """The first data set of these names in a group, as float, and its path."""
    for name in names:
        data = entry.dataset(group, name)
        if data is not None and data.dtype.kind in "iuf":
            return f"{group}/{name}".lstrip("/"), np.asarray(values_of(data), float)
    return "", None


def _from_map(
    source: str, positions: np.ndarray, shape: tuple[int, ...], pixel: tuple[float, float] | None
) -> Assembly:
    """From the position of each pixel: (3, ...) or (2, ...) [m]."""
    _refuse_not_finite(source, positions)
    if positions.ndim < 2 or positions.shape[0] not in (2, 3) or positions[0].size != math.prod(shape):
        raise PatternFileError(
            f"{source} has shape {positions.shape}, a pattern has {shape}; store x, y and z of each of its pixels"
        )
    x, y = positions[0].reshape(shape), positions[1].reshape(shape)
    if pixel is None:
        pixel = (_step(x, y, axis=-2), _step(x, y, axis=-1)) if len(shape) > 1 else (0.0, 0.0)
    if not min(pixel) > 0:
        raise PatternFileError(f"{source}: neighbouring pixels have one position; store x_pixel_size and y_pixel_size")
    return from_positions(x, y, pixel=pixel, source=source)


def _refuse_not_finite(source: str, values: np.ndarray) -> None:
    """Raise if a position or a direction is NaN, infinite or longer than the earth."""
    if not (np.isfinite(values).all() and (np.abs(values) < _LONGEST_M).all()):
        raise PatternFileError(f"{source}: a pixel's position is not finite; correct it, or give another geometry")


def _step(x: np.ndarray, y: np.ndarray, *, axis: int) -> float:
    """Usual distance of neighbours [m]; 0 where there are none."""
    steps = np.hypot(np.diff(x, axis=axis), np.diff(y, axis=axis))
    return float(np.median(steps)) if steps.size else 0.0


def _from_modules(
    source: str,
    corners: np.ndarray,
    basis: np.ndarray | None,
    shape: tuple[int, ...],
    pixel: tuple[float, float] | None,
) -> Assembly:
    """From a corner and two basis vectors for each panel."""
    panels = shape[0] if len(shape) == 3 else 1
    _refuse_not_finite(source, corners)
    _refuse_not_finite(source, np.zeros(0) if basis is None else basis)
    if basis is None and pixel is not None:
        basis = np.array([[0, -pixel[0], 0], [-pixel[1], 0, 0]])
    fits = basis is not None and corners.shape[-1:] == (3,) and basis.shape[-2:] == (2, 3)
    if not fits or corners.size != 3 * panels or basis.size not in (6, 6 * panels):
        known = "no basis_vectors" if basis is None else f"basis_vectors {basis.shape}"
        raise PatternFileError(
            f"{source} has shape {corners.shape}, with {known}; store a corner (3) and two basis vectors (2, 3) for "
            f"each of the {panels} panels"
        )
    basis = np.broadcast_to(basis.reshape(-1, 2, 3), (panels, 2, 3))
    pixel = pixel or (float(np.linalg.norm(basis[0, 0])), float(np.linalg.norm(basis[0, 1])))
    if not min(pixel) > 0:
        raise PatternFileError(f"{source}: a basis vector has no length; correct basis_vectors")
    x, y = module_positions(corners.reshape(panels, 3), basis, shape[-2:])
    return from_positions(x, y, pixel=pixel, source=source)
