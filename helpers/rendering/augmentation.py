"""Darknet's augmentation of training images, each with its own mixtures of pixels (its src/data.c and src/image.c).

Two recipes: "crop" (2016, and AlexeyAB's fork in 2018; YOLOv2) moves each side of the 954 × 1855 picture and stretches
what is left; "place" (since 2017, YOLOv3) changes the aspect ratio and puts the picture somewhere on a gray canvas.
Both then distort the colours and flip half of the images. Boxes follow.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from helpers.errors import ProfileError
from helpers.family import Representation
from helpers.rendering.images import channels
from helpers.rendering.resampling import Taps, detector_pixel, enlarged_shape, fill_canvas, resample, resize_taps

METHODS = ("crop", "place")
NUMBERS = 10  # random ones an image, whatever the strengths
SMALLEST_BOX = 0.001  # relative width or height below which Darknet drops a box


@dataclass(frozen=True)
class Augmentation:
    """Strength of each random change; the defaults are those of `yolo-voc.2.0.cfg`, values out of range a ProfileError.

    Parameters
    ----------
    method
        "crop" or "place".
    jitter
        Largest move of a side (crop) or change of a side's length (place), relative to the side; 0 = off.
    flip
        True: half of the images are mirrored left to right.
    hue
        Largest shift of the hue, in turns; 0 = off.
    saturation, exposure
        Largest factor, or its reciprocal, on saturation and brightness; 1 = off.
    """

    method: str = "crop"
    jitter: float = 0.2
    flip: bool = True
    hue: float = 0.1
    saturation: float = 1.5
    exposure: float = 1.5

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ProfileError(f"augmentation method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if not 0 <= self.jitter < 0.5:
            raise ProfileError(f"jitter must be at least 0 and below 0.5, got {self.jitter}")
        if not 0 <= self.hue <= 1:
            raise ProfileError(f"hue must be between 0 (off) and 1, got {self.hue}")
        if min(self.saturation, self.exposure) < 1:
            raise ProfileError(
                f"saturation and exposure must be at least 1 (off), got {self.saturation} and {self.exposure}"
            )

    @property
    def distorts(self) -> bool:
        """True if colours change at all."""
        return self.hue > 0 or max(self.saturation, self.exposure) > 1


class RandomChanges(NamedTuple):
    """Random changes of a batch, on the device of the numbers that they come from."""

    sides: Tensor  # (N, 4) in 0..1: left, right, top, bottom (crop); width, height, x, y (place)
    flip: Tensor  # (N,) bool
    hue: Tensor  # (N,) shift [turns]
    saturation: Tensor  # (N,) factor
    exposure: Tensor  # (N,) factor


class Axis(NamedTuple):
    """Mapping of the pictures of a batch to one axis of the network input, for pixels and for boxes."""

    taps: Taps  # (N, size): the detector pixels that each input pixel mixes
    scale: Tensor  # (N,): relative positions become position · scale + shift
    shift: Tensor  # (N,)


@torch.no_grad()
def render_augmented(
    counts: np.ndarray | Tensor,
    boxes: Tensor,
    representation: Representation,
    size: int,
    augmentation: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Render patterns as `render`, changed at random as Darknet's `load_data_detection` does.

    Parameters
    ----------
    counts, representation, size
        As in `render`.
    boxes
        (N, 4): x centre, y centre, width, height, relative to the picture; NaN = no object.
    augmentation
        Recipe and strengths.
    generator
        Source of all randomness, on the CPU: ten numbers an image whatever the strengths.

    Returns
    -------
    images : Tensor
        float32 (N, 3, size, size) in 0..1, on the device of the counts.
    boxes : Tensor
        float32 (N, 4), on the device of the counts; NaN also where less than 0.001 of a side is left.
    """
    numbers = draw_numbers(len(counts), generator)
    return render_changed(counts, boxes, representation, size, augmentation, numbers)


