"""Photon counts to the images that a network sees: colour map, enlargement, resizing (section 2.5 of the paper).

The paper writes every pattern out as a picture of 954 × 1855 pixels, which Darknet loads and shrinks to its input size.
Both steps are linear once the colours are known, so `render` mixes the colours of detector pixels at once, for a whole
batch on the device that trains. `to_png` and `png_to_network_input` are the written-out route, for people and as proof.
"""

import os
from functools import cache, lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from helpers.family import Representation
from helpers.rendering.resampling import (
    CANVAS,
    Taps,
    check_resize,
    detector_pixel,
    enlarged_shape,
    fill_around,
    letterbox_shape,
    resample,
    resize_axes,
)
from helpers.system import written_whole

Counts = np.ndarray | Tensor

_LEVELS = 256
_PIXELS_A_BLOCK = 16 * 123 * 240
_JET_RED = ((0, 0.35, 0.66, 0.89, 1), (0, 0, 1, 1, 0.5))
_JET_GREEN = ((0, 0.125, 0.375, 0.64, 0.91, 1), (0, 0, 1, 1, 0, 0))
_JET_BLUE = ((0, 0.11, 0.34, 0.65, 1), (0.5, 1, 1, 0, 0))

# Logarithms may differ in the last bit between devices; exact ratios (1 count of 3 is level 128) must not change sides.
_LOG_MARGIN = 2.0**-13


def colour_table(colour: str) -> np.ndarray:
    """The 256 colours of a map, uint8 RGB (256, 3): matplotlib's `jet` from its linear segments, or "gray" = level."""
    level = np.arange(_LEVELS)
    if colour == "gray":
        return np.repeat(level[:, None], 3, axis=1).astype(np.uint8)
    position = level / (_LEVELS - 1)
    channels = [np.interp(position, *segments) for segments in (_JET_RED, _JET_GREEN, _JET_BLUE)]
    return (np.stack(channels, axis=1) * 255).astype(np.uint8)


def colour_index(counts: Counts, scale: str) -> Tensor:
    """Level of each pixel, min(⌊256 v⌋, 255), with v = n / max n or log(1 + n) / log(1 + max n) (section 2.5).

    Parameters
    ----------
    counts
        (..., rows, columns) [photons], bad pixels 0. Each pattern is divided by its own maximum.
    scale
        "linear" or "log".

    Returns
    -------
    Tensor
        uint8, of the shape and on the device of the counts. A pattern without photons is 0 everywhere.
    """
    values = _tensor(counts).to(torch.float32)
    if scale == "log":
        values = values.log1p()
    maximum = values.amax(dim=(-2, -1), keepdim=True)
    levels = values / torch.where(maximum > 0, maximum, 1.0) * _LEVELS
    if scale == "log":
        levels += _LOG_MARGIN
    return levels.clamp_(0, _LEVELS - 1).to(torch.uint8)


def to_rgb(counts: Counts, representation: Representation) -> np.ndarray:
    """Colours of the detector pixels, for figures: counts (..., rows, columns) to uint8 (..., rows, columns, 3)."""
    return colour_table(representation.colour)[colour_index(counts, representation.scale).cpu().numpy()]


def channels(counts: Counts, representation: Representation) -> Tensor:
    """Colour channels at detector resolution, 8-bit levels / 255, on the device of the counts (N, rows, columns).

    float32 (N, 3, rows, columns) for jet, (N, 1, rows, columns) for gray, whose three channels are equal; in memory
    column by column, as `resample` wants it.
    """
    by_column = colour_index(counts, representation.scale).transpose(1, 2).contiguous()
    if representation.colour == "gray":  # the colour is the level itself
        # a GPU divides by a tensor, but multiplies by the rounded reciprocal of a number
        return (by_column.to(torch.float32) / by_column.new_full((), _LEVELS - 1))[..., None].permute(0, 3, 2, 1)
    table = _colour_channels(representation.colour, by_column.device)
    return functional.embedding(by_column.to(torch.int32), table).permute(0, 3, 2, 1)


