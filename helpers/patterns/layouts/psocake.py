"""psocake in SPI mode (xtc2cxi, LCLS): `data_1/data` is a link to raw detector units, beside which photons lie."""

from helpers.patterns.hdf5.entry import Entry
from helpers.patterns.layouts.base import Layout
from helpers.patterns.layouts.cxi import Cxi


class Psocake(Cxi):
    """The photons of the detector whose raw data an entry links to.

    psocake stores distance, pixel sizes and photon energy shot by shot, the energy in eV; columns lie in
    `entry_1/result_1` and `LCLS`, event ids in `experimental_identifier` or `LCLS/eventNumber`.
    """

    name = "psocake"

    @classmethod
    def detect(cls, entry: Entry) -> list[Layout]:
        """The stacks of an entry, if one of its data groups is a link to a detector with photons."""
        with_photons = [group for group in entry.detectors if entry.dataset(group, "photons") is not None]
        stacks = Cxi.detect(entry) if with_photons else []
        linked = [stack.name_of_layout == "CXI data" and stack.detector in with_photons for stack in stacks]
        if not any(linked):
            return []
        return [
            cls(entry, f"{stack.detector}/photons", detector=stack.detector) if is_linked else stack
            for stack, is_linked in zip(stacks, linked, strict=True)
        ]
