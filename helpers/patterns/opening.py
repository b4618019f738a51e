"""Pattern stacks on disk: open every layout that is about, write ours, write selections, tell what is in a file.

CXI is HDF5 with agreed names (cxidb.org, version 1.6); Dragonfly has files of its own.
"""

import os
from pathlib import Path

import hdf5plugin  # noqa: F401 - registers the compressions of foreign files

from helpers.patterns.assembly import Assembly
from helpers.patterns.description import description
from helpers.patterns.dragonfly import emc
from helpers.patterns.dragonfly_stack import dragonfly_stack
from helpers.patterns.hdf5.file import has, opened, understandable
from helpers.patterns.hdf5_stack import dataset_stack
from helpers.patterns.metadata import Polarity
from helpers.patterns.options import Reading
from helpers.patterns.selections import write_selection
from helpers.patterns.stack import PatternStack
from helpers.patterns.writing import new_stack, write_stack, write_table

__all__ = [
    "PatternStack",
    "describe",
    "new_stack",
    "open_stack",
    "write_selection",
    "write_stack",
    "write_table",
]


def open_stack(
    path: str | os.PathLike,
    *,
    dataset: str | None = None,
    nan_as_zero: bool = False,
    frame_shape: tuple[int, int] | None = None,
    mask_polarity: Polarity = "format",
    detector: str | os.PathLike | Assembly | None = None,
) -> PatternStack:
    """Open a file of patterns, lazily: only the patterns that are asked for are read.

    In each entry of a CXI file the first of these counts: `image_*/data`; `data_*/data`, but the photons of a detector
    whose raw data it is a link to; `instrument_*/detector_*/photons` or `data`. Outside entries:
    `photonConverter/*/photonCount`, `batch_*_pattern` with `batch_*_index`, and Dragonfly's files. Several entries and
    groups become one stack, in the order of their numbers.

    A mask lies beside the data, in the detector, or in an `image_*` of the same entry. Where each pattern has its own,
    `read` follows it, and the stack's mask is what is bad in all of 16 patterns spread over the file.

    Parameters
    ----------
    path
        A CXI or other HDF5 file, or an `.emc` of Dragonfly.
    dataset
        Which data set to read, where the file holds several that do not go together.
    nan_as_zero
        Read NaN and infinity as no photons instead of refusing them, and parts of a virtual data set that nothing is
        mapped to.
    frame_shape
        Rows and columns, where the file does not tell (Dragonfly).
    mask_polarity
        "format": as the format says, non-zero is bad in CXI, 2 is bad in Dragonfly and CXIDB 58; "nonzero-bad" or
        "nonzero-good" for files that do otherwise.
    detector
        Where the pixels are, for panels that were not put together and for Dragonfly: a file (see `cxi_geometry`) or an
        Assembly. Dragonfly's is also looked for beside the photons: same stem, `_detector.h5`.

    Returns
    -------
    PatternStack

    Raises
    ------
    PatternFileError
        If the file cannot be opened, holds no stack or several that do not go together, if a link or a source of a
        virtual data set leads nowhere, if the geometry is not known, or if mask, centre or data have an impossible
        shape.
    """
    detector = detector if detector is None or isinstance(detector, Assembly) else Path(detector)
    reading = Reading(Path(path), dataset, nan_as_zero, frame_shape, mask_polarity, detector)
    with understandable(reading.path):
        if emc.is_emc(reading.path):
            kind, storage = emc.open_emc(reading.path)
            return dragonfly_stack(reading, "Dragonfly .emc", kind, storage, None)
        file = opened(reading.path)
        try:
            if dataset is None and has(file, reading.path, emc.MEMBERS):
                return dragonfly_stack(
                    reading, "Dragonfly HDF5", "place_ones", emc.SparseDatasets(file, reading.path), file
                )
            return dataset_stack(reading, file)
        except BaseException:
            file.close()
            raise


def describe(path: str | os.PathLike, *, pictures: bool = False, **options: object) -> str:
    """What is in a pattern file, and how it would be read.

    Parameters
    ----------
    path
        A pattern file.
    pictures
        Whether to show a few patterns as characters.
    **options
        Of `open_stack`.

    Returns
    -------
    str
        Lines of text.

    Raises
    ------
    PatternFileError
        As `open_stack`; unreadable counts are told in the text.
    """
    with open_stack(path, **options) as stack:
        return description(stack, pictures=pictures)
