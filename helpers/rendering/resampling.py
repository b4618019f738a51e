"""Pictures of patterns as mixtures of detector pixels: enlargement and Darknet's resizing in one step (section 2.5).

The paper enlarges 123 × 240 detector pixels to 954 × 1855 and Darknet shrinks them to its input. Along one axis each
pixel of the input is a mixture of at most two detector pixels, so the whole way is rows · pattern · columnsᵀ, with two
matrices that are nearly empty: `resample` reads just the two pixels.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from helpers.errors import ProfileError

# how Darknet brings a picture to the square input: `resize_image` (until 2017, AlexeyAB) or `letterbox_image`
RESIZES = ("stretch", "letterbox")
ENLARGEMENT = (954 / 123, 1855 / 240)  # written-out pixels per detector pixel along rows and columns (section 2.5)
CANVAS = 0.5  # gray level that Darknet leaves where a picture does not cover the input


def enlarged_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the written-out picture: 954 × 1855 for 123 × 240 pixels, the same factors for others."""
    rows, columns = shape
    return round(rows * ENLARGEMENT[0]), round(columns * ENLARGEMENT[1])


def detector_pixel(target: np.ndarray | Tensor, pixels: int, enlarged: int) -> np.ndarray | Tensor:
    """Detector pixel that a pixel of the enlarged picture shows: nearest neighbour, ⌊(target + ½) pixels / enlarged⌋.

    `pixels` and `enlarged` are the lengths of the axis at the detector and in the picture.
    """
    return (2 * target + 1) * pixels // (2 * enlarged)


def resize_taps(length: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels that Darknet's `resize_image` mixes for each target pixel (src/image.c), corners aligned.

    From lengths int64 (...) to first and second pixel, int64 (..., size), and the weight of the second, float32; the
    first has 1 - share.
    """
    last = (length - 1)[..., None]
    # In float32, as Darknet: the rounding of the positions is part of its result.
    position = torch.arange(size, device=length.device, dtype=torch.float32) * (
        last.to(torch.float32) / max(size - 1, 1)
    )
    first = position.floor().to(torch.int64)
    share = position - first
    first[..., -1:] = last
    share[..., -1:].zero_()
    return first, torch.minimum(first + 1, last), share


class Taps(NamedTuple):
    """The detector pixels that the input pixels mix along one axis: one axis for all images, or one an image."""

    first: Tensor  # int64 (..., size): a detector pixel; a negative one contributes nothing
    second: Tensor  # int64 (..., size): likewise, not before `first`
    share: Tensor  # float32 (..., size): weight of `second`; `first` has 1 - share

    def to(self, device: torch.device) -> "Taps":
        """The same on a device."""
        return Taps(*(field.to(device) for field in self))

    def mirrored(self, where: Tensor) -> "Taps":
        """The axis the other way round in those images that `where` (N,) marks."""
        return Taps(*(torch.where(where[:, None], field.flip(-1), field) for field in self))


def resample(channels: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """Images of detector pixels: each axis mixed from two pixels, columns first.

    From channels float32 (N, 3 or 1, rows, columns), fastest if each column lies together in memory, pixel by pixel, to
    float32 (N, 3, size, size), in memory pixel by pixel (`torch.channels_last`); one channel is repeated.
    """
    # (N, columns, rows · channels): the columns of an image are mixed first
    wide = _mix(channels.permute(0, 3, 2, 1).flatten(2), columns)
    # (N, rows, size · 3): rows to the middle, a gray channel three times
    by_row = wide.unflatten(2, (channels.shape[2], channels.shape[1])).transpose(1, 2).expand(-1, -1, -1, 3)
    return _mix(by_row.flatten(2), rows).unflatten(2, (columns.first.shape[-1], 3)).permute(0, 3, 1, 2)


def _mix(values: Tensor, taps: Taps) -> Tensor:
    """Mix values (N, pixels, features) along the middle axis: (N, size, features), (1 - share) first + share second."""
    number, pixels, features = values.shape
    # two pixels and two weights for each target: (N, size, 2); a pixel that contributes nothing (-1) weighs 0
    share = taps.share.masked_fill(taps.first == taps.second, 0)  # a pixel mixed with itself stays what it is
    pair = torch.stack([taps.first, taps.second], dim=-1)
    weights = torch.stack([1 - share, share], dim=-1).masked_fill(pair < 0, 0)
    # all images in one list of pixels, each with its own start: then one gathering sum mixes them
    start = pixels * torch.arange(number, device=values.device)[:, None, None]
    mixed = functional.embedding_bag(
        (pair.clamp(min=0) + start).flatten(0, 1),
        values.reshape(number * pixels, features),
        mode="sum",
        per_sample_weights=weights.expand(number, -1, -1).reshape(-1, 2),
    )
    return mixed.reshape(number, taps.first.shape[-1], features)


def fill_canvas(images: Tensor, rows: Taps, columns: Taps) -> None:
    """Paint 0.5 gray, in place, where no detector pixel contributes; the axes are those that `resample` was given."""
    covered = (rows.first >= 0)[..., :, None] & (columns.first >= 0)[..., None, :]
    images.masked_fill_(~covered.reshape(-1, 1, *covered.shape[-2:]), CANVAS)


def fill_around(images: Tensor, covered: tuple[int, int]) -> Tensor:
    """Paint 0.5 gray, in place, around pictures of `covered` rows and columns in the middle of their images."""
    for axis, length in zip((2, 3), covered, strict=True):
        before = (images.shape[axis] - length) // 2
        images.narrow(axis, 0, before).fill_(CANVAS)
        images.narrow(axis, before + length, images.shape[axis] - before - length).fill_(CANVAS)
    return images


def resize_axes(shape: tuple[int, int], size: int, resize: str) -> tuple[Taps, Taps]:
    """Rows and columns (size,) of the enlargement and Darknet's resizing together, for patterns of a shape.

    ProfileError if `resize` is neither "stretch" nor "letterbox".
    """
    check_resize(resize)
    enlarged = enlarged_shape(shape)
    targets = (size, size) if resize == "stretch" else letterbox_shape(enlarged, size)
    axes = zip(shape, enlarged, targets, strict=True)
    rows, columns = (_axis(pixels, length, target, size) for pixels, length, target in axes)
    return rows, columns


def check_resize(resize: str) -> None:
    """Raise ProfileError if `resize` is not one of `RESIZES`."""
    if resize not in RESIZES:
        raise ProfileError(f"resize must be one of {', '.join(RESIZES)}, got {resize!r}")


def letterbox_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Rows and columns that a picture fills of the input, aspect ratio kept (`letterbox_image`, integer division)."""
    tall, wide = shape
    if size / wide < size / tall:
        return tall * size // wide, size
    return size, wide * size // tall


def _axis(pixels: int, enlarged: int, target: int, size: int) -> Taps:
    """One axis whose picture covers `target` of the `size` pixels, in the middle."""
    first, second, share = resize_taps(torch.tensor(enlarged), target)
    first, second = (detector_pixel(tap, pixels, enlarged) for tap in (first, second))
    before = (size - target) // 2
    around = before, size - target - before
    return Taps(*(functional.pad(tap, around, value=-1) for tap in (first, second)), functional.pad(share, around))