@torch.no_grad()
def render(counts: Counts, representation: Representation, size: int, *, resize: str = "stretch") -> Tensor:
    """Network input of patterns: colour map, nearest enlargement to 954 × 1855, Darknet's bilinear resizing.

    Section 2.5 of the paper and `resize_image` / `letterbox_image` of Darknet's src/image.c, in one pass.

    Parameters
    ----------
    counts
        (N, rows, columns) [photons], bad pixels 0.
    representation
        Colour map and intensity scale.
    size
        Side of the network input [pixels].
    resize
        "stretch", or "letterbox": the aspect ratio is kept, the rest is 0.5 gray.

    Returns
    -------
    Tensor
        float32 (N, 3, size, size) in 0..1, on the device of the counts; in memory pixel by pixel (`channels_last`).

    Raises
    ------
    ProfileError
        If `resize` is unknown.
    """
    counts = _tensor(counts)
    shape, block = tuple(counts.shape[-2:]), _patterns_a_block(counts)
    axes = _resize_axes(shape, size, resize, counts.device)
    if len(counts) <= block:
        images = resample(channels(counts, representation), *axes)
    else:
        like = {"dtype": torch.float32, "device": counts.device, "memory_format": torch.channels_last}
        images = torch.empty(len(counts), 3, size, size, **like)
        for part, place in zip(counts.split(block), images.split(block), strict=True):
            place.copy_(resample(channels(part, representation), *axes))
    return fill_around(images, letterbox_shape(enlarged_shape(shape), size)) if resize == "letterbox" else images


def to_png(path: str | os.PathLike, counts: Counts, representation: Representation) -> None:
    """Write the picture that the paper's authors looked at and gave to Darknet: 954 × 1855 pixels, 8-bit RGB.

    The file is written whole or not at all; counts (rows, columns) [photons] are those of one pattern.
    """
    from PIL import Image  # only people need pictures: a facility's Python trains and classifies without Pillow

    colours = to_rgb(counts, representation)
    tall, wide = enlarged_shape(colours.shape[:2])
    rows = detector_pixel(np.arange(tall), colours.shape[0], tall)
    columns = detector_pixel(np.arange(wide), colours.shape[1], wide)
    with written_whole(path) as partial:
        Image.fromarray(colours[rows][:, columns]).save(partial, format="PNG")


def png_to_network_input(path: str | os.PathLike, size: int, resize: str = "stretch") -> np.ndarray:
    """Load a picture from `to_png` as Darknet does, to prove that `render`, which shares nothing with this, agrees.

    Returns float32 (3, size, size) in 0..1. ProfileError if `resize` is neither "stretch" nor "letterbox".
    """
    from PIL import Image

    check_resize(resize)
    with Image.open(path) as picture:
        image = np.moveaxis(np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255), -1, 0)
    tall, wide = (size, size) if resize == "stretch" else letterbox_shape(image.shape[1:], size)
    narrow = _resize_last_axis(image, wide)
    small = _resize_last_axis(narrow.swapaxes(1, 2), tall).swapaxes(1, 2)
    canvas = np.full((3, size, size), CANVAS, dtype=np.float32)
    top, left = (size - tall) // 2, (size - wide) // 2
    canvas[:, top : top + tall, left : left + wide] = small
    return canvas


@cache
def _colour_channels(colour: str, device: torch.device) -> Tensor:
    """Channels of a colour table, float32 (256, 3): sent once, as sending waits for the device."""
    return (torch.from_numpy(colour_table(colour)).to(torch.float32) / (_LEVELS - 1)).to(device)


@lru_cache(maxsize=64)
def _resize_axes(shape: tuple[int, int], size: int, resize: str, device: torch.device) -> tuple[Taps, Taps]:
    """`resize_axes` on a device, sent once."""
    rows, columns = (axis.to(device) for axis in resize_axes(shape, size, resize))
    return rows, columns


def _patterns_a_block(counts: Tensor) -> int:
    """Patterns to render at once: on a CPU few, whose colours stay in its cache and in memory that is used again."""
    if counts.device.type != "cpu":
        return len(counts)
    return max(1, _PIXELS_A_BLOCK // (counts.shape[-2] * counts.shape[-1]))


def _tensor(counts: Counts) -> Tensor:
    """Counts as a tensor; read-only arrays are copied, because torch cannot hold them."""
    return counts if isinstance(counts, Tensor) else torch.from_numpy(np.require(counts, requirements=["C", "W"]))


def _resize_last_axis(image: np.ndarray, size: int) -> np.ndarray:
    """One pass of Darknet's `resize_image`: linear, first and last pixel stay first and last."""
    length = image.shape[-1]
    position = np.arange(size, dtype=np.float32) * (np.float32(length - 1) / np.float32(max(size - 1, 1)))
    left = np.minimum(position.astype(np.int64), length - 2 if length > 1 else 0)
    share = position - left.astype(np.float32)
    resized = (1 - share) * image[..., left] + share * image[..., np.minimum(left + 1, length - 1)]
    resized[..., -1] = image[..., -1]
    return resized
