"""Where an HDF5 file keeps its patterns: the layouts that are about, probed one after the other."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import h5py

from helpers.errors import LostLinkError, PatternFileError
from helpers.patterns.hdf5.file import member
from helpers.patterns.hdf5.values import LARGEST_PATTERN, MOST_PATTERNS
from helpers.system import in_short

_SHOWN_NAMES = 6
_LONGEST_NUMBER = 9

PLACES = (
    "entry_*/image_*/data, entry_*/data_*/data, entry_*/instrument_*/detector_*/photons or data, "
    "photonConverter/*/photonCount, batch_*_pattern, or Dragonfly's place_ones"
)


@dataclass(frozen=True)
class Found:
    """A data set of patterns.

    Parameters
    ----------
    layout
        Name of the layout, for people.
    name
        Path of the data set.
    detector
        Path of the detector's group, where the data set belongs to one.
    two_is_bad
        Whether a mask of this layout calls pixels bad with 2 (Dragonfly) instead of any value but 0 (CXI).
    """

    layout: str
    name: str
    detector: str | None = None
    two_is_bad: bool = False

    @property
    def entry(self) -> str:
        """The entry that the data set belongs to, or "" outside entries."""
        first = self.name.partition("/")[0]
        return first if first.startswith("entry_") else ""


def names_in(group: h5py.Group) -> list[str]:
    """Names in a group; those that are no text (h5py gives bytes) name nothing that we know."""
    return [name for name in group if isinstance(name, str)]


def numbered(group: h5py.Group, prefix: str, suffix: str = "") -> list[str]:
    """Names `prefix_N` in a group, by number."""
    known = re.compile(rf"{prefix}_([0-9]{{1,{_LONGEST_NUMBER}}}){suffix}")
    found = [(int(match[1]), name) for name in names_in(group) if (match := known.fullmatch(name))]
    return [name for _, name in sorted(found)]


def members(file: h5py.File, path: Path, *prefixes: str) -> list[str]:
    """Paths `prefix_N/prefix_M/...` of groups, by number."""
    paths = [""]
    for prefix in prefixes:
        groups = [(start, member(file, path, start)) for start in paths]
        paths = [
            f"{start}/{name}".lstrip("/")
            for start, group in groups
            if isinstance(group, h5py.Group)
            for name in numbered(group, prefix)
        ]
    return paths


def find_stacks(file: h5py.File, path: Path) -> list[Found]:
    """The data sets of patterns in a file, in the order in which they make one stack.

    In each entry the first kind that is there counts: images, then data, then detectors.

    Raises
    ------
    PatternFileError
        If there are none, or only such as show the same shots on several detectors.
    """
    detectors = _detectors(file, path)
    found = [one for entry in numbered(file, "entry") for one in _in_entry(file, path, entry, detectors)]
    found = found or _in_photon_converter(file, path) or _in_batches(file, path)
    if not found:
        raise PatternFileError(
            f"{path}: no patterns at {PLACES} (its root holds {listed(names_in(file)) or 'nothing'}); name the data "
            "set with dataset=... (--dataset), or write them in the CXI layout, for instance with "
            "helpers.patterns.opening.write_stack"
        )
    return _without_repeats(file, found)


def find_named(file: h5py.File, path: Path, name: str) -> Found:
    """The data set of that name."""
    name = name.strip("/")
    data = member(file, path, name)
    if not isinstance(data, h5py.Dataset):
        raise PatternFileError(f"{path}: there is no data set {name}; name one that holds patterns")
    owner = next((group for group, own in _detectors(file, path).items() if _address(data) in own.values()), None)
    return Found("named", name, owner, two_is_bad=name.startswith("photonConverter/"))


def _in_entry(file: h5py.File, path: Path, entry: str, detectors: dict[str, dict[str, tuple]]) -> list[Found]:
    """Stacks of an entry; a single image, for instance an average, only where there is nothing else."""
    names = [f"{group}/data" for group in _groups(file, path, entry, "image")]
    images = [Found("CXI images", name) for name in names if _is_data(file, path, name)]
    if stacks := [image for image in images if len(file[image.name].shape or ()) > 2]:
        return stacks
    data = [f"{group}/data" for group in _groups(file, path, entry, "data")]
    there, lost = _without_lost(file, path, data)
    found = [_owned(file, path, name, detectors) for name in there]
    if not found:
        own = [group for group in detectors if group.startswith(f"{entry}/")]
        found = [Found("CXI detector", _best(group, detectors[group]), group) for group in own if detectors[group]]
    if lost and (there or not found):  # else the raw data are gone that photons were made of
        raise lost[0]
    _refuse_same_shots(file, path, _without_repeats(file, found))
    return found or images


def _without_lost(file: h5py.File, path: Path, names: list[str]) -> tuple[list[str], list[LostLinkError]]:
    """Those of some names that are data sets, and what is to be said of links that lead nowhere."""
    there, lost = [], []
    for name in names:
        try:
            there += [name] if _is_data(file, path, name) else []
        except LostLinkError as error:
            lost.append(error)
    return there, lost


def _groups(file: h5py.File, path: Path, entry: str, prefix: str) -> list[str]:
    """Numbered groups of an entry."""
    group = member(file, path, entry)
    return [f"{entry}/{name}" for name in numbered(group, prefix)] if isinstance(group, h5py.Group) else []


def _detectors(file: h5py.File, path: Path) -> dict[str, dict[str, tuple]]:
    """Groups of detectors, each with the addresses of its data sets `photons` and `data`."""
    return {
        group: {
            name: _address(data)
            for name in ("photons", "data")
            if isinstance(data := member(file, path, f"{group}/{name}"), h5py.Dataset)
        }
        for group in members(file, path, "entry", "instrument", "detector")
    }


def _owned(file: h5py.File, path: Path, name: str, detectors: dict[str, dict[str, tuple]]) -> Found:
    """A data set `entry_*/data_*/data`, or the photons of the detector whose raw data it is a link to (psocake)."""
    address = _address(member(file, path, name))
    for group, own in detectors.items():
        if address in own.values():
            if "photons" in own:
                return Found("psocake", f"{group}/photons", group)
            return Found("CXI data", name, group)
    return Found("CXI data", name)


def _best(group: str, own: dict[str, tuple]) -> str:
    return f"{group}/{'photons' if 'photons' in own else 'data'}"


def _refuse_same_shots(file: h5py.File, path: Path, found: list[Found]) -> None:
    """Refuse stacks that are several detectors of one instrument: they show the same shots."""
    detectors = [one.detector for one in found if one.detector]
    instruments = {detector.rpartition("/")[0] for detector in detectors}
    if len(set(detectors)) > len(instruments):
        _refuse_choice(path, "show the same shots on several detectors", [one.name for one in found])


def _in_photon_converter(file: h5py.File, path: Path) -> list[Found]:
    """CXIDB-58: one data set a detector."""
    converter = member(file, path, "photonConverter")
    if not isinstance(converter, h5py.Group):
        return []
    names = [f"photonConverter/{detector}/photonCount" for detector in names_in(converter)]
    names = [name for name in names if _is_data(file, path, name)]
    if len(names) > 1:
        _refuse_choice(path, "show the same shots on several detectors", names)
    return [Found("CXIDB-58", name, two_is_bad=True) for name in names]


def _in_batches(file: h5py.File, path: Path) -> list[Found]:
    """Batches of an experiment's own processing."""
    names = numbered(file, "batch", "_pattern")
    return [Found("batches", name) for name in names if _is_data(file, path, name)]


