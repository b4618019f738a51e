"""Dragonfly's photons in an `.emc` or in HDF5: flat patterns that a detector or a shape puts into place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Centre, Experiment
from helpers.patterns.assembly import Assembly, in_rows
from helpers.patterns.dragonfly import emc
from helpers.patterns.dragonfly.detector import detector_beside, read_detector
from helpers.patterns.geometry import geometry_file, given_geometry
from helpers.patterns.hdf5.entry import Entry
from helpers.patterns.layouts.base import Layout
from helpers.patterns.layouts.columns import ColumnGroup
from helpers.patterns.options import ReadOptions
from helpers.patterns.storage import Storage


class Dragonfly(Layout):
    """Photons of Dragonfly (patterns, pixels); in HDF5 columns can lie beside them.

    The detector beside them (`detector_beside`) tells rows, columns, mask, centre and, if it is ours, the experiment.
    """

    def __init__(self, file_path: Path, path: str, photons: Storage, *, name: str, entry: Entry | None = None) -> None:
        if entry is not None:
            super().__init__(entry, path)
        self.entry, self.path, self.name_of_layout = entry, path, name
        self._file_path = file_path
        self._photons = photons
        self._attributes: dict[str, float | str] = {}

    @classmethod
    def detect(cls, entry: Entry) -> list[Layout]:
        """The photons of an HDF5 file with all of Dragonfly's members."""
        if any(entry.dataset("", name) is None for name in emc.MEMBERS):
            return []
        photons = emc.SparseDatasets(entry)
        return [cls(Path(entry.file.filename), "place_ones", photons, name="Dragonfly HDF5", entry=entry)]

    @classmethod
    def in_emc(cls, path: Path) -> "Dragonfly":
        """The photons of an `.emc`."""
        kind, photons = emc.open_emc(path)
        return cls(path, kind, photons, name="Dragonfly .emc")

    @property
    def label(self) -> str:
        """The name of the layout, for people."""
        return self.name_of_layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Patterns and pixels."""
        return self._photons.shape

    @property
    def allocated(self) -> int:
        """Patterns: no row is without one."""
        return self.shape[0]

    @property
    def is_empty(self) -> bool:
        """Whether there are no patterns."""
        return self.shape[0] == 0

    def check(self, options: ReadOptions) -> None:
        """Refuse a file without patterns, and a data set in a file that has only one."""
        if options.dataset is not None:
            raise PatternFileError(f"a Dragonfly file has no data sets; leave {options.dataset} out")
        if self.is_empty:
            raise PatternFileError(f"{self.path} is empty; write at least one pattern")

    def storage(self, options: ReadOptions) -> Storage:
        """The photons, (patterns, pixels)."""
        return self._photons

    def geometry(self, options: ReadOptions) -> tuple[Assembly | None, str]:
        """The assembly of the pixels: as the caller says, or as the detector beside the photons."""
        pixels, shape = self.shape[1], options.frame_shape
        beside = detector_beside(self._file_path)
        if isinstance(options.detector, Assembly):
            assembly, _ = given_geometry(options.detector, (pixels,))
        elif options.detector is not None:
            assembly, self._attributes = geometry_file(options.detector, (pixels,))
        elif beside.is_file() and beside != self._file_path:
            assembly, self._attributes = read_detector(beside, pixels)
        elif shape is not None:
            assembly = in_rows((int(shape[0]), int(shape[1])))
        else:
            raise PatternFileError(
                f"a Dragonfly file does not tell the rows and columns of its {pixels} pixels; give "
                "frame_shape=(rows, columns) (--frame-shape 123x240), or its detector (--detector FILE, or "
                f"{beside.name} beside it)"
            )
        if assembly.pixels != pixels or (shape is not None and assembly.shape != tuple(shape)):
            wanted = f"the geometry of {assembly.pixels} pixels" if shape is None else f"the frame shape {tuple(shape)}"
            raise PatternFileError(
                f"its patterns have {pixels} pixels ({assembly.source}), {wanted} does not fit; correct it"
            )
        return assembly, ""

    def mask_groups(self) -> Iterator[str]:
        """None: the mask is the detector's."""
        yield from ()

    def saturation(self) -> float | None:
        """The saturation that a detector file of ours holds as an attribute, or None."""
        found = self._attributes.get("saturation")
        return None if found is None else float(found)

    def centres(self) -> None:
        """None: the centre is the detector's."""

    def title(self) -> str:
        """Nothing: the files have no place for it."""
        return ""

    def column_groups(self, stacks: list[Layout]) -> list[ColumnGroup]:
        """The root of an HDF5 file, and LCLS; nothing in an `.emc`."""
        return [] if self.entry is None else super().column_groups(stacks)

    def experiment(self, shape: tuple[int, int], centre: Centre | None) -> tuple[dict[str, Any], list[str]]:
        """The fields of the experiment that a detector file of ours holds as attributes, and what is missing for it."""
        if centre is None:
            return {}, ["a detector file"]
        values = {**self._attributes, "rows": shape[0], "columns": shape[1]}
        values |= {"centre_row": centre[0], "centre_column": centre[1]}
        fields = Experiment.__dataclass_fields__
        known = {name: values[name] for name in fields if name in values}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in known.items()}
        return plain, [name for name in fields if name not in values]
