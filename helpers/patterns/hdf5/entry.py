"""Groups of an HDF5 file, each read once, however many layouts look into them."""

import re
from functools import cached_property

import h5py
import numpy as np

from helpers.patterns.hdf5.file import member, names_in
from helpers.patterns.hdf5.values import values_of

JOULE_NM = 6.62607015e-34 * 299792458 * 1e9
"""Energy of a photon [J] times its wavelength [nm]."""

_JOULE_A_EV = 1.602176634e-19
_LARGEST_JOULE = 1e-12
_LONGEST_NUMBER = 9


class Entry:
    """A group `entry_N` of a CXI file, or the root of a file (name "")."""

    def __init__(self, file: h5py.File, name: str) -> None:
        self.file = file
        self.name = name
        self._names: dict[str, list[str]] = {}

    def names_at(self, group: str) -> list[str]:
        """Names in a group of the file; none where there is no such group."""
        if group not in self._names:
            node = member(self.file, group)
            self._names[group] = names_in(node) if isinstance(node, h5py.Group) else []
        return self._names[group]

    def groups(self, *prefixes: str) -> list[str]:
        """Paths `entry/prefix_N/prefix_M/...` by number."""
        paths = [self.name]
        for prefix in prefixes:
            paths = [f"{path}/{name}".lstrip("/") for path in paths for name in numbered(self.names_at(path), prefix)]
        return paths

    @cached_property
    def detectors(self) -> list[str]:
        """Groups `instrument_N/detector_N`."""
        return self.groups("instrument", "detector") if self.name else []

    def dataset(self, group: str, name: str) -> h5py.Dataset | None:
        """The data set of that name in a group of the file, or None."""
        node = member(self.file, f"{group}/{name}") if name in self.names_at(group) else None
        return node if isinstance(node, h5py.Dataset) else None

    def first_value(self, groups: list[str], name: str) -> float | None:
        """The median of the positive numbers in the first data set of that name that has any."""
        for group in groups:
            data = self.dataset(group, name)
            if data is not None and data.dtype.kind in "iuf" and data.size:
                values = np.ravel(values_of(data)).astype(float)
                values = values[np.isfinite(values) & (values > 0)]
                if values.size:
                    return float(np.median(values))
        return None

    def pixel_sizes(self, groups: list[str]) -> tuple[float, float] | None:
        """Height and width of a pixel [m], or None."""
        x, y = self.first_value(groups, "x_pixel_size"), self.first_value(groups, "y_pixel_size")
        x, y = x or y, y or x
        return None if x is None or y is None else (y, x)

    def photon_energy(self) -> float | None:
        """Energy of a photon [J]; psocake writes `energy` in eV, which no photon has in joules."""
        sources = self.groups("instrument", "source") if self.name else []
        energy = self.first_value(sources, "energy")
        if energy is not None:
            return energy if energy < _LARGEST_JOULE else energy * _JOULE_A_EV
        if (energy_ev := self.first_value(["LCLS"], "photon_energy_eV")) is not None:
            return energy_ev * _JOULE_A_EV
        wavelength_angstrom = self.first_value(["LCLS"], "photon_wavelength_A")
        return None if wavelength_angstrom is None else 10 * JOULE_NM / wavelength_angstrom


def numbered(names: list[str], prefix: str, suffix: str = "") -> list[str]:
    """Names `prefix_N` by number."""
    known = re.compile(rf"{prefix}_([0-9]{{1,{_LONGEST_NUMBER}}}){suffix}")
    found = [(int(match[1]), name) for name in names if (match := known.fullmatch(name))]
    return [name for _, name in sorted(found)]


def address(data: h5py.Dataset | h5py.Group) -> tuple[int, int]:
    """The file and the place there, which tell a data set or group from others whatever it is called."""
    info = h5py.h5o.get_info(data.id)
    return info.fileno, info.addr
