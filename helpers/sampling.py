"""Pictures of patterns as small matrices: nearest enlargement and Darknet's resizing in one step (section 2.5).

The paper enlarges 123 × 240 detector pixels to 954 × 1855 and Darknet shrinks them to its input. Along one axis each
pixel of the input is a mixture of at most two detector pixels, so the whole way is rows · pattern · columnsᵀ.
"""

import numpy as np
import torch
from torch import Tensor

from helpers.errors import ProfileError

RESIZES = ("stretch", "letterbox")
"""How Darknet brings a picture to the square input: `resize_image` (until 2017, AlexeyAB) or `letterbox_image`."""

ENLARGEMENT = (954 / 123, 1855 / 240)
"""Pixels of the written-out picture per detector pixel along rows and columns (section 2.5)."""

CANVAS = 0.5
"""Gray level that Darknet leaves where a picture does not cover the input."""


def enlarged_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Size of the written-out picture: 954 × 1855 for 123 × 240 pixels, the same factors for other shapes.

    Parameters
    ----------
    shape
        Rows and columns of a pattern [pixels].

    Returns
    -------
    tuple
        Rows and columns of the picture [pixels].
    """
    rows, columns = shape
    return round(rows * ENLARGEMENT[0]), round(columns * ENLARGEMENT[1])


def detector_pixel(target: np.ndarray | Tensor, pixels: int, enlarged: int) -> np.ndarray | Tensor:
    """Detector pixel that a pixel of the enlarged picture shows: nearest neighbour, ⌊(target + ½) pixels / enlarged⌋.

    Parameters
    ----------
    target
        Integer pixels of the enlarged picture along one axis.
    pixels, enlarged
        Length of that axis at the detector and in the picture [pixels].

    Returns
    -------
    ndarray or Tensor
        Integers 0 … pixels - 1, like `target`.
    """
    return (2 * target + 1) * pixels // (2 * enlarged)


def resize_taps(length: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels that Darknet's `resize_image` mixes for each target pixel (src/image.c), corners aligned.

    Parameters
    ----------
    length
        int64 (...): lengths of the axis before [pixels].
    size
        Length after [pixels].

    Returns
    -------
    first, second : Tensor
        int64 (..., size): pixels of the axis before.
    share : Tensor
        float32 (..., size): weight of `second`; `first` has 1 - share.
    """
    last = (length - 1)[..., None]
    # In float32, as Darknet: the rounding of the positions is part of its result.
    position = torch.arange(size, device=length.device, dtype=torch.float32) * (
        last.to(torch.float32) / max(size - 1, 1)
    )
    first = position.floor().to(torch.int64)
    share = position - first
    first[..., -1:] = last
    share[..., -1] = 0
    return first, torch.minimum(first + 1, last), share


def tap_weights(first: Tensor, second: Tensor, share: Tensor, pixels: int) -> Tensor:
    """Matrix that mixes two detector pixels into each target pixel.

    Parameters
    ----------
    first, second
        int64 (..., size): detector pixels; a negative one contributes nothing.
    share
        float32 (..., size): weight of `second`.
    pixels
        Length of the axis at the detector [pixels].

    Returns
    -------
    Tensor
        float32 (..., size, pixels).
    """
    pixel = torch.arange(pixels, device=first.device)
    weight = share[..., None]
    return (1 - weight) * (pixel == first[..., None]) + weight * (pixel == second[..., None])


def resample(channels: Tensor, row_weights: Tensor, column_weights: Tensor) -> Tensor:
    """Images = row weights · channels · column weightsᵀ.

    Parameters
    ----------
    channels
        float32 (N, channels, rows, columns).
    row_weights, column_weights
        float32 (size, rows) and (size, columns), or (N, 1, size, …) for one pair of matrices an image.

    Returns
    -------
    Tensor
        float32 (N, channels, size, size).
    """
    # Colours are exact to 1/255: half precision, which a training loop may have switched on, would blur them.
    with torch.autocast(channels.device.type, enabled=False):
        return row_weights @ (channels @ column_weights.mT)


def fill_canvas(images: Tensor, row_weights: Tensor, column_weights: Tensor) -> Tensor:
    """Paint 0.5 gray, in place, where no detector pixel contributes.

    Parameters
    ----------
    images
        (N, channels, size, size) from `resample`.
    row_weights, column_weights
        The matrices they were made with.

    Returns
    -------
    Tensor
        `images`.
    """
    covered_rows = row_weights.any(dim=-1)[..., :, None]
    covered_columns = column_weights.any(dim=-1)[..., None, :]
    return images.masked_fill_(~(covered_rows & covered_columns), CANVAS)


def resize_weights(shape: tuple[int, int], size: int, resize: str) -> tuple[Tensor, Tensor]:
    """Matrices of the enlargement and Darknet's resizing together.

    Parameters
    ----------
    shape
        Rows and columns of a pattern [pixels].
    size
        Side of the network input [pixels].
    resize
        "stretch" or "letterbox".

    Returns
    -------
    tuple of Tensor
        float32 (size, rows) and (size, columns).

    Raises
    ------
    ProfileError
        If `resize` is unknown.
    """
    check_resize(resize)
    enlarged = enlarged_shape(shape)
    targets = (size, size) if resize == "stretch" else letterbox_shape(enlarged, size)
    axes = zip(shape, enlarged, targets, strict=True)
    rows, columns = (_axis_weights(pixels, length, target, size) for pixels, length, target in axes)
    return rows, columns


def check_resize(resize: str) -> None:
    """Refuse an unknown way to resize.

    Raises
    ------
    ProfileError
        If `resize` is not one of `RESIZES`.
    """
    if resize not in RESIZES:
        raise ProfileError(f"resize must be one of {', '.join(RESIZES)}, got {resize!r}")


def letterbox_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Size of a picture that fits the input with its aspect ratio kept (Darknet's `letterbox_image`, integer division).

    Parameters
    ----------
    shape
        Rows and columns of the picture [pixels].
    size
        Side of the network input [pixels].

    Returns
    -------
    tuple
        Rows and columns of the picture inside the input [pixels].
    """
    tall, wide = shape
    if size / wide < size / tall:
        return tall * size // wide, size
    return size, wide * size // tall


def _axis_weights(pixels: int, enlarged: int, target: int, size: int) -> Tensor:
    """Matrix (size, pixels) of one axis whose picture covers `target` of the `size` pixels, in the middle."""
    first, second, share = resize_taps(torch.tensor(enlarged), target)
    weights = torch.zeros(size, pixels)
    offset = (size - target) // 2
    weights[offset : offset + target] = tap_weights(
        detector_pixel(first, pixels, enlarged), detector_pixel(second, pixels, enlarged), share, pixels
    )
    return weights
