"""The stack of an HDF5 file whose patterns lie in data sets: CXI, psocake, CXIDB 58, batches, virtual data sets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Experiment
from helpers.patterns import layouts, metadata
from helpers.patterns.assembly import Assembly
from helpers.patterns.columns import columns_of, read_event_ids
from helpers.patterns.geometry import HOW_TO_GIVE_ONE, geometry_file, geometry_in_file
from helpers.patterns.hdf5.values import check_storage, values_of
from helpers.patterns.hdf5.virtual import check_sources
from helpers.patterns.layouts import Found
from helpers.patterns.options import Reading, check_mask, fitting, geometry_mask, mask_rule
from helpers.patterns.stack import Origin, Part, PatternStack
from helpers.patterns.storage import AssembledStorage, DatasetStorage, Storage

_MASKS_LOOKED_AT = 16


def dataset_stack(reading: Reading, file: h5py.File) -> PatternStack:
    """Make the stack of a file with data sets of patterns.

    Parameters
    ----------
    reading
        How the file is read.
    file
        Open; the stack closes it.

    Returns
    -------
    PatternStack

    Raises
    ------
    PatternFileError
        As `cxi.open_stack`.
    """
    stacks = _checked(reading, file)
    geometries = [_geometry(reading, file, found) for found in stacks]
    parts = [_part(reading, file, stacks, number, *geometry) for number, geometry in enumerate(geometries)]
    _refuse_different_shapes(reading, parts)
    experiment, missing = _experiment(reading, file, stacks, parts)
    layout = ", ".join(dict.fromkeys(found.layout for found in stacks))
    origin = Origin(
        layout=layout + (" (virtual)" if any(file[found.name].is_virtual for found in stacks) else ""),
        title=metadata.read_title(file, reading.path, stacks[0]),
        geometry=geometries[0][0],
        experiment=experiment,
        missing=missing,
        file=file,
    )
    return PatternStack(reading.path, parts, origin, nan_as_zero=reading.nan_as_zero)


def _checked(reading: Reading, file: h5py.File) -> list[Found]:
    """The data sets of the stack, each of them whole; those without patterns are left out if others have some."""
    path = reading.path
    if reading.dataset is None:
        found = layouts.find_stacks(file, path)
        stacks = [one for one in found if 0 not in (file[one.name].shape or ())] or found[:1]
    else:
        stacks = [layouts.find_named(file, path, reading.dataset)]
    for one in stacks:
        layouts.check_stack(file, path, one.name)
        check_sources(file[one.name], path, one.name, holes_allowed=reading.nan_as_zero)
        check_storage(file[one.name], path, one.name, holes_allowed=reading.nan_as_zero)
    return stacks


def _experiment(
    reading: Reading, file: h5py.File, stacks: list[Found], parts: list[Part]
) -> tuple[Experiment | None, list[str]]:
    """The experiment that all data sets share, and what is missing for it."""
    centre = parts[0].centre if len({part.centre for part in parts}) == 1 else None
    shape = parts[0].storage.shape[1:]
    told = [
        metadata.read_experiment(file, reading.path, one, shape=shape, centre=centre, dtype=file[one.name].dtype)
        for one in stacks
    ]
    if len({experiment and replace(experiment, name="", saturation=1) for experiment, _ in told}) > 1:
        return None, ["one experiment for all data sets"]
    return told[0]


def _geometry(reading: Reading, file: h5py.File, found: Found) -> tuple[Assembly | None, str]:
    """How the pixels of a stack are put together, and what is told of it; None where they are already."""
    shape = file[found.name].shape[1:]
    if isinstance(reading.detector, Path):
        return geometry_file(reading.detector, shape)[0], f"put together by {reading.detector}"
    if reading.detector is not None:
        return fitting(reading, reading.detector, shape), "put together by the geometry given"
    if len(shape) == 2:
        return None, ""
    detectors = metadata.detectors_of(file, reading.path, found)
    assembly = geometry_in_file(file, reading.path, detectors, shape)
    if assembly is None:
        raise PatternFileError(
            f"{reading.path}: {found.name} holds panels that were not put together, {shape}, and no geometry; "
            f"{HOW_TO_GIVE_ONE}"
        )
    return assembly, f"put together by {assembly.source.removeprefix(f'{reading.path}: ')}"


def _part(
    reading: Reading, file: h5py.File, stacks: list[Found], number: int, geometry: Assembly | None, described: str
) -> Part:
    """One data set with all that belongs to it."""
    found = stacks[number]
    storage: Storage = DatasetStorage(file[found.name], reading.path, holes_allowed=reading.nan_as_zero)
    if geometry is not None:
        storage = AssembledStorage(storage, geometry)
    mask, masks, source = _masks(reading, file, found, geometry)
    check_mask(reading, mask, source)
    columns = columns_of(file, reading.path, stacks, number)
    centre = metadata.read_centre(file, reading.path, found.name)
    return Part(
        dataset=found.name,
        storage=storage,
        mask=mask,
        masks=masks,
        mask_source=source + (f", {described}" if described else ""),
        centre=centre or (geometry.centre if geometry else None),
        event_ids=read_event_ids(columns, found.layout),
        columns={name: column.read for name, column in columns.items()},
    )


def _masks(
    reading: Reading, file: h5py.File, found: Found, geometry: Assembly | None
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray] | None, str]:
    """Bad pixels of a stack, those of single patterns where each has its own, and where that is from."""
    own = geometry_mask(reading, geometry)
    always = np.zeros(file[found.name].shape[1:], bool) if own is None else own
    stored = metadata.mask_dataset(file, reading.path, found)
    if stored is None:
        return always, None, _without_a_mask(reading, geometry)
    name, data = stored
    check_sources(data, reading.path, name, holes_allowed=True)
    check_storage(data, reading.path, name, holes_allowed=False)
    source = mask_rule(reading, name, two_is_bad=found.two_is_bad)

    def as_pictures(values: np.ndarray) -> np.ndarray:
        bad = metadata.bad_pixels(values, reading.polarity, two_is_bad=found.two_is_bad)
        return bad if geometry is None else np.stack([geometry.mask(pattern) for pattern in bad])

    if data.shape != file[found.name].shape:
        return always | as_pictures(values_of(data, reading.path, name)[None])[0], None, source
    each = DatasetStorage(data, reading.path)
    looked_at = np.unique(np.linspace(0, len(data) - 1, _MASKS_LOOKED_AT).astype(np.intp))
    in_all = np.logical_and.reduce([as_pictures(each.read(one))[0] for one in looked_at[:, None]])
    return always | in_all, lambda patterns: as_pictures(each.read(patterns)), f"{source}, one for each pattern"


def _without_a_mask(reading: Reading, geometry: Assembly | None) -> str:
    """What is bad where the file has no mask, for people."""
    if geometry is None:
        return "none, every pixel is good"
    if geometry.mask_values is None:
        return "none but the gaps of the geometry"
    return mask_rule(reading, f"mask of {geometry.source}", two_is_bad=True)


def _refuse_different_shapes(reading: Reading, parts: list[Part]) -> None:
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
