"""Dragonfly's detector file (HDF5): where each pixel of the photons lies in reciprocal space, and whether it is good.

`qx, qy, qz, corr` (float64) and `mask` (uint8: 0 good, 1 good but not for orientation, 2 bad), one value a pixel,
`detd` [pixels] and `ewald_rad` [voxels] (github.com/duaneloh/Dragonfly, docs). x runs along the rows of a picture.
"""

import os
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Centre
from helpers.patterns.assembly import Assembly
from helpers.patterns.hdf5.file import dataset, errors_name, open_hdf5
from helpers.patterns.hdf5.values import LARGEST_PATTERN, name_of, values_of
from helpers.patterns.hdf5.writing import hdf5_to_write
from helpers.system import written_whole

_MEMBERS = ("qx", "qy", "qz", "mask", "detd", "ewald_rad")
_ORIGIN_TOLERANCE = 1e-6


def detector_beside(path: Path) -> Path:
    """Path of the detector that belongs to a file of photons: the same stem and `_detector.h5`."""
    return path.with_name(f"{path.stem}_detector.h5")


def write_detector(
    path: str | os.PathLike,
    *,
    mask: np.ndarray,
    centre: Centre,
    distance: float,
    good_share: np.ndarray | None = None,
    experiment: dict[str, float | str] | None = None,
) -> None:
    """Write the detector of patterns with rows and columns: mask True = bad pixel, centre and distance D in pixels.

    With f = √(x² + y² + D²), all in pixels from the beam centre: q = (x, y, D − f) R / f on an Ewald sphere of R = D
    voxels, so that a voxel is a pixel at the centre, and corr = D / f³ is the solid angle (no polarization), times the
    share of a pixel that counts photons, where it is a bin of several. The experiment is stored as attributes, which
    Dragonfly does not read.
    """
    row, column = (axis.astype(float) for axis in np.indices(mask.shape))
    x, y = row.ravel() - centre[0], column.ravel() - centre[1]
    path_length = np.sqrt(x**2 + y**2 + distance**2)
    with written_whole(path) as partial, hdf5_to_write(partial, "w") as file:
        file["qx"] = x * distance / path_length
        file["qy"] = y * distance / path_length
        file["qz"] = distance * (distance / path_length - 1)
        file["corr"] = distance / path_length**3 * (1.0 if good_share is None else good_share.ravel())
        file["mask"] = np.where(mask.ravel(), 2, 0).astype(np.uint8)
        file["detd"] = float(distance)
        file["ewald_rad"] = float(distance)
        file.attrs.update(experiment or {})


def lacking(file: h5py.File) -> list[str]:
    """Members of a Dragonfly detector that an HDF5 file lacks."""
    return [name for name in _MEMBERS if dataset(file, name) is None]


def read_detector(path: Path, pixels: int | None = None) -> tuple[Assembly, dict[str, float | str]]:
    """Places of a detector's pixels in a picture, with centre, distance and mask, and `write_detector`'s attributes.

    Refused if it is no detector file, or has another number of pixels than the photons (not compared if None).
    """
    with errors_name(path):
        with open_hdf5(path) as file:
            if names := lacking(file):
                raise PatternFileError(f"is no Dragonfly detector, it lacks {', '.join(names)}; give another file")
            values = {name: _numbers(file[name]) for name in _MEMBERS}
            attributes = dict(file.attrs)
        sizes = {name: values[name].size for name in ("qx", "qy", "qz", "mask")}
        if len(set(sizes.values())) > 1 or (pixels is not None and sizes["qx"] != pixels):
            wanted = f"the photons have {pixels} pixels" if pixels is not None else "they must be as many"
            raise PatternFileError(f"the detector has {sizes} values, {wanted}; give the detector of these photons")
        return _assembled(path, values), attributes


def _numbers(data: h5py.Dataset) -> np.ndarray:
    """The numbers of a member (n,)."""
    if data.dtype.kind not in "iufb" or not data.size:
        raise PatternFileError(f"{name_of(data)} holds {data.dtype} in {data.shape}, no numbers; write it anew")
    return np.ravel(values_of(data))


def _assembled(path: Path, values: dict[str, np.ndarray]) -> Assembly:
    """Undo the projection of `write_detector`: x = q_x D / (R + q_z); older files have q_z with the other sign."""
    distance, radius = (float(values[name][0]) for name in ("detd", "ewald_rad"))
    depth = radius - np.abs(values["qz"].astype(float))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x, y = (values[name].astype(float) * distance / depth for name in ("qx", "qy"))
    largest = max(np.abs(x).max(), np.abs(y).max())
    if not (np.isfinite(largest) and 0 < distance < np.inf) or np.ptp(x) * np.ptp(y) > LARGEST_PATTERN:
        raise PatternFileError("qx, qy, qz, detd and ewald_rad place a pixel nowhere; write the detector anew")
    rows, columns = (np.rint(axis - axis.min()).astype(np.intp) for axis in (x, y))
    centre = tuple(float(np.round(-axis.min() / _ORIGIN_TOLERANCE) * _ORIGIN_TOLERANCE) for axis in (x, y))
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    return Assembly(rows, columns, shape, centre, mask_values=values["mask"], distance=distance, source=str(path))
