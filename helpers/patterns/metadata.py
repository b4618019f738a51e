"""What an HDF5 file says about its patterns: bad pixels, centre, title, experiment."""

from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Centre, Experiment
from helpers.patterns.columns import decoded, existing, is_plain
from helpers.patterns.hdf5.file import member
from helpers.patterns.hdf5.values import values_of
from helpers.patterns.layouts import Found, members
from helpers.system import in_short

Polarity = Literal["format", "nonzero-bad", "nonzero-good"]
"""Which pixels a mask calls bad: as its format says, those that are not 0, or those that are 0."""

POLARITIES: tuple[Polarity, ...] = ("format", "nonzero-bad", "nonzero-good")

_JOULE_NM = 6.62607015e-34 * 299792458 * 1e9
_JOULE_A_EV = 1.602176634e-19
_LARGEST_JOULE = 1e-12
_LARGEST_FLOAT_COUNT = 2**24


def bad_pixels(values: np.ndarray, polarity: Polarity, *, two_is_bad: bool) -> np.ndarray:
    """Pixels that a mask calls bad.

    Parameters
    ----------
    values
        As stored, any shape.
    polarity
        "format": any value but 0 is bad in CXI, 2 is bad in Dragonfly (0 good, 1 good but not for orientation).
    two_is_bad
        Whether the format is Dragonfly's.

    Returns
    -------
    ndarray
        bool, True = bad pixel.
    """
    if polarity == "format" and two_is_bad:
        return values == 2
    return values == 0 if polarity == "nonzero-good" else values != 0


def mask_dataset(file: h5py.File, path: Path, found: Found) -> tuple[str, h5py.Dataset] | None:
    """The mask of a stack: beside the data, in its detector, else in an image or detector of the same entry.

    Returns
    -------
    name : str
        Its path.
    mask : h5py.Dataset
        With the shape of a pattern, or of the whole stack.
    None
        If there is none.

    Raises
    ------
    PatternFileError
        If its shape is another.
    """
    groups = [found.name.rpartition("/")[0], *([found.detector] if found.detector else [])]
    if found.entry:
        images = [image for image in members(file, path, "entry", "image") if image.startswith(f"{found.entry}/")]
        groups += images + detectors_of(file, path, found)
    shape = file[found.name].shape
    for group in groups:
        name = f"{group}/mask".lstrip("/")
        mask = member(file, path, name)
        if not isinstance(mask, h5py.Dataset):
            continue
        if mask.shape not in (shape, shape[1:]) or mask.dtype.kind not in "iufb":
            raise PatternFileError(
                f"{path}: mask {name} has shape {mask.shape} ({mask.dtype}), the patterns have {shape[1:]}; "
                f"store one mask of numbers with the rows and columns of a pattern"
            )
        return name, mask
    return None


def detectors_of(file: h5py.File, path: Path, found: Found) -> list[str]:
    """Detectors of a stack: its own, else those of its entry."""
    if found.detector:
        return [found.detector]
    own = f"{found.entry}/"
    return [group for group in members(file, path, "entry", "instrument", "detector") if group.startswith(own)]


def read_centre(file: h5py.File, path: Path, name: str) -> Centre | None:
    """Beam centre (row, column) [pixels] from `image_center` (x, y, z) beside the data; None if there is none."""
    place = beside(name, "image_center")
    data = member(file, path, place)
    if not isinstance(data, h5py.Dataset):
        return None
    centre = np.asarray(values_of(data, path, place))
    if centre.shape not in ((2,), (3,)) or centre.dtype.kind not in "iuf" or not np.isfinite(centre[:2]).all():
        raise PatternFileError(
            f"{path}: {place} is {in_short(str(centre.tolist()))}; write (x, y, z) in pixels, or remove it"
        )
    return float(centre[1]), float(centre[0])


