"""From the layouts found in a file to one stack: masks, geometry and experiment of all its data sets together."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.assembly import Assembly
from helpers.patterns.hdf5.values import values_of
from helpers.patterns.layouts.base import Layout
from helpers.patterns.options import Polarity, ReadOptions
from helpers.patterns.stack import Origin, Part, PatternStack
from helpers.patterns.storage import AssembledStorage, DatasetStorage

_MASKS_LOOKED_AT = 16


def stack_of(path: Path, found: list[Layout], options: ReadOptions, file: h5py.File | None = None) -> PatternStack:
    """The stack of all data sets of patterns in a file; those without patterns are left out if others have some.

    It closes `file`. Refused is a data set that is no stack, and several that do not go together.
    """
    layouts = found
    if len(found) > 1:
        layouts = [layout for layout in found if not layout.is_empty] or found[:1]
    for layout in layouts:
        layout.check(options)
    geometries = [layout.geometry(options) for layout in layouts]
    parts = [_part(layout, layouts, options, *geometry) for layout, geometry in zip(layouts, geometries, strict=True)]
    if len(parts) > 1 or options.frame_shape is not None:
        _refuse_different_shapes(parts, options)
    origin = Origin(
        layout=lambda: ", ".join(dict.fromkeys(layout.label for layout in layouts)),
        title=layouts[0].title,
        geometry=geometries[0][0],
        experiment=partial(_experiment, layouts, parts),
        file=file,
    )
    return PatternStack(path, parts, origin, nan_as_zero=options.nan_as_zero)


def _part(layout: Layout, layouts: list[Layout], options: ReadOptions, geometry: Assembly | None, source: str) -> Part:
    """One data set with all that belongs to it."""
    storage = layout.storage(options)
    mask, masks, mask_source = _masks(layout, options, geometry)
    if mask.all():
        raise PatternFileError(
            f"{mask_source}: no pixel is good; say what the mask means with mask_polarity=... (--mask-polarity), or "
            "correct it"
        )
    return Part(
        dataset=layout.path,
        storage=storage if geometry is None else AssembledStorage(storage, geometry),
        mask=mask,
        masks=masks,
        mask_source=f"{mask_source}, {source}" if source else mask_source,
        centres=_centres(layout, geometry),
        event_ids=partial(layout.event_ids, layouts),
        columns=partial(layout.columns, layouts),
    )


def _masks(
    layout: Layout, options: ReadOptions, geometry: Assembly | None
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray] | None, str]:
    """Bad pixels of a stack, those of single patterns where each has its own, and where that is from."""
    stored = layout.mask()
    if stored is None:
        always, source = _without_a_mask(layout, options, geometry)
        return always, None, source
    path, data = stored
    polarity, two_is_bad = options.mask_polarity, layout.two_is_bad
    source = mask_rule(path, polarity, two_is_bad=two_is_bad)

    def as_pictures(values: np.ndarray) -> np.ndarray:
        bad = bad_pixels(values, polarity, two_is_bad=two_is_bad)
        return bad if geometry is None else np.stack([geometry.mask(pattern) for pattern in bad])

    own = None if geometry is None or geometry.mask_values is None else _mask_of(geometry, polarity)
    arrangement = layout.arrangement.of_each(data.shape)
    if arrangement is None:
        bad = as_pictures(layout.arrangement.of_one(values_of(data))[None])[0]
        return bad if own is None else own | bad, None, source
    each = DatasetStorage(data, arrangement)
    looked_at = np.unique(np.linspace(0, each.shape[0] - 1, _MASKS_LOOKED_AT).astype(np.intp))
    bad = np.logical_and.reduce([as_pictures(each.read(one))[0] for one in looked_at[:, None]])
    in_all = bad if own is None else own | bad
    return in_all, lambda patterns: as_pictures(each.read(patterns)), f"{source}, one for each pattern"


def _without_a_mask(layout: Layout, options: ReadOptions, geometry: Assembly | None) -> tuple[np.ndarray, str]:
    """Bad pixels where the file has no mask: gaps of the geometry, and what its own mask calls bad."""
    if geometry is not None and geometry.mask_values is not None:
        source = mask_rule(f"mask of {geometry.source}", options.mask_polarity, two_is_bad=True)
        return _mask_of(geometry, options.mask_polarity), source
    gaps = np.zeros(layout.shape[1:], bool) if geometry is None else geometry.gaps
    return gaps, "none but the gaps of the geometry" if gaps.any() else "none, every pixel is good"


def _mask_of(geometry: Assembly, polarity: Polarity) -> np.ndarray:
    """Gaps of a geometry, and the pixels that its own mask calls bad."""
    return geometry.mask(bad_pixels(geometry.mask_values, polarity, two_is_bad=True))


def bad_pixels(values: np.ndarray, polarity: Polarity, *, two_is_bad: bool) -> np.ndarray:
    """Pixels that a mask calls bad, of its values in any shape.

    "format": any value but 0 in CXI, 2 in Dragonfly (0 good, 1 good but not for orientation).
    """
    if polarity == "format" and two_is_bad:
        return values == 2
    return values == 0 if polarity == "nonzero-good" else values != 0


def mask_rule(source: str, polarity: Polarity, *, two_is_bad: bool) -> str:
    """Source and meaning of a mask, for people."""
    if polarity == "nonzero-good":
        return f"{source} (0 = bad)"
    return f"{source} ({'2 = bad' if two_is_bad and polarity == 'format' else 'not 0 = bad'})"


def _refuse_different_shapes(parts: list[Part], options: ReadOptions) -> None:
    """Raise unless all parts have patterns of one shape, and of the shape that the caller wants."""
    shapes = {part.storage.shape[1:] for part in parts}
    if len(shapes) > 1:
        known = ", ".join(f"{part.dataset} {part.storage.shape[1:]}" for part in parts)
        raise PatternFileError(
            f"stacks of patterns with different shapes ({known}); name one with dataset=... (--dataset)"
        )
    if options.frame_shape is not None and {tuple(options.frame_shape)} != shapes:
        raise PatternFileError(
            f"{parts[0].dataset} has patterns of {parts[0].storage.shape[1:]}, not of the frame shape "
            f"{tuple(options.frame_shape)}; leave the frame shape out"
        )


def _centres(layout: Layout, geometry: Assembly | None) -> np.ndarray:
    """Beam centres (n, 2) that the file tells, else that of the geometry; none if neither does."""
    if (centres := layout.centres()) is not None:
        return centres
    return np.empty((0, 2)) if geometry is None or geometry.centre is None else np.array([geometry.centre], float)


def _experiment(layouts: list[Layout], parts: list[Part]) -> tuple[dict[str, Any], list[str]]:
    """What all data sets tell of the experiment, and what is missing for it."""
    centre = parts[0].centre if len({part.centre for part in parts}) == 1 else None
    shape = parts[0].storage.shape[1:]
    known = [layout.experiment(shape, centre) for layout in layouts]
    values, missing = known[0]
    shared = {**values, "name": "", "saturation": 1}
    if any({**others, "name": "", "saturation": 1} != shared for others, _ in known):
        both = {name: value for name, value in values.items() if all(one.get(name) == value for one, _ in known)}
        return both, ["one experiment for all data sets"]
    if parts[0].centre is None and any(len(part.centres) for part in parts):
        missing = ["one image_center for all patterns" if name == "image_center" else name for name in missing]
    return values, missing
