"""Write pattern stacks in the layout of the co-author's tools.

`entry_1/image_1/{data, mask, image_center}` with the tables of the patterns beside them, and `entry_1/data_1` as a soft
link to it. Compression is gzip, so that no reader needs a plugin, and nothing in the file tells the time of writing.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import h5py
import numpy as np
import pandas as pd

from helpers.experiment import Centre, Experiment
from helpers.patterns.hdf5.entry import JOULE_NM
from helpers.patterns.hdf5.writing import hdf5_to_write
from helpers.system import written_whole


@contextmanager
def new_stack(
    path: str | os.PathLike,
    *,
    patterns: int,
    dtype: np.dtype | type,
    mask: np.ndarray,
    centre: Centre,
    experiment: Experiment,
    title: str = "",
) -> Iterator[h5py.Group]:
    """Write a CXI file whose patterns are filled in bit by bit; it gets its name when the block ends without an error.

    Parameters
    ----------
    path
        The final name.
    patterns
        How many patterns there will be.
    dtype
        Of the counts.
    mask
        (rows, columns), True = bad pixel.
    centre
        Beam centre (row, column) [pixels].
    experiment
        Its geometry is stored in SI units.
    title
        What the data are.

    Yields
    ------
    Group
        `entry_1/image_1`: fill `data`, one pattern a chunk, and add tables with `write_table`.
    """
    with written_whole(path) as partial, hdf5_to_write(partial, "w") as file:
        file["cxi_version"] = 160
        image = file.create_group("entry_1/image_1")
        image.create_dataset(
            "data",
            shape=(patterns, *mask.shape),
            dtype=dtype,
            chunks=(1, *mask.shape),
            compression="gzip",
            compression_opts=4,
            shuffle=True,
            track_times=False,
        )
        # the bit that says "bad"; any other non-zero value counts as bad, too
        image["mask"] = np.where(mask, 0x80, 0).astype(np.uint32)
        image["image_center"] = np.array([centre[1], centre[0], 0.0])
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/image_1")
        file["entry_1/title"] = title
        file["entry_1/instrument_1/detector_1/distance"] = experiment.distance_m
        file["entry_1/instrument_1/detector_1/x_pixel_size"] = experiment.pixel_m
        file["entry_1/instrument_1/detector_1/y_pixel_size"] = experiment.pixel_m
        file["entry_1/instrument_1/detector_1/saturation_value"] = experiment.saturation
        file["entry_1/instrument_1/source_1/energy"] = JOULE_NM / experiment.wavelength_nm
        yield image


def write_table(image: h5py.Group, table: pd.DataFrame) -> None:
    """Write one 1-D data set a column beside the patterns; text becomes fixed-length UTF-8.

    Parameters
    ----------
    image
        The group of the patterns.
    table
        One row a pattern.
    """
    for name, column in table.items():
        values = column.to_numpy()
        if values.dtype.kind not in "iufb":
            encoded = np.char.encode(values.astype(str), "utf-8")
            values = encoded.astype(h5py.string_dtype("utf-8", max(encoded.dtype.itemsize, 1)))
        image.create_dataset(str(name), data=values, track_times=False)


def write_stack(
    path: str | os.PathLike,
    counts: np.ndarray | Iterable[np.ndarray],
    *,
    mask: np.ndarray,
    centre: Centre,
    table: pd.DataFrame,
    experiment: Experiment,
    title: str = "",
) -> None:
    """Write patterns in the co-author's CXI layout, whole or not at all.

    Parameters
    ----------
    path
        The file.
    counts
        (N, rows, columns) [photons], or blocks of it in order.
    mask, centre, experiment, title
        As of `new_stack`.
    table
        N rows, one a pattern; its columns may be empty.

    Raises
    ------
    ValueError
        If the number of patterns is not that of the table's rows.
    """
    blocks = iter([counts] if isinstance(counts, np.ndarray) else counts)
    first = next(blocks, np.empty((0, *mask.shape)))
    given = {"mask": mask, "centre": centre, "experiment": experiment, "title": title}
    with new_stack(path, patterns=len(table), dtype=first.dtype, **given) as image:
        start = 0
        for block in chain([first], blocks):
            if start + len(block) > len(table):
                raise ValueError(f"{path}: more patterns than the {len(table)} rows of the table")
            for place, pattern in enumerate(block, start):
                image["data"][place] = pattern
            start += len(block)
        if start != len(table):
            raise ValueError(f"{path}: {start} patterns for {len(table)} rows of the table")
        write_table(image, table)
