"""Description of a pattern file in words and in character pictures for a terminal."""

import os

import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.layouts.base import listed
from helpers.patterns.look import light_of
from helpers.patterns.opening import open_stack
from helpers.patterns.options import DEFAULTS, ReadOptions
from helpers.patterns.stack import PatternStack
from helpers.system import in_short, printable

_LOOKED_AT = 1000
_LOOKED_AT_PIXELS = 50_000_000
_RANKS = {"median": 50, "bright": 95, "brightest": 100}
_SHADES = " .:-=+*#%@"
_BAD = "x"
_WIDTH = 64
_CELL_ASPECT = 2
_UNREADABLE = "unreadable"
_MOST_BITS = 20


def describe(path: str | os.PathLike, options: ReadOptions = DEFAULTS, *, pictures: bool = False) -> str:
    """A description of a pattern file, and of how it would be read, in lines of text.

    Parameters
    ----------
    path, options
        As of `open_stack`.
    pictures
        Whether to show a median, a bright and the brightest of the first 1000 patterns as characters.

    Raises
    ------
    PatternFileError
        As `open_stack`; unreadable counts are told in the text.
    """
    with open_stack(path, options) as stack:
        values, photons = looked_at(stack)
        lines = _lines(stack, photons) + (_pictures(stack, values, _unit(photons)) if pictures else [])
    return "\n".join(lines)


def _lines(stack: PatternStack, photons: str) -> list[str]:
    """What the file tells of its patterns, and how they are read."""
    ids = "none" if stack.event_ids is None else " to ".join(_event_id(stack.event_ids[end]) for end in (0, -1))
    return [
        f"{printable(stack.path)}" + (f": {stack.title}" if stack.title else ""),
        f"  layout     {stack.layout}",
        f"  data set   {stack.dataset}",
        *_other_files(stack),
        *_patterns_of_each(stack),
        f"  patterns   {len(stack)} of {stack.shape[1]} rows x {stack.shape[2]} columns, {stack.dtype}",
        *_mask(stack),
        f"  centre     {_centre(stack)}",
        f"  experiment {_experiment(stack)}",
        f"  event ids  {ids}",
        f"  columns    {', '.join(map(in_short, stack.column_names)) or 'none'}",
        f"  photons    {photons}",
    ]


