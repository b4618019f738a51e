"""Read and write Darknet's `.weights` files, and the `.conv.NN` files of a trained backbone.

A header (int32 major, minor, revision; images seen as int32 before version 0.2, int64 since), then float32 a
convolution: biases, if normalised scales, rolling means and variances, then weights. Little-endian throughout.
"""

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from helpers.darknet.layers import Convolutional
from helpers.darknet.network import Network
from helpers.errors import NetworkFileError
from helpers.system import written_whole

_VERSION = (0, 2, 0)
_LARGEST_VERSION = 1000
# how other files begin that are given for weights
_OTHER_FILES = {
    b"\x1f\x8b": "is compressed; unpack it with gunzip",
    b"PK\x03\x04": "is an archive, of zip or PyTorch; give a Darknet .weights file",
    b"<!doctype": "is a web page; download the file itself",
    b"<html": "is a web page; download the file itself",
    b"version https://git-lfs": "is a pointer of Git LFS; fetch the file itself",
    b"\0\0\0\0\0\0\0\1": "has its bytes in big-endian order; swap those of each number",
    b"\0\0\0\0\0\0\0\2": "has its bytes in big-endian order; swap those of each number",
}
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
    content = _read(path)
    expected, found = sum(float_counts(network)), len(content.floats)
    if found != expected:
        raise NetworkFileError(
            f"{path}: expected {expected} floats for this network, found {found}; "
            + (
                content.wrong_version(found - expected)
                or "read it with the .cfg, width and classes that it was made with, or with read_backbone if it holds "
                "only the first layers"
            )
        )
    _check(path, content)
    _fill(network.convolutions, content.floats)
    return content.seen


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
    content = _read(path)
    ends, found = np.cumsum(float_counts(network)), len(content.floats)
    filled = int(np.searchsorted(ends, found, side="right"))
    if filled == 0 or ends[filled - 1] != found:
        before, after = (ends[filled - 1] if filled else 0), (ends[filled] if filled < len(ends) else None)
        until = f"{after} up to the next" if after is not None else "no more follow"
        reasons = [content.wrong_version(int(found - end)) for end in (before, after) if end]
        raise NetworkFileError(
            f"{path}: found {found} floats, expected {before} up to the end of convolution {filled}, {until}; "
            + ("".join(reasons) or "a backbone fits only the network, and the width 1, that it was made for")
        )
    _check(path, content)
    _fill(network.convolutions[:filled], content.floats)
    return filled, content.seen


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


class _Content(NamedTuple):
    """Version (major, minor), images seen and floats of a file."""

    version: tuple[int, int]
    seen: int
    floats: np.ndarray

    def wrong_version(self, surplus: int) -> str:
        """Say what is the matter if one float too many or too few comes of a header of the other length, else ""."""
        is_long = _is_long(*self.version)
        if surplus != (-1 if is_long else 1) or not all(0 <= number < _LARGEST_VERSION for number in self.version):
            return ""
        ours, theirs = ("20", "16 bytes, that of version 0.1") if is_long else ("16", "20 bytes, that of version 0.2")
        return (
            f"its header says version {'.'.join(map(str, self.version))}, of {ours} bytes, but seems to have {theirs}; "
            f"write {1 if is_long else 2} as its second number (bytes 4 to 7)"
        )


def _read(path: str | os.PathLike) -> _Content:
    """Content of a file, which may be of another network."""
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise OSError(errno.EINVAL, "no regular file")
        content = Path(path).read_bytes()
    except (OSError, MemoryError) as reason:
        raise NetworkFileError(
            f"{path}: cannot be read ({getattr(reason, 'strerror', None) or 'too large'}); give a Darknet .weights file"
        ) from None
    for beginning, reason in _OTHER_FILES.items():
        if content[: len(beginning)].lower() == beginning.lower():
            raise NetworkFileError(f"{path}: {reason}")
    version = struct.unpack_from("<ii", content.ljust(8, b"\0"))
    header = "<iiiq" if len(content) >= 12 and _is_long(*version) else "<iiii"
    start = struct.calcsize(header)
    if len(content) < start or (len(content) - start) % _FLOAT.itemsize:
        raise NetworkFileError(
            f"{path}: {len(content)} bytes are not a header of {start} bytes and whole float32 numbers; "
            "the file is cut or not a Darknet .weights file"
        )
    return _Content(version, struct.unpack_from(header, content)[3], np.frombuffer(content, _FLOAT, offset=start))


def _check(path: str | os.PathLike, content: _Content) -> None:
    """Raise NetworkFileError if the content cannot be that of a trained network."""
    if content.seen < 0 or not np.isfinite(content.floats).all():
        raise NetworkFileError(
            f"{path}: holds NaN or infinite weights, or has seen {content.seen} images; the file is damaged, copy it "
            "again"
        )


def _is_long(major: int, minor: int) -> bool:
    """Tell whether a version stores the images seen in 64 bits (load_weights_upto in Darknet's parser.c)."""
    return major * 10 + minor >= 2 and major < _LARGEST_VERSION and minor < _LARGEST_VERSION


@torch.no_grad()
def _fill(convolutions: Sequence[Convolutional], floats: np.ndarray) -> None:
    """Copy floats into the tensors of convolutions, in the order of the file."""
    start = 0
    for layer in convolutions:
        for tensor in layer.file_tensors:
            stop = start + tensor.numel()
            tensor.copy_(torch.from_numpy(floats[start:stop].astype(np.float32)).reshape(tensor.shape))
            start = stop
