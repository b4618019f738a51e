"""Tensors and plain values in files: atomic, checked, without code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from helpers.errors import NetworkFileError
from helpers.system import written_whole

_DEEPEST = 16


def save_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all; equal content gives equal bytes."""
    with written_whole(path) as partial, open(partial, "wb") as stream:
        torch.save(dict(content), stream)


def load_tensors(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `save_tensors` wrote; a file that carries code is refused, and so is one of which a bit has changed.

    Raises
    ------
    NetworkFileError
        If it is missing, damaged, or holds more than tensors and plain values.
    """
    if not path.exists():
        raise NetworkFileError(f"{path}: no such checkpoint; train the family first (workbook run --only 04)")
    try:
        _check_archive(path)
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises pickle, zip, and runtime errors alike
        raise NetworkFileError(
            f"{path}: not a checkpoint of this workbook ({type(error).__name__}); train it anew"
        ) from error
    if not isinstance(content, dict) or not _is_plain(content):
        raise NetworkFileError(f"{path}: holds more than tensors and plain values by name; train it anew")
    return content


def _check_archive(path: Path) -> None:
    """Raise unless each member is stored as it is, with the checksum that torch has written; torch does not look."""
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()) or archive.testzip():
            raise zipfile.BadZipFile("packed, or with a wrong checksum")


def _is_plain(value: object, *, depth: int = 0) -> bool:
    """Whether a value is plain or a tensor, or made up of such: each tensor in memory as large as it says."""
    if torch.is_tensor(value):
        dense = value.layout == torch.strided and not value.is_meta and not value.is_quantized
        return dense and not value.is_complex() and value.untyped_storage().nbytes() >= value.nbytes
    if isinstance(value, dict | list | tuple) and depth < _DEEPEST:
        values = [*value, *value.values()] if isinstance(value, dict) else value
        return all(_is_plain(one, depth=depth + 1) for one in values)
    return value is None or isinstance(value, bool | int | float | str)


def check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are no numbers: every score would be NaN, and no pattern a single hit.

    Raises
    ------
    NetworkFileError
        If there are any; the tensor is named.
    """
    for name, tensor in tensors.items():
        if torch.is_tensor(tensor) and tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NetworkFileError(f"{path}: {name} holds NaN or infinite weights; train it anew")
