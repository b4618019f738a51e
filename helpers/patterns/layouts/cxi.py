"""CXI (cxidb.org, version 1.6): entries with images, data and detectors, as we write them, too."""

from collections.abc import Iterator

from helpers.errors import BrokenLinkError
from helpers.patterns.hdf5.entry import Entry, address
from helpers.patterns.layouts.base import Layout, refuse_choice, without_repeats
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
        images = [cls(entry, path, name="CXI images") for path in _data_in(entry, entry.groups("image"))]
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
        _refuse_same_shots(without_repeats(stacks))
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
    """The detector whose data set a path leads to, or None."""
    wanted = address(entry.file[path])
    for group in entry.detectors:
        if any(address(entry.file[own]) == wanted for own in _data_in(entry, [group], "photons", "data")):
            return group
    return None


def _data_in(entry: Entry, groups: list[str], *names: str) -> list[str]:
    """Paths of data sets of these names (`data` if none is given) in some groups."""
    paths = [(group, name) for group in groups for name in names or ("data",)]
    return [f"{group}/{name}" for group, name in paths if entry.dataset(group, name) is not None]


def _refuse_same_shots(stacks: list[Layout]) -> None:
    """Refuse stacks that are several detectors of one instrument: they show the same shots."""
    detectors = [stack.detector for stack in stacks if stack.detector]
    instruments = {detector.rpartition("/")[0] for detector in detectors}
    if len(set(detectors)) > len(instruments):
        refuse_choice(stacks)