def _refuse_choice(path: Path, what: str, names: list[str]) -> None:
    raise PatternFileError(f"{path}: {listed(names)} {what}; name one with dataset=... (--dataset)")


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Names in a row, the middle of a long row left out."""
    shown = [in_short(name) for name in (names if len(names) <= _SHOWN_NAMES else [*names[:2], names[-1]])]
    if len(names) <= _SHOWN_NAMES:
        return ", ".join(shown)
    return f"{shown[0]}, {shown[1]}, ... {shown[-1]} ({len(names)} data sets)"


def _without_repeats(file: h5py.File, found: list[Found]) -> list[Found]:
    """Each data set once, however many links lead to it."""
    seen: dict[tuple, Found] = {}
    for one in found:
        seen.setdefault(_address(file[one.name]), one)
    return list(seen.values())


def _is_data(file: h5py.File, path: Path, name: str) -> bool:
    return isinstance(member(file, path, name), h5py.Dataset)


def _address(data: h5py.Dataset) -> tuple:
    """What tells a data set from others, whatever it is called: its file and its place there."""
    info = h5py.h5o.get_info(data.id)
    return data.file.filename, info.fileno, info.addr


def check_stack(file: h5py.File, path: Path, name: str) -> None:
    """Refuse a data set that is not a whole stack of numbers."""
    data = file[name]
    if data.shape is None or data.ndim not in (3, 4):
        raise PatternFileError(
            f"{path}: {name} has shape {data.shape}; a stack is (patterns, rows, columns), "
            "or (patterns, panels, rows, columns): reshape it"
        )
    if 0 in data.shape:
        raise PatternFileError(f"{path}: {name} is empty, its shape is {data.shape}; write at least one pattern")
    if data.dtype.kind not in "iuf":
        raise PatternFileError(
            f"{path}: {name} holds {in_short(str(data.dtype))}; photon counts are integers or floats: convert it"
        )
    pixels = math.prod(data.shape[1:])
    if pixels > LARGEST_PATTERN or data.shape[0] > MOST_PATTERNS:
        raise PatternFileError(
            f"{path}: {name} declares {data.shape[0]} patterns of {pixels} pixels, more than any detector delivers "
            f"({MOST_PATTERNS} of {LARGEST_PATTERN} at most); write it anew"
        )
