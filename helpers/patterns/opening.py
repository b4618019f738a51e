"""Opening of pattern files of every known layout."""

import os
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the compressions of foreign files

from helpers.patterns.dragonfly.emc import is_emc
from helpers.patterns.hdf5.file import errors_name, open_hdf5
from helpers.patterns.layouts import find_stacks, named_stack
from helpers.patterns.layouts.dragonfly import Dragonfly
from helpers.patterns.options import DEFAULTS, ReadOptions
from helpers.patterns.parts import stack_of
from helpers.patterns.stack import PatternStack


def open_stack(path: str | os.PathLike, options: ReadOptions = DEFAULTS) -> PatternStack:
    """Open a file of patterns, lazily: only the patterns that are asked for are read.

    Each known layout is a class in `layouts`, which tells where its patterns lie. Several entries and groups become one
    stack, in the order of their numbers. Where each pattern has a mask of its own, `read` follows it, and the stack's
    mask is what is bad in all of 16 patterns spread over the file.

    Parameters
    ----------
    path
        A CXI or other HDF5 file, or an `.emc` of Dragonfly.
    options
        How it is read, where the file does not tell.

    Raises
    ------
    PatternFileError
        If the file cannot be opened, holds no stack or several that do not go together, if a link or a source of a
        virtual data set leads nowhere, if the geometry is not known, or if mask, centre or data have an impossible
        shape.
    """
    path = Path(path)
    with errors_name(path):
        if is_emc(path):
            return stack_of(path, [Dragonfly.in_emc(path)], options)
        file = open_hdf5(path)
        try:
            return stack_in(file, path, options)
        except BaseException:
            file.close()
            raise


def stack_in(file: h5py.File, path: Path, options: ReadOptions) -> PatternStack:
    """The stack of an open HDF5 file, which the stack closes; errors do not name the file."""
    found = find_stacks(file) if options.dataset is None else [named_stack(file, options.dataset)]
    return stack_of(path, found, options, file)