def read_title(file: h5py.File, path: Path, found: Found) -> str:
    """What the file says about itself (`entry_N/title`) on one line, or nothing."""
    place = f"{found.entry}/title"
    title = existing(file, place, path) if found.entry else None
    if not isinstance(title, h5py.Dataset) or not title.size or not is_plain(title.dtype):
        return ""
    words = decoded(np.ravel(np.asarray(values_of(title, path, place), title.dtype)))[0]
    return in_short("".join(sign if sign.isprintable() else " " for sign in str(words)))


def pixel_sizes(file: h5py.File, path: Path, detectors: list[str]) -> tuple[float, float] | None:
    """Height and width of a pixel [m], or None."""
    x, y = (_first_value(file, path, detectors, name) for name in ("x_pixel_size", "y_pixel_size"))
    x, y = x or y, y or x
    return None if x is None or y is None else (y, x)


def read_experiment(
    file: h5py.File,
    path: Path,
    found: Found,
    *,
    shape: tuple[int, int],
    centre: Centre | None,
    dtype: np.dtype,
) -> tuple[Experiment | None, list[str]]:
    """The experiment that the file describes, and what is missing for it.

    Values that are stored shot by shot count with their median. Detector units of a photon follow from CXI's
    `counts_per_joule` (1 without it: the file holds photons); saturation from `saturation_value`, else from the type.

    Parameters
    ----------
    file, path, found
        The stack.
    shape
        Rows and columns of a pattern.
    centre
        Beam centre (row, column) [pixels].
    dtype
        Of the values.

    Returns
    -------
    experiment : Experiment or None
        None if something is missing.
    missing : list of str
        What, for people.
    """
    detectors = detectors_of(file, path, found)
    distance = _first_value(file, path, detectors, "distance")
    pixel = pixel_sizes(file, path, detectors)
    energy = _photon_energy(file, path, found)
    needed = {"distance": distance, "x_pixel_size": pixel, "source_1/energy": energy, "image_center": centre}
    missing = [name for name, value in needed.items() if value is None]
    if pixel is not None and not np.isclose(*pixel, rtol=1e-3):
        missing.append("square pixels")
    if distance is None or pixel is None or energy is None or centre is None or missing:
        return None, missing
    counts_per_joule = _first_value(file, path, detectors, "counts_per_joule")
    largest = np.iinfo(dtype).max if dtype.kind in "iu" else _LARGEST_FLOAT_COUNT
    return Experiment(
        name=read_title(file, path, found) or path.stem,
        wavelength_nm=_JOULE_NM / energy,
        distance_m=distance,
        pixel_m=pixel[1],
        rows=shape[0],
        columns=shape[1],
        centre_row=centre[0],
        centre_column=centre[1],
        adu_per_photon=counts_per_joule * energy if counts_per_joule else 1.0,
        saturation=int(_first_value(file, path, detectors, "saturation_value") or largest),
    ), []


def _photon_energy(file: h5py.File, path: Path, found: Found) -> float | None:
    """Energy of a photon [J]; psocake writes `energy` in eV, which no photon has in joules."""
    own = f"{found.entry}/"
    sources = [group for group in members(file, path, "entry", "instrument", "source") if group.startswith(own)]
    energy = _first_value(file, path, sources, "energy")
    if energy is not None:
        return energy if energy < _LARGEST_JOULE else energy * _JOULE_A_EV
    wavelength_angstrom = _first_value(file, path, ["LCLS"], "photon_wavelength_A")
    return None if wavelength_angstrom is None else 10 * _JOULE_NM / wavelength_angstrom


def _first_value(file: h5py.File, path: Path, groups: list[str], name: str) -> float | None:
    """The median of the positive numbers of the first data set of that name that has any."""
    for group in groups:
        data = member(file, path, f"{group}/{name}")
        if isinstance(data, h5py.Dataset) and data.dtype.kind in "iuf" and data.size:
            values = np.ravel(values_of(data, path, f"{group}/{name}")).astype(float)
            values = values[np.isfinite(values) & (values > 0)]
            if values.size:
                return float(np.median(values))
    return None


def beside(name: str, other: str) -> str:
    """The path of `other` in the group of the data set `name`."""
    return f"{name.rpartition('/')[0]}/{other}".lstrip("/")
