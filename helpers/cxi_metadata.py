"""What an HDF5 file says about its patterns: bad pixels, centre, event ids, columns, experiment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from helpers.cxi_layout import Found, members, names_in
from helpers.errors import PatternFileError
from helpers.experiment import Centre, Experiment
from helpers.hdf5_file import member
from helpers.hdf5_values import values_of
from helpers.text_files import in_short

Polarity = Literal["format", "nonzero-bad", "nonzero-good"]
"""Which pixels a mask calls bad: as its format says, those that are not 0, or those that are 0."""

POLARITIES: tuple[Polarity, ...] = ("format", "nonzero-bad", "nonzero-good")

_JOULE_NM = 6.62607015e-34 * 299792458 * 1e9
_JOULE_A_EV = 1.602176634e-19
_LARGEST_JOULE = 1e-12
_LARGEST_FLOAT_COUNT = 2**24
_DEEPEST = 6
"""Groups in groups that are searched for columns."""


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


@dataclass(frozen=True)
class Column:
    """One value a pattern: the rows of a data set that belong to the patterns of one stack."""

    data: h5py.Dataset
    rows: slice
    path: Path

    def read(self) -> np.ndarray:
        """The values (patterns,), text decoded."""
        return decoded(values_of(self.data, self.path, self.data.name)[self.rows])


def columns_of(file: h5py.File, path: Path, stacks: list[Found], number: int) -> dict[str, Column]:
    """Data sets with one value for each pattern of `stacks[number]`, and what they are called.

    Those in the group of the patterns, in its `batch_K_*`, or beside the batches; then those of the entry and of
    psocake's `result_*` and `LCLS`, if they have as many values as the stacks that share them have patterns.
    """
    found = stacks[number]
    patterns = file[found.name].shape[0]
    whole = slice(0, patterns)
    if found.layout == "batches":
        prefix = found.name.removesuffix("pattern")
        names = [name for name in names_in(file) if name.startswith(prefix)]
        nodes = {name.removeprefix(prefix): member(file, path, name) for name in names}
        return {name: Column(node, whole, path) for name, node in nodes.items() if _fits(node, patterns)}
    columns: dict[str, Column] = {}
    collect = _Collection(path, patterns, whole, columns)
    collect.add(file[found.name].parent if "/" in found.name else file, "")
    for shared in ([found.entry] if found.entry else []) + ["LCLS"]:
        having = [stack for stack in stacks if stack.entry == found.entry or shared == "LCLS"]
        lengths = [file[stack.name].shape[0] for stack in having]
        start = sum(lengths[: having.index(found)])
        rows = slice(start, start + patterns)
        _collect_shared(file, shared, _Collection(path, sum(lengths), rows, columns))
    return columns


@dataclass(frozen=True)
class _Collection:
    """Gathers the data sets that hold one value for each of `length` patterns."""

    path: Path
    length: int
    rows: slice
    columns: dict[str, Column]

    def offer(self, name: str, node: object) -> None:
        """Take a data set that fits, unless the name is known."""
        if _fits(node, self.length) and name != "image_center":
            self.columns.setdefault(name, Column(node, self.rows, self.path))

    def add(self, group: h5py.Group, prefix: str, *, depth: int = 1) -> None:
        """Take every fitting data set that lies below a group, not what is only linked there."""
        for name in names_in(group):
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            node = member(group, self.path, name)
            if isinstance(node, h5py.Group) and depth < _DEEPEST:
                self.add(node, f"{prefix}{name}/", depth=depth + 1)
            else:
                self.offer(prefix + name, node)


def _collect_shared(file: h5py.File, place: str, collection: _Collection) -> None:
    """Add what an entry, or `LCLS`, holds for all its patterns."""
    group = _get(file, place, collection.path)
    if not isinstance(group, h5py.Group):
        return
    if place == "LCLS":
        return collection.add(group, "LCLS/")
    for name in names_in(group):
        node = _get(group, name, collection.path)
        if name.startswith("result_") and isinstance(node, h5py.Group):
            collection.add(node, f"{name}/")
        else:
            collection.offer(name, node)
    return None


def _get(group: h5py.Group, name: str, path: Path) -> h5py.Group | h5py.Dataset | None:
    """What is there, or None if it leads nowhere."""
    try:
        return member(group, path, name)
    except PatternFileError:
        return None


def _fits(node: object, length: int) -> bool:
    """Whether a node is a data set of numbers or text with that many values."""
    return isinstance(node, h5py.Dataset) and node.shape == (length,) and _is_plain(node.dtype) and not node.external


EVENT_IDS = ("event_id", "experiment_identifier", "experimental_identifier", "LCLS/eventNumber")
"""Columns that name a shot: ours, CXI's (train and pulse at the European XFEL), psocake's."""


def read_event_ids(columns: dict[str, Column], layout: str) -> np.ndarray | None:
    """One id a pattern, from the first column that holds any, or from the index of a batch."""
    names = ("index",) if layout == "batches" else EVENT_IDS
    name = next((name for name in names if name in columns), None)
    return None if name is None else columns[name].read()


def decoded(values: np.ndarray) -> np.ndarray:
    """Byte strings as text; anything else unchanged."""
    if values.dtype.kind not in "SO":
        return values
    texts = (text.decode(errors="replace") if isinstance(text, bytes) else text for text in np.ravel(values).tolist())
    return np.array([*texts], dtype=object).reshape(values.shape)


def read_title(file: h5py.File, path: Path, found: Found) -> str:
    """What the file says about itself (`entry_N/title`) on one line, or nothing."""
    place = f"{found.entry}/title"
    title = _get(file, place, path) if found.entry else None
    if not isinstance(title, h5py.Dataset) or not title.size or not _is_plain(title.dtype):
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


def _is_plain(dtype: np.dtype) -> bool:
    """Whether values are numbers, booleans or strings."""
    return dtype.kind in "iufbS" or h5py.check_string_dtype(dtype) is not None
