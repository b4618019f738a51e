"""CXIDB 58 (LCLS, amo86615): `photonConverter/DETECTOR/photonCount`, one file a run."""

from helpers.patterns.hdf5.entry import Entry
from helpers.patterns.layouts.base import Layout
from helpers.patterns.layouts.same_shots import refuse_choice
from helpers.patterns.masks import TWO_IS_BAD


class CxiDb58(Layout):
    """The photons of one detector; its mask follows Dragonfly: 1 is good but not for orientation, 2 is bad."""

    name = "CXIDB-58"
    rule_of_masks = TWO_IS_BAD

    @classmethod
    def detect(cls, entry: Entry) -> list[Layout]:
        """The photons of a file's only detector."""
        detectors = entry.names_at("photonConverter") if "photonConverter" in entry.names_at("") else []
        groups = [f"photonConverter/{detector}" for detector in detectors]
        stacks = [
            cls(entry, f"{group}/photonCount") for group in groups if entry.dataset(group, "photonCount") is not None
        ]
        if len(stacks) > 1:
            refuse_choice(stacks)
        return stacks
