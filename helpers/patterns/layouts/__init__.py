"""Layouts of pattern files: one class each, tried in order.

Whoever adds a facility writes a module with a class beside these, and names the class here.
"""

import h5py

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.entry import Entry, numbered
from helpers.patterns.hdf5.file import dataset
from helpers.patterns.layouts.base import Layout, listed
from helpers.patterns.layouts.batches import Batches
from helpers.patterns.layouts.cxi import Cxi
from helpers.patterns.layouts.cxidb58 import CxiDb58
from helpers.patterns.layouts.dragonfly import Dragonfly
from helpers.patterns.layouts.psocake import Psocake
from helpers.patterns.layouts.same_shots import refuse_same_shots, without_repeats
from helpers.patterns.layouts.xfel_virtual import XfelVirtual

IN_ENTRIES: tuple[type[Layout], ...] = (Psocake, XfelVirtual, Cxi)
"""Layouts of the entries of a CXI file."""

AT_ROOT: tuple[type[Layout], ...] = (CxiDb58, Batches)
"""Layouts of files without entries."""

PLACES = (
    "entry_*/image_*/data, entry_*/data_*/data, entry_*/instrument_*/detector_*/photons or data, "
    "photonConverter/*/photonCount, batch_*_pattern, or Dragonfly's place_ones"
)


def find_stacks(file: h5py.File) -> list[Layout]:
    """The data sets of patterns in a file, in the order in which they make one stack.

    Refused if there are none, or only such as show the same shots on several detectors.
    """
    root = Entry(file, "")
    if stacks := Dragonfly.detect(root):
        return stacks
    entries = [Entry(file, name) for name in numbered(root.names_at(""), "entry")]
    stacks = []
    for entry, layouts in [*((entry, IN_ENTRIES) for entry in entries), (root, AT_ROOT)]:
        if entry.name or not stacks:
            stacks += next((found for layout in layouts if (found := layout.detect(entry))), [])
    if not stacks:
        raise PatternFileError(
            f"no patterns at {PLACES} (its root holds {listed(root.names_at('')) or 'nothing'}); name the data set "
            "with dataset=... (--dataset), or write them as CXI, for instance with helpers.patterns.write_stack"
        )
    stacks = without_repeats(stacks)
    refuse_same_shots(stacks)
    return stacks


def named_stack(file: h5py.File, name: str) -> Layout:
    """The data set that the user names; refused if there is none."""
    path = name.strip("/")
    if dataset(file, path) is None:
        raise PatternFileError(f"there is no data set {path}; name one that holds patterns")
    if path.startswith("photonConverter/"):
        return CxiDb58(Entry(file, ""), path, name="named")
    first = path.partition("/")[0]
    return Cxi.named(Entry(file, first if first.startswith("entry_") else ""), path)
