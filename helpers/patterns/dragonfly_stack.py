"""The stack of a Dragonfly file, whose patterns are lists of pixels that a detector or a shape puts into place."""

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.experiment import Experiment
from helpers.patterns.assembly import Assembly, in_rows
from helpers.patterns.columns import columns_of, read_event_ids
from helpers.patterns.dragonfly import detector
from helpers.patterns.geometry import geometry_file
from helpers.patterns.layouts import Found
from helpers.patterns.options import Reading, check_mask, fitting, geometry_mask, mask_rule
from helpers.patterns.stack import Origin, Part, PatternStack
from helpers.patterns.storage import AssembledStorage, Storage


def dragonfly_stack(reading: Reading, layout: str, name: str, storage: Storage, file: h5py.File | None) -> PatternStack:
    """Make the stack of a Dragonfly file.

    Parameters
    ----------
    reading
        How the file is read.
    layout, name
        What to call the layout and the patterns.
    storage
        The patterns, (patterns, pixels).
    file
        The open file, where it is HDF5; the stack closes it.

    Returns
    -------
    PatternStack

    Raises
    ------
    PatternFileError
        As `cxi.open_stack`.
    """
    if reading.dataset is not None:
        raise PatternFileError(f"{reading.path}: a Dragonfly file has no data sets; leave {reading.dataset} out")
    if storage.shape[0] == 0:
        raise PatternFileError(f"{reading.path}: {name} is empty; write at least one pattern")
    assembly, attributes = _flat_geometry(reading, storage.shape[1])
    part = _flat_part(reading, Found(layout, name), AssembledStorage(storage, assembly), assembly, file)
    experiment, missing = _flat_experiment(assembly, attributes)
    origin = Origin(layout, "", assembly, experiment, missing, file)
    return PatternStack(reading.path, [part], origin, nan_as_zero=reading.nan_as_zero)


def _flat_part(reading: Reading, found: Found, storage: Storage, assembly: Assembly, file: h5py.File | None) -> Part:
    """The patterns with what belongs to them; only the HDF5 form can have columns."""
    own = geometry_mask(reading, assembly)
    source = "none, every pixel is good"
    if assembly.mask_values is not None:
        source = mask_rule(reading, f"mask of {assembly.source}", two_is_bad=True)
    mask = np.zeros(assembly.shape, bool) if own is None else own
    check_mask(reading, mask, source)
    columns = {} if file is None else columns_of(file, reading.path, [found], 0)
    return Part(
        dataset=found.name,
        storage=storage,
        mask=mask,
        masks=None,
        mask_source=source,
        centre=assembly.centre,
        event_ids=read_event_ids(columns, found.layout),
        columns={column: values.read for column, values in columns.items()},
    )


def _flat_geometry(reading: Reading, pixels: int) -> tuple[Assembly, dict[str, float | str]]:
    """Where the pixels of a Dragonfly file are: as the caller says, or as the detector beside it."""
    path, shape = reading.path, reading.frame_shape
    attributes: dict[str, float | str] = {}
    beside = detector.detector_beside(path)
    if isinstance(reading.detector, Assembly):
        assembly = fitting(reading, reading.detector, (pixels,))
    elif reading.detector is not None:
        assembly, attributes = geometry_file(reading.detector, (pixels,))
    elif beside.is_file() and beside != path:
        assembly, attributes = detector.read_detector(beside, pixels)
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