@torch.no_grad()
def render_changed(
    counts: np.ndarray | Tensor,
    boxes: Tensor,
    representation: Representation,
    size: int,
    augmentation: Augmentation,
    numbers: Tensor,
) -> tuple[Tensor, Tensor]:
    """Render patterns with changes drawn before, `numbers` (N, 10) of `draw_numbers`; else as `render_augmented`.

    Asks nothing of the CPU if all lies on the device.
    """
    pixels = channels(counts, representation)
    drawn = changes(numbers.to(pixels.device), augmentation)
    rows, columns = place_axes(tuple(pixels.shape[-2:]), size, augmentation, drawn)
    mirrored = columns.taps.mirrored(drawn.flip)
    images = resample(pixels, rows.taps, mirrored)
    if augmentation.method == "place":
        fill_canvas(images, rows.taps, mirrored)
    if augmentation.distorts:
        images = images[:, :1] if representation.colour == "gray" else images
        images = distort(images, drawn.hue, drawn.saturation, drawn.exposure)
    images = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    return images, _follow(boxes.to(images), rows, columns, drawn.flip)


def draw_numbers(number: int, generator: torch.Generator) -> Tensor:
    """Draw what the changes of a batch follow from, (number, 10) in 0..1, on the CPU: it depends on the seed only."""
    return torch.rand(number, NUMBERS, generator=generator)


def changes(numbers: Tensor, augmentation: Augmentation) -> RandomChanges:
    """Random changes of a batch (Darknet's `rand_uniform` and `rand_scale`) from numbers (N, 10), on their device."""
    flip = (numbers[:, 4] < 0.5) & augmentation.flip
    hue = augmentation.hue * (2 * numbers[:, 5] - 1)
    saturation = _scale(augmentation.saturation, *numbers[:, 6:8].T)
    exposure = _scale(augmentation.exposure, *numbers[:, 8:10].T)
    return RandomChanges(numbers[:, :4], flip, hue, saturation, exposure)


def place_axes(
    shape: tuple[int, int], size: int, augmentation: Augmentation, drawn: RandomChanges
) -> tuple[Axis, Axis]:
    """Mapping of a batch to rows and columns of the network input, for pixels and for boxes, before any flip.

    `shape` is that of a pattern, `size` the side of the input [pixels].
    """
    enlarged = enlarged_shape(shape)
    crop = augmentation.method == "crop"
    spans_of, axis = (_cropped_spans, _crop_axis) if crop else (_placed_spans, _place_axis)
    spans = spans_of(enlarged, size, augmentation.jitter, drawn.sides)
    rows, columns = (
        axis(*span, pixels, length, size) for span, pixels, length in zip(spans, shape, enlarged, strict=True)
    )
    return rows, columns


def distort(images: Tensor, hue: Tensor, saturation: Tensor, exposure: Tensor) -> Tensor:
    """Change the colours in HSV space (Darknet's `distort_image`), without leaving RGB; clipped to 0..1.

    In HSV a channel is V - V S c, with c = clip(min(k, 4 - k), 0, 1) and k = n + 6 H mod 6 (n = 5, 3, 1 for red, green,
    blue); V S is the largest minus the smallest channel. On gray images hue and saturation change nothing. Images are
    float32 (N, 3 or 1, size, size) in 0..1, `hue` (N,) is a shift [turns], `saturation` and `exposure` (N,) factors.
    """
    exposure = exposure[:, None, None]
    value = images.amax(dim=1)
    if images.shape[1] == 1:
        return (value * exposure).clamp_(0, 1)[:, None]
    chroma = value - images.amin(dim=1)
    turned = _hue_sector(images, value, chroma) + 6 * hue[:, None, None]
    value, chroma = value * exposure, chroma * (saturation[:, None, None] * exposure)
    steps = [torch.remainder(turned + number, 6) for number in (5, 3, 1)]
    distorted = [value - chroma * torch.minimum(step, 4 - step).clamp_(0, 1) for step in steps]
    return torch.stack(distorted, dim=1).clamp_(0, 1)


def _scale(largest: float, size: Tensor, reciprocal: Tensor) -> Tensor:
    """Darknet's `rand_scale`: a factor between 1 and `largest`, or its reciprocal."""
    factor = 1 + (largest - 1) * size
    return torch.where(reciprocal < 0.5, factor, 1 / factor)


