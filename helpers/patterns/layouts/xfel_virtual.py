"""Virtual CXI of the European XFEL (EXtra-data's VirtualCXIWriter): modules of a detector, each in files of its own."""

from helpers.patterns.hdf5.entry import Entry
from helpers.patterns.layouts.base import Layout
from helpers.patterns.layouts.cxi import Cxi
from helpers.patterns.masks import NONZERO_IS_BAD


class XfelVirtual(Cxi):
    """A virtual stack (patterns, modules, rows, columns) of calibrated modules.

    Its mask is virtual, too, one for each pattern, and bad where a module is missing; the geometry is CXI's
    `corner_position` and `basis_vectors`. Event ids are "train:pulse".
    """

    event_id_names = ("experiment_identifier", "event_id")
    rule_of_masks = NONZERO_IS_BAD  # bits of its own calibration, each of them a doubt

    @classmethod
    def detect(cls, entry: Entry) -> list[Layout]:
        """The virtual stacks of an entry whose shots are named by train and pulse."""
        if "experiment_identifier" not in entry.names_at(entry.name):
            return []
        stacks = Cxi.detect(entry)
        if not all(stack.data.is_virtual for stack in stacks):
            return []
        return [cls(entry, one.path, name=one.name_of_layout, detector=one.detector) for one in stacks]
