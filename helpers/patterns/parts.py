"""From the layouts found in a file to one stack: masks, geometry and experiment of all its data sets together."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.assembly import Assembly
from helpers.patterns.hdf5.values import values_of
from helpers.patterns.layouts.base import Layout
from helpers.patterns.markers import dead_in_words, dead_pixels, markers_of
from helpers.patterns.masks import NAMES, TWO_IS_BAD, as_bits, chosen_rule
from helpers.patterns.options import ReadOptions
from helpers.patterns.stack import Origin, Part, PatternStack
from helpers.patterns.storage import AssembledStorage, DatasetStorage, spread

_LOOKED_AT = 16
_NO_MASK = "none"


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
    if geometry is not None:
        storage = AssembledStorage(storage, geometry)
    mask = _mask(layout, options, geometry)
    if mask.in_all.all():
        raise PatternFileError(
            f"{mask.source}: no pixel is good; say what the mask means with mask_polarity=... (--mask-polarity), or "
            "correct it"
        )
    dead = np.where(mask.in_all, 0, dead_pixels(storage, layout.saturation, spread(storage.shape[0], _LOOKED_AT)))
    marked = [f"dead: {dead_in_words(dead)}"] if dead.any() else []
    good = [] if marked or mask.source != _NO_MASK else ["every pixel is good"]
    sources = [mask.source, *good, *marked, *([source] if source else [])]
    return Part(
        dataset=layout.path,
        storage=storage,
        mask=mask.in_all | (dead > 0),
        masks=mask.of_each,
        mask_source=", ".join(sources),
        mask_bits=mask.bits,
        mask_candidates=lambda: {f"{group}/{name}".lstrip("/") for group in layout.mask_groups() for name in NAMES},
        dead=dead,
        markers=lambda: markers_of(storage.dtype, layout.saturation()),
        centres=_centres(layout, geometry),
        event_ids=partial(layout.event_ids, layouts),
        columns=partial(layout.columns, layouts),
    )


@dataclass(frozen=True, eq=False)
class _Mask:
    """Bad pixels in all patterns (rows, columns), in some patterns where each has its own, and words for people."""

    in_all: np.ndarray
    source: str
    of_each: Callable[[np.ndarray], np.ndarray] | None = None
    bits: Callable[[], list[str]] = list


def _mask(layout: Layout, options: ReadOptions, geometry: Assembly | None) -> _Mask:
    """The mask of a data set: all that its file says of bad pixels, and those of the geometry."""
    masks = [_stored_mask(path, data, layout, options, geometry) for path, data in layout.masks().items()]
    if geometry is not None and geometry.mask_values is not None:
        rule = chosen_rule(options.mask_polarity, TWO_IS_BAD)
        bad = geometry.mask(rule.bad_pixels(geometry.mask_values))
        masks.append(_Mask(bad, f"mask of {geometry.source} ({rule.name})"))
    if not masks:
        gaps = np.zeros(layout.shape[1:], bool) if geometry is None else geometry.gaps
        return _Mask(gaps, "none but the gaps of the geometry" if gaps.any() else _NO_MASK)
    each = [mask.of_each for mask in masks if mask.of_each is not None]
    return _Mask(
        np.logical_or.reduce([mask.in_all for mask in masks]),
        " and ".join(mask.source for mask in masks),
        (lambda patterns: np.logical_or.reduce([bad(patterns) for bad in each])) if each else None,
        lambda: [line for mask in masks for line in mask.bits()],
    )


def _stored_mask(
    path: str, data: h5py.Dataset, layout: Layout, options: ReadOptions, geometry: Assembly | None
) -> _Mask:
    """One data set of masks; where each pattern has its own, bad in all is what is bad in all that are looked at."""
    rule = chosen_rule(options.mask_polarity, layout.rule_of(path))

    def as_pictures(values: np.ndarray) -> np.ndarray:
        bad = rule.bad_pixels(values)
        return bad if geometry is None else np.stack([geometry.mask(pattern) for pattern in bad])

    arrangement = layout.arrangement.of_each(data.shape)
    if arrangement is None:
        values = layout.arrangement.of_one(values_of(data))
        source = f"{path} ({rule.in_words(values)})"
        return _Mask(as_pictures(values[None])[0], source, bits=lambda: rule.bits_found(values))
    each = DatasetStorage(data, arrangement)
    looked_at = [each.read(one) for one in spread(each.shape[0], _LOOKED_AT)[:, None]]
    in_any = np.bitwise_or.reduce([as_bits(values[0]) for values in looked_at])
    return _Mask(
        np.logical_and.reduce([as_pictures(values)[0] for values in looked_at]),
        f"{path} ({rule.in_words(in_any)}), one for each pattern",
        lambda patterns: as_pictures(each.read(patterns)),
        lambda: [f"{line} in any of {len(looked_at)} masks" for line in rule.bits_found(in_any)],
    )


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
