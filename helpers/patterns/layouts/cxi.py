"""CXI (cxidb.org, version 1.6): entries with images, data and detectors, as we write them, too."""

import re
from collections.abc import Iterator

from helpers.errors import BrokenLinkError
from helpers.patterns.hdf5.entry import Entry, address
from helpers.patterns.hdf5.file import member
from helpers.patterns.layouts.base import Layout
from helpers.patterns.masks import CXI


class Cxi(Layout):
    """A stack in an entry of a CXI file.

    In each entry the first of these counts: `image_*/data`; `data_*/data`; `instrument_*/detector_*/photons` or
    `data`. A mask lies beside the data, in the detector, or in another group of the same entry.
    """

    name = "CXI"
    rule_of_masks = CXI

    @classmethod
    def detect(cls, entry: Entry) -> list[Layout]:
        """Stacks of an entry; a single image, for instance an average, only where there is nothing else."""
        images = [
            cls(entry, path, name="CXI images", detector=_owner(entry, path))
            for path in _data_in(entry, entry.groups("image"))
        ]
        if stacks := [image for image in images if image.data.ndim > 2]:
            return stacks
        stacks, broken = cls._in_data_groups(entry)
        if broken and stacks:
            raise broken[0]
        stacks = stacks or [
            cls(entry, path, name="CXI detector", detector=group)
            for group in entry.detectors
            for path in _data_in(entry, [group], "photons", "data")[:1]
        ]
        if broken and not stacks:  # else the raw data are gone that photons were made of
            raise broken[0]
        return stacks or images

    @classmethod
    def _in_data_groups(cls, entry: Entry) -> tuple[list[Layout], list[BrokenLinkError]]:
        """Stacks `data_*/data`, each with the detector that it is a link to, and the links that lead nowhere."""
        stacks, broken = [], []
        for group in entry.groups("data"):
            try:
                stacks += [
                    cls(entry, path, name="CXI data", detector=_owner(entry, path)) for path in _data_in(entry, [group])
                ]
            except BrokenLinkError as error:
                broken.append(error)
        return stacks, broken

    @classmethod
    def named(cls, entry: Entry, path: str) -> Layout:
        """The stack at a path that the user names, with the detector that it belongs to."""
        return cls(entry, path, name="named", detector=_owner(entry, path))

    def mask_groups(self) -> Iterator[str]:
        """Beside the data, in the detector, in an image of the entry."""
        yield self.group
        yield from [self.detector] if self.detector else []
        if self.entry.name:
            yield from self.entry.groups("image")
        yield from self.detectors()

    def further_mask_groups(self) -> Iterator[str]:
        """In the entry itself or its other data, and where NeXus has it."""
        yield from self.entry.groups("data")
        nexus = f"{self.entry.name or self.path.partition('/')[0]}/instrument/detector"
        yield from (nexus, f"{nexus}/detectorSpecific", self.entry.name)


def _owner(entry: Entry, path: str) -> str | None:
    """The detector whose data set a path leads to, or to which a link `detector` or `detector_N` beside it leads."""
    parent = path.rpartition("/")[0]
    links = [f"{parent}/{name}" for name in entry.names_at(parent) if re.fullmatch("detector(_[0-9]+)?", name)]
    wanted = {address(entry.file[path]), *(address(node) for link in links if (node := member(entry.file, link)))}
    for group in entry.detectors:
        known = [group, *_data_in(entry, [group], "photons", "data")]
        if any(address(entry.file[own]) in wanted for own in known):
            return group
    return None


def _data_in(entry: Entry, groups: list[str], *names: str) -> list[str]:
    """Paths of data sets of these names (`data` if none is given) in some groups."""
    paths = [(group, name) for group in groups for name in names or ("data",)]
    return [f"{group}/{name}" for group, name in paths if entry.dataset(group, name) is not None]
