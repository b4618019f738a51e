"""The base of all layouts in HDF5: a data set of patterns, and what the file tells of it.

A new facility is a class that finds its data sets in a file (`detect`) and overrides what it keeps elsewhere.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from helpers.errors import BrokenLinkError, PatternFileError
from helpers.experiment import Centre
from helpers.patterns.assembly import Assembly
from helpers.patterns.geometry import HOW_TO_GIVE_ONE, geometry_in, given_geometry
from helpers.patterns.hdf5.arrangement import Arrangement, arrangement_of
from helpers.patterns.hdf5.entry import JOULE_NM, Entry, address
from helpers.patterns.hdf5.values import LARGEST_PATTERN, MOST_PATTERNS, check_stored, values_of
from helpers.patterns.layouts.columns import Column, ColumnGroup, decoded, identifiers, is_plain
from helpers.patterns.masks import NAMES, NEXUS, NONZERO_IS_BAD, MaskRule
from helpers.patterns.options import ReadOptions
from helpers.patterns.storage import DatasetStorage, Storage
from helpers.system import in_short

_LARGEST_FLOAT_COUNT = 2**24
_SHOWN_NAMES = 6


class Layout:
    """A data set of patterns in an HDF5 file: where its mask, centre, columns and experiment are.

    `detector` is the group of the detector to which the patterns belong, if any; `name` of the layout is for people.
    """

    name = ""
    rule_of_masks: MaskRule = NONZERO_IS_BAD
    """Which values of a mask call a pixel bad."""
    event_id_names = ("event_id", "experiment_identifier", "experimental_identifier", "LCLS/eventNumber")
    """Columns that name a shot; the first that is there counts."""

    def __init__(self, entry: Entry, path: str, *, name: str = "", detector: str | None = None) -> None:
        self.entry = entry
        self.path = path
        self.group = path.rpartition("/")[0]
        self.detector = detector
        self.data: h5py.Dataset = entry.file[path]
        self.name_of_layout = name or self.name

    @classmethod
    def detect(cls, entry: Entry) -> list["Layout"]:
        """The data sets of patterns of this layout in an entry, in the order in which they make one stack.

        Refused if several of them show the same shots.
        """
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The name of the layout, for people."""
        return self.name_of_layout + (" (virtual)" if self.data.is_virtual else "")

    @cached_property
    def arrangement(self) -> Arrangement:
        """What the axes of the data set are."""
        return arrangement_of(self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Patterns, panels where there are several, rows and columns."""
        return self.arrangement.shape

    @property
    def is_empty(self) -> bool:
        """Whether there are no patterns."""
        return 0 in self.shape

    def check(self, options: ReadOptions) -> None:
        """Refuse a data set that is not a whole stack of numbers."""
        data = self.data
        if len(self.shape) not in (3, 4):
            raise PatternFileError(
                f"{self.path} has shape {data.shape}; a stack is (patterns, rows, columns), "
                "or (patterns, panels, rows, columns): reshape it"
            )
        if self.is_empty:
            raise PatternFileError(f"{self.path} is empty, its shape is {self.shape}; write at least one pattern")
        if data.dtype.kind not in "iuf":
            raise PatternFileError(
                f"{self.path} holds {in_short(str(data.dtype))}; photon counts are integers or floats: convert it"
            )
        pixels = math.prod(self.shape[1:])
        if pixels > LARGEST_PATTERN or self.shape[0] > MOST_PATTERNS:
            raise PatternFileError(
                f"{self.path} declares {self.shape[0]} patterns of {pixels} pixels, more than any detector delivers "
                f"({MOST_PATTERNS} of {LARGEST_PATTERN} at most); write it anew"
            )
        check_stored(data, holes_allowed=options.nan_as_zero)

    def storage(self, options: ReadOptions) -> Storage:
        """The patterns as stored, (patterns, ...)."""
        return DatasetStorage(self.data, self.arrangement, holes_allowed=options.nan_as_zero)

    def detectors(self) -> list[str]:
        """Groups of detectors: the data set's own, else those of its entry."""
        return [self.detector] if self.detector else self.entry.detectors

    def geometry(self, options: ReadOptions) -> tuple[Assembly | None, str]:
        """The assembly of the pixels, and where it is from for people; None where the patterns need none."""
        shape = self.shape[1:]
        if options.detector is not None:
            return given_geometry(options.detector, shape)
        if self.data.ndim == 3:
            return None, ""
        found = geometry_in(self.entry, self.detectors(), shape)
        if found is None and len(shape) == 2:  # one panel is a picture
            return None, ""
        if found is None:
            raise PatternFileError(
                f"{self.path} holds panels that were not put together, {shape}, and no geometry; {HOW_TO_GIVE_ONE}"
            )
        return found, f"put together by {found.source}"

    def mask_groups(self) -> Iterator[str]:
        """Groups in which a mask must fit the patterns, the nearest first."""
        yield self.group

    def further_mask_groups(self) -> Iterator[str]:
        """Groups in which a mask is looked for after these; one of another shape belongs to other data there."""
        yield from ()

    def masks(self) -> dict[str, h5py.Dataset]:
        """The masks of the patterns by path: one for all patterns, one with a mask for each of them, or both.

        The nearest of either kind counts. A mask of another shape is refused, unless a nearer group has one that fits,
        or it lies beside other patterns: there, only what fits all patterns alike is ours, too.
        """
        found: dict[str, h5py.Dataset] = {}
        for group in self.mask_groups():
            known = {self.is_of_each(mask) for mask in found.values()}
            if False in known and group not in (self.group, self.detector):
                break  # elsewhere lies no mask for each of these patterns
            for path, mask in self.masks_in(group).items():
                if self._fits(mask):
                    found |= {} if self.is_of_each(mask) in known else {path: mask}
                elif not known:
                    raise PatternFileError(
                        f"mask {path} has shape {mask.shape} ({mask.dtype}), the patterns have {self.shape[1:]}; "
                        f"store one mask of numbers with the rows and columns of a pattern"
                    )
        further = () if found else self.further_mask_groups()
        with suppress(BrokenLinkError):
            found = next((fit for group in further if (fit := self._fitting(group))), found)
        for mask in found.values():
            check_stored(mask, holes_allowed=mask.is_virtual)
        return found

    def masks_in(self, group: str) -> dict[str, h5py.Dataset]:
        """Path → data set of those in a group that have the name of a mask, and do not belong to other patterns."""
        names = self.entry.names_at(group)
        found = {f"{group}/{name}".lstrip("/"): self.entry.dataset(group, name) for name in NAMES if name in names}
        masks = {path: data for path, data in found.items() if data is not None}
        if masks and self._is_beside_others(group):
            return {path: data for path, data in masks.items() if self._fits(data) and not self.is_of_each(data)}
        return masks

    def _is_beside_others(self, group: str) -> bool:
        """Whether a group holds patterns that are not these."""
        if group in (self.group, self.detector):
            return False
        data = self.entry.dataset(group, "data")
        return data is not None and data.ndim >= self.data.ndim and address(data) != address(self.data)

    def _fitting(self, group: str) -> dict[str, h5py.Dataset]:
        return {path: mask for path, mask in self.masks_in(group).items() if self._fits(mask)}

    def _fits(self, mask: h5py.Dataset) -> bool:
        shape = mask.shape or ()
        return mask.dtype.kind in "iufb" and (self.is_of_each(mask) or self.arrangement.fits_one(shape))

    def is_of_each(self, mask: h5py.Dataset) -> bool:
        """Whether a mask has values for each pattern."""
        return self.arrangement.of_each(mask.shape or ()) is not None

    def rule_of(self, mask: str) -> MaskRule:
        """The rule of the mask at a path; NeXus has bits of its own."""
        return NEXUS if mask.endswith("pixel_mask") else self.rule_of_masks

    def centres(self) -> np.ndarray | None:
        """Beam centres (n, 2), row and column [pixels], from `image_center` (x, y, z) beside the data; None if absent.

        One for all patterns, or one for each.
        """
        data = self.entry.dataset(self.group, "image_center")
        if data is None:
            return None
        stored = np.asarray(values_of(data))
        centres = stored[None] if stored.ndim == 1 else stored
        lengths = (1, self.allocated, self.shape[0])
        fits = centres.ndim == 2 and centres.shape[1] in (2, 3) and len(centres) in lengths
        if fits and centres.dtype.kind in "iuf":
            centres = centres[: self.shape[0], 1::-1].astype(float)
            centres = centres[np.isfinite(centres).all(axis=1)]
        if not fits or centres.dtype.kind != "f" or not centres.size:
            raise PatternFileError(
                f"{self.group}/image_center is {in_short(str(stored.tolist()))}; write (x, y, z) in pixels or remove it"
            )
        return centres

    def title(self) -> str:
        """The title of the entry, on one line."""
        title = self.entry.dataset(self.entry.name, "title") if self.entry.name else None
        if title is None or not title.size or not is_plain(title.dtype):
            return ""
        return in_short(decoded(np.ravel(np.asarray(values_of(title), title.dtype)))[0])

    def column_groups(self, stacks: list["Layout"]) -> list[ColumnGroup]:
        """Groups that may hold columns, the nearest first; `stacks` are all data sets of the stack, in order."""
        in_entry = [stack for stack in stacks if stack.entry.name == self.entry.name]
        return [
            ColumnGroup(self.entry, self.group, "", self.rows_among([self]), links=False),
            *([self._shared(in_entry, self.entry.name, "", links=True)] if self.entry.name else []),
            self._shared(stacks, "LCLS", "LCLS/", links=False),
        ]

    def _shared(self, stacks: list["Layout"], path: str, prefix: str, *, links: bool) -> ColumnGroup:
        """A group with the values of some data sets, one after the other."""
        return ColumnGroup(self.entry, path, prefix, self.rows_among(stacks), links)

    def rows_among(self, stacks: list["Layout"]) -> dict[int, slice]:
        """Length of a column of some data sets → the rows of this one there; it may have all rows or patterns only."""
        found = {}
        for lengths in ([one.allocated for one in stacks], [one.shape[0] for one in stacks]):
            start = sum(lengths[: stacks.index(self)])
            found[sum(lengths)] = slice(start, start + self.shape[0])
        return found

    @property
    def allocated(self) -> int:
        """Rows of the data set, those without a pattern included."""
        return self.arrangement.stored[self.arrangement.order[0]]

    def columns(self, stacks: list["Layout"]) -> dict[str, Column]:
        """Data sets with one value for each pattern, by name."""
        found: dict[str, Column] = {}
        for group in self.column_groups(stacks):
            for name, column in group.columns():
                found.setdefault(name, column)
        return found

    def event_column(self, stacks: list["Layout"]) -> Column | None:
        """The first column of event ids that holds any."""
        groups = self.column_groups(stacks)
        for name in self.event_id_names:
            for group in groups:
                if (column := group.find(name)) is not None and identifiers(column.read()) is not None:
                    return column
        return None

    def event_ids(self, stacks: list["Layout"]) -> np.ndarray | None:
        """One id a pattern, or None."""
        column = self.event_column(stacks)
        return None if column is None else identifiers(column.read())

    def experiment(self, shape: tuple[int, int], centre: Centre | None) -> tuple[dict[str, Any], list[str]]:
        """The fields of the experiment that the file tells, and what is missing for it, for people.

        Values that are stored shot by shot count with their median. Detector units of a photon follow from CXI's
        `counts_per_joule` (1 without it: the file holds photons); saturation from `saturation_value`, else from the
        type of the values. `shape` is rows and columns of a pattern, `centre` (row, column) [pixels].
        """
        detectors = self.detectors()
        distance = self.entry.first_value(detectors, "distance")
        pixel = self.entry.pixel_sizes(detectors)
        energy = self.entry.photon_energy()
        needed = {"distance": distance, "x_pixel_size": pixel, "source_1/energy": energy, "image_center": centre}
        missing = [name for name, value in needed.items() if value is None]
        if pixel is not None and not np.isclose(*pixel, rtol=1e-3):
            missing.append("square pixels")
        counts_per_joule = self.entry.first_value(detectors, "counts_per_joule")
        largest = np.iinfo(self.data.dtype).max if self.data.dtype.kind in "iu" else _LARGEST_FLOAT_COUNT
        row, column = (None, None) if centre is None else centre
        values = {
            "name": self.title() or Path(self.entry.file.filename).stem,
            "wavelength_nm": energy and JOULE_NM / energy,
            "distance_m": distance,
            "pixel_m": None if pixel is None or "square pixels" in missing else pixel[1],
            "rows": shape[0],
            "columns": shape[1],
            "centre_row": row,
            "centre_column": column,
            "adu_per_photon": (energy and counts_per_joule * energy) if counts_per_joule else 1.0,
            "saturation": int(self.saturation() or largest),
        }
        return {name: value for name, value in values.items() if value is not None}, missing

    def saturation(self) -> float | None:
        """The count up to which the file says that pixels count [as stored], or None."""
        return self.entry.first_value(self.detectors(), "saturation_value")


def listed(names: Sequence[str]) -> str:
    """Names in a row, the middle of a long row left out."""
    if len(names) <= _SHOWN_NAMES:
        return ", ".join(in_short(name) for name in names)
    return f"{in_short(names[0])}, {in_short(names[1])}, ... {in_short(names[-1])} ({len(names)} data sets)"
