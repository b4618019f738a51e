"""Read and write Darknet's `.weights` files, and the `.conv.NN` files of a trained backbone.

A header (int32 major, minor, revision; images seen as int32 before version 0.2, int64 since), then float32 a
convolution: biases, if normalised scales, rolling means and variances, then weights. Little-endian throughout.
"""

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from helpers.darknet.layers import Convolutional
from helpers.darknet.network import Network
from helpers.errors import NetworkFileError
from helpers.system import written_whole

_VERSION = (0, 2, 0)
_FLOAT = np.dtype("<f4")


def float_counts(network: Network) -> list[int]:
    """Numbers of floats that a `.weights` file holds of each convolution, in order."""
    return [sum(tensor.numel() for tensor in layer.file_tensors) for layer in network.convolutions]


def read_weights(network: Network, path: str | os.PathLike) -> int:
    """Fill all convolutions of a network from a `.weights` file.

    Parameters
    ----------
    network
        Changed in place; left as it was if the file does not fit.
    path
        `.weights` file of exactly this network.

    Returns
    -------
    int
        Images seen in training, from the header of the file.

    Raises
    ------
    NetworkFileError
        If the file is not there, has no whole header, or holds one float more or less than the network needs.
    """
    seen, floats = _read(path)
    expected = sum(float_counts(network))
    if len(floats) != expected:
        raise NetworkFileError(
            f"{path}: expected {expected} floats for this network, found {len(floats)}; read it with the .cfg, width "
            "and classes that it was made with, or with read_backbone if it holds only the first layers"
        )
    _fill(network.convolutions, floats)
    return seen


def read_backbone(network: Network, path: str | os.PathLike) -> tuple[int, int]:
    """Fill the first convolutions of a network from a file such as `darknet19_448.conv.23` or `darknet53.conv.74`.

    Parameters
    ----------
    network
        Changed in place; left as it was if the file does not fit.
    path
        File of the first convolutions; must end exactly where one ends.

    Returns
    -------
    convolutions : int
        Number of convolutions that were filled.
    seen : int
        Images seen in training, from the header of the file (0 in the published ones).

    Raises
    ------
    NetworkFileError
        If the file is not there, has no whole header, or ends within a convolution or after the last.
    """
    seen, floats = _read(path)
    ends = np.cumsum(float_counts(network))
    filled = int(np.searchsorted(ends, len(floats), side="right"))
    if filled == 0 or ends[filled - 1] != len(floats):
        before, after = (ends[filled - 1] if filled else 0), (ends[filled] if filled < len(ends) else None)
        until = f"{after} up to the next" if after is not None else "no more follow"
        raise NetworkFileError(
            f"{path}: found {len(floats)} floats, expected {before} up to the end of convolution {filled}, {until}; "
            "a backbone fits only the network, and the width 1, that it was made for"
        )
    _fill(network.convolutions[:filled], floats)
    return filled, seen


def write_weights(network: Network, path: str | os.PathLike, *, seen: int) -> None:
    """Write a `.weights` file of version 0.2.0 that Darknet, and `read_weights`, can read; an existing one is replaced.

    Parameters
    ----------
    network
        Network on any device.
    path
        File to write.
    seen
        Images seen in training; Darknet continues its schedule from there.
    """
    with written_whole(path) as partial, open(partial, "wb") as stream:
        stream.write(struct.pack("<iiiq", *_VERSION, seen))
        for layer in network.convolutions:
            for tensor in layer.file_tensors:
                stream.write(tensor.detach().cpu().numpy().astype(_FLOAT).tobytes())


def _read(path: str | os.PathLike) -> tuple[int, np.ndarray]:
    """Images seen and all floats of a file."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise OSError(errno.EINVAL, "no regular file")
        content = Path(path).read_bytes()
    except (OSError, MemoryError) as reason:
        raise NetworkFileError(
            f"{path}: cannot be read ({getattr(reason, 'strerror', None) or 'too large'}); give a Darknet .weights file"
        ) from None
    header = "<iiiq" if len(content) >= 12 and _is_long(*struct.unpack_from("<ii", content)) else "<iiii"
    start = struct.calcsize(header)
    if len(content) < start or (len(content) - start) % _FLOAT.itemsize:
        raise NetworkFileError(
            f"{path}: {len(content)} bytes are not a header of {start} bytes and whole float32 numbers; "
            "the file is cut or not a Darknet .weights file"
        )
    seen, floats = struct.unpack_from(header, content)[3], np.frombuffer(content, _FLOAT, offset=start)
    if seen < 0 or not np.isfinite(floats).all():
        raise NetworkFileError(
            f"{path}: holds NaN or infinite weights, or has seen {seen} images; the file is damaged, copy it again"
        )
    return seen, floats


def _is_long(major: int, minor: int) -> bool:
    """Tell whether a version stores the images seen in 64 bits (load_weights_upto in Darknet's parser.c)."""
    return major * 10 + minor >= 2 and major < 1000 and minor < 1000


@torch.no_grad()
def _fill(convolutions: Sequence[Convolutional], floats: np.ndarray) -> None:
    """Copy floats into the tensors of convolutions, in the order of the file."""
    start = 0
    for layer in convolutions:
        for tensor in layer.file_tensors:
            stop = start + tensor.numel()
            tensor.copy_(torch.from_numpy(floats[start:stop].astype(np.float32)).reshape(tensor.shape))
            start = stop