def _hue_sector(images: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """Hue in sixths of a turn (Darknet's `rgb_to_hsv`); any number where there is no colour."""
    red, green, blue = images.unbind(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1.0)
    others = torch.where(green == value, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    return torch.where(red == value, (green - blue) / divisor, others)


def _cropped_spans(
    enlarged: tuple[int, int], size: int, jitter: float, sides: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Whole pixels cut off before and after the picture along rows and columns; negative: added."""
    # the largest move of a side, in float32 and cut to whole pixels as in C
    tall, wide = (float(np.trunc(np.float32(length) * np.float32(jitter))) for length in enlarged)
    moved = 2 * sides - 1
    left, right = (moved[:, :2] * wide).trunc().to(torch.int64).unbind(dim=1)
    top, bottom = (moved[:, 2:] * tall).trunc().to(torch.int64).unbind(dim=1)
    return (top, bottom), (left, right)


def _crop_axis(before: Tensor, after: Tensor, pixels: int, enlarged: int, size: int) -> Axis:
    """Darknet's `crop_image`, which repeats the edge outside of the picture, then `resize_image`."""
    # pixels of the enlarged picture that are left, or a longer axis where some were added
    length = enlarged - before - after
    # the two pixels of what is left that each input pixel mixes
    first, second, share = resize_taps(length, size)
    # counted from the edge of the whole picture, the edge repeated outside; then the detector pixels that they show
    first, second = (
        detector_pixel((tap + before[:, None]).clamp(0, enlarged - 1), pixels, enlarged) for tap in (first, second)
    )
    # boxes: a relative position p of the whole picture becomes (p · enlarged − before) / length
    return Axis(Taps(first, second, share), torch.full_like(length, enlarged) / length, -before / length)


def _placed_spans(
    enlarged: tuple[int, int], size: int, jitter: float, sides: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Length and offset of the placed picture along rows and columns, in pixels of the input with a fraction."""
    # width and height change by themselves; the picture then fills the input along its longer side
    change = 1 + jitter * (2 * sides[:, :2] - 1)
    aspect = enlarged[1] * change[:, 0] / (enlarged[0] * change[:, 1])
    wide, tall = size * aspect.clamp(max=1), size / aspect.clamp(min=1)
    columns, rows = (wide, sides[:, 2] * (size - wide)), (tall, sides[:, 3] * (size - tall))
    return tuple(end.to(torch.float32) for end in rows), tuple(end.to(torch.float32) for end in columns)


def _place_axis(length: Tensor, offset: Tensor, pixels: int, enlarged: int, size: int) -> Axis:
    """Darknet's `place_image`: whole pixels, bilinear, black beyond the last pixel; boxes keep the fraction."""
    # whole pixels of the input that the picture covers, and each input pixel counted from its edge
    covered = length.to(torch.int64)[:, None]
    target = torch.arange(size, device=length.device) - offset.to(torch.int64)[:, None]
    inside = (target >= 0) & (target < covered)
    # position in the enlarged picture, and the two pixels there that are mixed; beyond its end there is none
    position = target.to(torch.float32) / covered * enlarged
    first = position.floor().to(torch.int64)
    first_pixel, second_pixel = (
        torch.where(inside & (tap < enlarged), detector_pixel(tap, pixels, enlarged), -1) for tap in (first, first + 1)
    )
    return Axis(Taps(first_pixel, second_pixel, position - first), length / size, offset / size)


def _follow(boxes: Tensor, rows: Axis, columns: Axis, flip: Tensor) -> Tensor:
    """Boxes after the same changes (Darknet's `correct_boxes`): mapped, mirrored, clipped, dropped if too small."""
    # upper left and lower right corner in the input, (N, 2) as (x, y)
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    scale = torch.stack([columns.scale, rows.scale], dim=1)
    shift = torch.stack([columns.shift, rows.shift], dim=1)
    start, stop = (edge * scale + shift for edge in (centre - half, centre + half))
    # a mirrored x is 1 − x, so left and right change places; what lies outside is cut off
    mirrored = flip[:, None] & (torch.arange(2, device=flip.device) == 0)
    start, stop = torch.where(mirrored, 1 - stop, start).clamp(0, 1), torch.where(mirrored, 1 - start, stop).clamp(0, 1)
    # centre and size again; NaN where less than Darknet's smallest box is left
    followed = torch.cat([(start + stop) / 2, stop - start], dim=1)
    gone = (stop - start < SMALLEST_BOX).any(dim=1, keepdim=True)
    return followed.masked_fill(gone, torch.nan)
