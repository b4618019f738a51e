"""Tensors and plain values in safetensors files: atomic, checked to the last bit, without code.

A nested mapping `{"iteration": 100, "weights": {"bias": tensor}}` becomes a tensor `weights/bias` and, in the header,
the rest as JSON with the SHA-256 of all other bytes of the file.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from helpers.errors import NetworkFileError
from helpers.system.files import written_whole
from helpers.system.tables_and_json import in_short

_OURS = "workbook"
"""Our entry in the header's metadata; one alone, because safetensors puts several in any order."""
_NO_CHECKSUM = b"0" * 64


def save_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all; equal content gives equal bytes.

    Parameters
    ----------
    path
        File to write; its folder is made if needed.
    content
        Name → a tensor, a value that JSON can hold, or a mapping of such; names without `/`. Two tensors must not share
        memory. Names and tuples are read back as text and lists.
    """
    tensors = dict(_tensors(content))
    header = json.dumps({"checksum": _NO_CHECKSUM.decode(), "content": _plain(content)}, sort_keys=True)
    whole = bytearray(safetensors.torch.save(tensors, {_OURS: header}))
    place = whole.find(_NO_CHECKSUM)
    whole[place : place + len(_NO_CHECKSUM)] = _checksum(whole, place)
    with written_whole(path) as partial:
        partial.write_bytes(whole)


def load_tensors(path: Path, device: torch.device) -> dict[str, Any]:
    """Read what `save_tensors` wrote; a file of which a bit has changed is refused.

    Parameters
    ----------
    path
        File that `save_tensors` has written.
    device
        Device that the tensors are brought to.

    Raises
    ------
    NetworkFileError
        If the file is missing, damaged or of another kind.
    """
    if not path.exists():
        raise NetworkFileError(f"{path}: no such checkpoint; train the family first (workbook run --only 04)")
    try:
        whole = path.read_bytes()
        content = _checked_content(whole)
        for name, tensor in safetensors.torch.load(whole).items():
            *above, last = name.split("/")
            holder = content
            for key in above:
                holder = holder.setdefault(key, {})
            holder.setdefault(last, tensor.to(device))
    except (SafetensorError, OSError, LookupError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise NetworkFileError(
            f"{path}: not a checkpoint of this workbook ({in_short(error)}); train it anew"
        ) from error
    return content


def _tensors(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Each tensor of a nested mapping with its name in the file; files hold them row by row."""
    for key, value in content.items():
        if torch.is_tensor(value):
            yield f"{above}{key}", value.contiguous()
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{above}{key}/")


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping without its tensors."""
    rest = {str(key): value for key, value in content.items() if not torch.is_tensor(value)}
    return {key: _plain(value) if isinstance(value, Mapping) else value for key, value in rest.items()}


def _checked_content(whole: bytes) -> dict[str, Any]:
    """The plain values of a file; its checksum must be that of its bytes."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(json.loads(whole[8 : 8 + length])["__metadata__"][_OURS])
    checksum, content = header["checksum"].encode(), header["content"]
    if _checksum(whole, whole.find(checksum)) != checksum or not isinstance(content, dict):
        raise ValueError("its checksum is wrong")
    return content


def _checksum(whole: bytes | bytearray, place: int) -> bytes:
    """SHA-256 of a file, in hexadecimal, with zeros for the checksum that stands at `place`."""
    digest = hashlib.sha256(whole[:place] + _NO_CHECKSUM)
    digest.update(memoryview(whole)[place + len(_NO_CHECKSUM) :])
    return digest.hexdigest().encode()


def check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are no numbers: every score would be NaN, and no pattern a single hit.

    Raises
    ------
    NetworkFileError
        If there are any; the file and the tensor are named.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NetworkFileError(f"{path}: {name} holds NaN or infinite weights; train it anew")
