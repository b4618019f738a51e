"""Pattern stacks on disk: open every layout that is about, write ours, write selections, tell what is in a file.

CXI is HDF5 with agreed names (cxidb.org, version 1.6); Dragonfly has files of its own.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the compressions of foreign files
import numpy as np

from helpers import cxi_layout, cxi_metadata, dragonfly_detector, emc
from helpers.assembly import Assembly, in_rows
from helpers.cxi_geometry import HOW_TO_GIVE_ONE, geometry_file, geometry_in_file
from helpers.cxi_layout import Found
from helpers.cxi_metadata import Polarity
from helpers.cxi_writing import new_stack, write_stack, write_table
from helpers.errors import PatternFileError
from helpers.experiment import Experiment
from helpers.pattern_stack import Origin, Part, PatternStack
from helpers.selections import write_selection
from helpers.stack_description import description
from helpers.storage import AssembledStorage, DatasetStorage, Storage

__all__ = [
    "PatternStack",
    "describe",
    "new_stack",
    "open_stack",
    "write_selection",
    "write_stack",
    "write_table",
]

_MASKS_LOOKED_AT = 32


@dataclass(frozen=True)
class _Reading:
    """How the caller wants a file to be read: the options of `open_stack`."""

    path: Path
    dataset: str | None
    nan_as_zero: bool
    frame_shape: tuple[int, int] | None
    polarity: Polarity
    detector: Path | Assembly | None


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
    `read` follows it, and the stack's mask is what is bad in all of 32 patterns spread over the file.

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
    reading = _Reading(Path(path), dataset, nan_as_zero, frame_shape, mask_polarity, detector)
    cxi_metadata.bad_pixels(np.empty(0), mask_polarity, two_is_bad=False)
    if emc.is_emc(reading.path):
        kind, storage = emc.open_emc(reading.path)
        return _flat_stack(reading, "Dragonfly .emc", kind, storage, None)
    file = cxi_layout.opened(reading.path)
    try:
        if dataset is None and all(name in file for name in emc.MEMBERS):
            return _flat_stack(reading, "Dragonfly HDF5", "place_ones", emc.SparseDatasets(file, reading.path), file)
        return _hdf5_stack(reading, file)
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


def _hdf5_stack(reading: _Reading, file: h5py.File) -> PatternStack:
    """The stack of a file with data sets of patterns."""
    path = reading.path
    if reading.dataset is None:
        stacks = cxi_layout.find_stacks(file, path)
        filled = [found for found in stacks if 0 not in file[found.name].shape]
        stacks = filled or stacks[:1]
    else:
        stacks = [cxi_layout.find_named(file, path, reading.dataset)]
    for found in stacks:
        cxi_layout.check_stack(file, path, found.name)
        cxi_layout.check_sources(file[found.name], path, found.name, holes_allowed=reading.nan_as_zero)
    geometries = [_geometry(reading, file, found) for found in stacks]
    parts = [
        _part(reading, file, stacks, number, geometry, described)
        for number, (geometry, described) in enumerate(geometries)
    ]
    _refuse_different_shapes(reading, parts)
    stack_centre = parts[0].centre if len({part.centre for part in parts}) == 1 else None
    shape = parts[0].storage.shape[1:]
    told = [
        cxi_metadata.read_experiment(file, path, found, shape=shape, centre=stack_centre, dtype=file[found.name].dtype)
        for found in stacks
    ]
    experiment, missing = told[0]
    if any(_unnamed(other) != _unnamed(experiment) for other, _ in told):
        experiment, missing = None, ["one experiment for all data sets"]
    layout = ", ".join(dict.fromkeys(found.layout for found in stacks))
    layout += " (virtual)" if any(file[found.name].is_virtual for found in stacks) else ""
    title = cxi_metadata.read_title(file, stacks[0])
    origin = Origin(layout, title, geometries[0][0], experiment, missing, file)
    return PatternStack(path, parts, origin, nan_as_zero=reading.nan_as_zero)


def _unnamed(experiment: Experiment | None) -> Experiment | None:
    return experiment and replace(experiment, name="")


def _geometry(reading: _Reading, file: h5py.File, found: Found) -> tuple[Assembly | None, str]:
    """How the pixels of a stack are put together, and what is told of it; None where they are already."""
    shape = file[found.name].shape[1:]
    if isinstance(reading.detector, Path):
        return geometry_file(reading.detector, shape)[0], f"put together by {reading.detector}"
    if reading.detector is not None:
        return _fitting(reading, reading.detector, shape), "put together by the geometry given"
    if len(shape) == 2:
        return None, ""
    detectors = cxi_metadata.detectors_of(file, reading.path, found)
    assembly = geometry_in_file(file, reading.path, detectors, shape)
    if assembly is None:
        raise PatternFileError(
            f"{reading.path}: {found.name} holds panels that were not put together, {shape}, and no geometry; "
            f"{HOW_TO_GIVE_ONE}"
        )
    return assembly, f"put together by {assembly.source.removeprefix(f'{reading.path}: ')}"


def _fitting(reading: _Reading, assembly: Assembly, shape: tuple[int, ...]) -> Assembly:
    """The geometry, if it has as many pixels as a pattern."""
    if assembly.pixels != np.prod(shape):
        raise PatternFileError(
            f"{reading.path}: the geometry has {assembly.pixels} pixels, a pattern {shape}; give that of this detector"
        )
    return assembly


def _part(
    reading: _Reading, file: h5py.File, stacks: list[Found], number: int, geometry: Assembly | None, described: str
) -> Part:
    """One data set with all that belongs to it."""
    found = stacks[number]
    storage: Storage = DatasetStorage(file[found.name])
    if geometry is not None:
        storage = AssembledStorage(storage, geometry)
    mask, masks, source = _masks(reading, file, found, geometry)
    columns = cxi_metadata.columns_of(file, reading.path, stacks, number)
    centre = cxi_metadata.read_centre(file, reading.path, found.name)
    return Part(
        dataset=found.name,
        storage=storage,
        mask=mask,
        masks=masks,
        mask_source=source + (f", {described}" if described else ""),
        centre=centre or (geometry.centre if geometry else None),
        event_ids=cxi_metadata.read_event_ids(columns, found.layout),
        columns={name: column.read for name, column in columns.items()},
    )


def _masks(
    reading: _Reading, file: h5py.File, found: Found, geometry: Assembly | None
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray] | None, str]:
    """Bad pixels of a stack, those of single patterns where each has its own, and where that is from."""
    own = _geometry_mask(reading, geometry)
    shape = geometry.shape if geometry else file[found.name].shape[1:]
    always = np.zeros(shape, bool) if own is None else own
    stored = cxi_metadata.mask_dataset(file, reading.path, found)
    if stored is None:
        return (
            always,
            None,
            "none, every pixel is good" if own is None else _rule(reading, "the geometry's", two_is_bad=True),
        )
    name, data = stored
    cxi_layout.check_sources(data, reading.path, name, holes_allowed=True)
    source = _rule(reading, name, two_is_bad=found.two_is_bad)

    def as_pictures(values: np.ndarray) -> np.ndarray:
        bad = cxi_metadata.bad_pixels(values, reading.polarity, two_is_bad=found.two_is_bad)
        return bad if geometry is None else np.stack([geometry.mask(pattern) for pattern in bad])

    if data.shape != file[found.name].shape:
        return always | as_pictures(data[()][None])[0], None, source
    each = DatasetStorage(data)
    looked_at = np.unique(np.linspace(0, len(data) - 1, _MASKS_LOOKED_AT).astype(np.intp))
    always = always | np.logical_and.reduce(
        [as_pictures(each.read(looked_at[[one]]))[0] for one in range(looked_at.size)]
    )
    return always, lambda patterns: as_pictures(each.read(patterns)), f"{source}, one for each pattern"


def _geometry_mask(reading: _Reading, geometry: Assembly | None) -> np.ndarray | None:
    """Gaps of the geometry, and the pixels that its own mask calls bad."""
    if geometry is None or geometry.mask_values is None:
        return None if geometry is None else geometry.gaps
    return geometry.mask(cxi_metadata.bad_pixels(geometry.mask_values, reading.polarity, two_is_bad=True))


def _rule(reading: _Reading, source: str, *, two_is_bad: bool) -> str:
    """Where a mask is from and what it means, for people."""
    if reading.polarity == "nonzero-good":
        return f"{source} (0 = bad)"
    return f"{source} ({'2 = bad' if two_is_bad and reading.polarity == 'format' else 'not 0 = bad'})"


def _refuse_different_shapes(reading: _Reading, parts: list[Part]) -> None:
    """Raise unless all parts have patterns of one shape, and of the shape that the caller wants."""
    shapes = {part.storage.shape[1:] for part in parts}
    if len(shapes) > 1:
        known = ", ".join(f"{part.dataset} {part.storage.shape[1:]}" for part in parts)
        raise PatternFileError(
            f"{reading.path}: stacks of patterns with different shapes ({known}); name one with dataset=... (--dataset)"
        )
    if reading.frame_shape is not None and {tuple(reading.frame_shape)} != shapes:
        raise PatternFileError(
            f"{reading.path}: {parts[0].dataset} has patterns of {parts[0].storage.shape[1:]}, not of the frame shape "
            f"{tuple(reading.frame_shape)}; leave the frame shape out"
        )


def _flat_stack(reading: _Reading, layout: str, name: str, storage: Storage, file: h5py.File | None) -> PatternStack:
    """The stack of a Dragonfly file, whose patterns are lists of pixels."""
    if reading.dataset is not None:
        raise PatternFileError(f"{reading.path}: a Dragonfly file has no data sets; leave {reading.dataset} out")
    if storage.shape[0] == 0:
        raise PatternFileError(f"{reading.path}: {name} is empty; write at least one pattern")
    assembly, attributes = _flat_geometry(reading, storage.shape[1])
    own = _geometry_mask(reading, assembly)
    source = "none, every pixel is good"
    if assembly.mask_values is not None:
        source = _rule(reading, f"mask of {assembly.source}", two_is_bad=True)
    columns = {}
    if file is not None:
        found = Found(layout, name)
        columns = cxi_metadata.columns_of(file, reading.path, [found], 0)
    part = Part(
        dataset=name,
        storage=AssembledStorage(storage, assembly),
        mask=own if own is not None else np.zeros(assembly.shape, bool),
        masks=None,
        mask_source=source,
        centre=assembly.centre,
        event_ids=cxi_metadata.read_event_ids(columns, layout),
        columns={column: values.read for column, values in columns.items()},
    )
    experiment, missing = _flat_experiment(assembly, attributes)
    origin = Origin(layout, "", assembly, experiment, missing, file)
    return PatternStack(reading.path, [part], origin, nan_as_zero=reading.nan_as_zero)


def _flat_geometry(reading: _Reading, pixels: int) -> tuple[Assembly, dict[str, float | str]]:
    """Where the pixels of a Dragonfly file are: as the caller says, or as the detector beside it."""
    path, shape = reading.path, reading.frame_shape
    attributes: dict[str, float | str] = {}
    beside = dragonfly_detector.beside(path)
    if isinstance(reading.detector, Assembly):
        assembly = _fitting(reading, reading.detector, (pixels,))
    elif reading.detector is not None:
        assembly, attributes = geometry_file(reading.detector, (pixels,))
    elif beside.is_file() and beside != path:
        assembly, attributes = dragonfly_detector.read_detector(beside, pixels)
    elif shape is not None:
        assembly = in_rows((int(shape[0]), int(shape[1])))
    else:
        raise PatternFileError(
            f"{path}: a Dragonfly file does not tell the rows and columns of its {pixels} pixels; give "
            f"frame_shape=(rows, columns) (--frame-shape 123x240), or its detector (--detector FILE, or {beside.name} "
            "beside it)"
        )
    if assembly.pixels != pixels or (shape is not None and assembly.shape != tuple(shape)):
        wanted = f"the frame shape {tuple(shape)}" if shape is not None else f"the geometry of {assembly.pixels} pixels"
        raise PatternFileError(
            f"{path}: its patterns have {pixels} pixels ({assembly.source}), {wanted} does not fit; correct it"
        )
    return assembly, attributes


def _flat_experiment(assembly: Assembly, attributes: dict[str, float | str]) -> tuple[Experiment | None, list[str]]:
    """The experiment that a detector file of ours holds as attributes."""
    centre = assembly.centre
    if centre is None:
        return None, ["a detector file"]
    rows, columns = assembly.shape
    values = {**attributes, "rows": rows, "columns": columns, "centre_row": centre[0], "centre_column": centre[1]}
    fields = Experiment.__dataclass_fields__
    missing = [name for name in fields if name not in values]
    if missing:
        return None, missing
    known = {name: values[name].item() if isinstance(values[name], np.generic) else values[name] for name in fields}
    return Experiment(**known), []