def looked_at(stack: PatternStack) -> tuple[np.ndarray, str]:
    """The first patterns (n, rows, columns) [photons], and their photons in words, or why they cannot be read.

    Where they are no photons, the values are as stored, without what is negative or not finite. At most 1000 patterns,
    fewer if they are large.
    """
    first = slice(0, max(1, min(_LOOKED_AT, _LOOKED_AT_PIXELS // stack.mask.size)))
    try:
        unmasked, bad = stack.read_unmasked(first)
    except PatternFileError as error:
        return np.empty((0, *stack.shape[1:]), np.float32), f"{_UNREADABLE}: {error}"
    before = np.median(light_of(unmasked, stack.markers).sum(axis=(1, 2)))
    values = unmasked
    np.copyto(values, 0, where=bad)
    try:
        values = stack.checked(values, first)
    except PatternFileError as error:
        return np.maximum(np.nan_to_num(values, posinf=0, neginf=0), 0), f"{_UNREADABLE}: {error}"
    low, middle, high = np.percentile(values.sum(axis=(1, 2)), [5, 50, 95])
    text = f"median {middle:.0f} (5 % below {low:.0f}, 5 % above {high:.0f}) in the first {len(values)}"
    return values, text + (f"; {before:.0f} before the mask" if before != middle else "")


def from_dim_to_bright(stack: PatternStack, number: int) -> tuple[np.ndarray, list[str], str]:
    """At most `number` patterns (n, rows, columns) for a gallery, evenly spaced by their photons among those looked at.

    Returns them with a title each (number, photons) and their unit: "photons", or what else the values are. Raises
    PatternFileError if no pattern can be read.
    """
    values, photons = looked_at(stack)
    if len(values) == 0:
        raise PatternFileError(f"{stack.path}: there is nothing to draw, {photons}")
    total = values.sum(axis=(1, 2))
    ranks = np.unique(np.linspace(0, len(total) - 1, number).round().astype(int))
    patterns = np.argsort(total, kind="stable")[ranks]
    return values[patterns], [f"{pattern}: {total[pattern]:.0f}" for pattern in patterns], _unit(photons)


def _mask(stack: PatternStack) -> list[str]:
    """Number of bad pixels, where the mask is from, and the bits that it has."""
    first, *others = dict.fromkeys(part.mask_source for part in stack.parts)
    masks = first + (f", and {len(others)} more" if others else "")
    bits = list(dict.fromkeys(line for part in stack.parts for line in part.mask_bits()))
    shown = bits if len(bits) <= _MOST_BITS else [*bits[:_MOST_BITS], f"... ({len(bits) - _MOST_BITS} more)"]
    return [
        f"  mask       {stack.mask.sum()} bad pixels ({stack.mask.mean():.1%}); {masks}",
        *(f"             {line}" for line in shown),
    ]


def _other_files(stack: PatternStack) -> list[str]:
    """The files that patterns are read from beside the one that was named."""
    others = sorted(stack.other_files)
    return [f"  from       {listed([printable(str(path)) for path in others])}"] if others else []


def _unit(photons: str) -> str:
    """The unit of the values of `looked_at`."""
    return "units of the file" if photons.startswith(_UNREADABLE) else "photons"


def _patterns_of_each(stack: PatternStack) -> list[str]:
    """Number of patterns from each of several data sets."""
    if len(stack.parts) == 1:
        return []
    numbers = [f"{part.storage.shape[0]} from {part.dataset}" for part in stack.parts]
    shown = numbers if len(numbers) <= 8 else [*numbers[:4], "...", *numbers[-2:]]
    return ["             " + text for text in shown]


def _event_id(event_id: object) -> str:
    return in_short(event_id) if str(event_id).strip() else "an empty one"


def _centre(stack: PatternStack) -> str:
    if stack.centre is not None:
        return "row {:g}, column {:g}".format(*(round(value, 3) for value in stack.centre))
    centres = np.concatenate([part.centres for part in stack.parts])
    if not len(centres):
        return "not given"
    (top, left), (bottom, right) = centres.min(axis=0), centres.max(axis=0)
    between = "data sets" if all(part.centre for part in stack.parts) else "patterns"
    return f"differs between the {between}: rows {top:g} to {bottom:g}, columns {left:g} to {right:g}"


def _experiment(stack: PatternStack) -> str:
    values, missing = stack.experiment_values, ", ".join(stack.missing)
    forms = (("wavelength_nm", "{:.4g} nm", 1), ("distance_m", "distance {:g} m", 1), ("pixel_m", "pixel {:g} µm", 1e6))
    known = ", ".join(form.format(factor * values[name]) for name, form, factor in forms if name in values)
    if not missing:
        return known
    return f"{known}; {missing} missing" if known else f"not told: {missing} missing"


def _pictures(stack: PatternStack, values: np.ndarray, unit: str) -> list[str]:
    """Three patterns, each with a line above it, and the legend."""
    if len(values) == 0:
        return []
    total = values.sum(axis=(1, 2))
    order = np.argsort(total, kind="stable")
    lines = []
    for name, rank in _RANKS.items():
        pattern = int(order[round(rank / 100 * (len(order) - 1))])
        lines += ["", f"  pattern {pattern}, {name} of the first {len(values)}: {total[pattern]:.0f} {unit}"]
        lines += [f"  |{line}|" for line in character_picture(values[pattern], stack.mask, values.max())]
    steps = np.geomspace(_darkest(values.max()), max(values.max(), 1.0), len(_SHADES) - 1)
    shades = "  ".join(f"{shade} {step:.2g}" for shade, step in zip(_SHADES[1:], steps, strict=True))
    return [*lines, "", f"  mean of a cell, {unit} per pixel: blank below, {shades}, {_BAD} bad pixels only"]


def _darkest(highest: float) -> float:
    """The value of the first shade: three decades below the highest, but not above one photon in twenty pixels."""
    return min(max(float(highest), 1.0) / 1000, 0.05)


def character_picture(counts: np.ndarray, mask: np.ndarray, highest: float, *, width: int = _WIDTH) -> list[str]:
    """A pattern in characters, on a logarithmic scale up to `highest`; a character is twice as high as wide.

    `counts` (rows, columns) from 0, `mask` True = bad pixel; `width` characters a line, if there are as many columns.
    """
    step = max(1.0, counts.shape[1] / width)
    row_edges = np.arange(0, counts.shape[0], step * _CELL_ASPECT).astype(int)
    column_edges = np.arange(0, counts.shape[1], step).astype(int)

    def cells(pixels: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(pixels.astype(float), row_edges, axis=0), column_edges, axis=1)

    good = cells(~mask)
    mean = cells(np.where(mask, 0, counts)) / np.maximum(good, 1)
    lowest = _darkest(highest)
    decades = np.log(max(float(highest), 1.0) / lowest)
    shade = 1 + np.log(np.maximum(mean, lowest) / lowest) / decades * (len(_SHADES) - 2)
    level = np.where(mean < lowest, 0, np.clip(np.rint(shade), 1, len(_SHADES) - 1)).astype(int)
    characters = np.where(good == 0, _BAD, np.array(list(_SHADES))[level])
    return ["".join(line) for line in characters]
