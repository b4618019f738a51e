"""Checkpoints that torch can read, or nearly, and that hold something else than they should: also code."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fuzzing.byte_mutations import Mutation


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


def _tensors(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What may stand in the place of a tensor."""
    return (
        None,
        1.5,
        "text",
        [1, 2],
        torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else -tensor - 1,
        torch.full_like(tensor, float("inf")) if tensor.is_floating_point() else tensor + 10**6,
        tensor.to(torch.complex64),
        tensor.bool(),
        tensor.flatten()[:-1],
        tensor[None],
        torch.empty(tensor.shape, device="meta"),
        torch.zeros(1).expand(10**6, 10**6),
        torch.zeros(1).expand(tensor.shape),
        torch.eye(3).to_sparse(),
        torch.empty(0),
    )


def wrong_content(path: Path, rng: np.random.Generator) -> None:
    """A value of another kind, or none, at some place."""
    content = torch.load(path, weights_only=True)
    holder, key = _place(content, rng)
    value = holder[key]
    if torch.is_tensor(value):
        others = _tensors(value)
        holder[key] = others[rng.integers(len(others))]
    else:
        others = (None, -1, 10**18, "text", [], {}, [[["a"]]], float("nan"), torch.zeros(3), {"activation": "x"})
        holder[key] = others[rng.integers(len(others))]
    torch.save(content, path)


def without_a_key(path: Path, rng: np.random.Generator) -> None:
    """Something is missing."""
    content = torch.load(path, weights_only=True)
    holder, key = _place(content, rng)
    del holder[key]
    torch.save(content, path)


def other_whole(path: Path, rng: np.random.Generator) -> None:
    """No mapping, or one of something else."""
    others = (None, 3, "text", [1], torch.zeros(3), {}, {"weights": {}}, {1: 2}, {"weights": torch.zeros(2)})
    torch.save(others[rng.integers(len(others))], path)


def code(path: Path, rng: np.random.Generator) -> None:
    """A payload that runs a command: in our place, in torch's older format, as a bare pickle, in a name."""
    content = torch.load(path, weights_only=True)
    mark = path.parent / "pwned"
    call = f"__import__('os').system('touch {mark}')"
    network = {"nc": 1, "activation": call, "backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": [[-1, 1, "Conv", [8]]]}
    (path.parent / "evil.yaml").write_text(f'nc: 1\nactivation: "{call}"\nbackbone: []\nhead: []\n')
    writers: tuple[Callable[[], object], ...] = (
        lambda: torch.save(content | {"weights": Payload(mark)}, path),
        lambda: torch.save(content | {"weights": Payload(mark)}, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps(Payload(mark))),
        lambda: torch.save(content | {"model": network}, path),
        lambda: torch.save(content | {"model": str(path.parent / "evil.yaml")}, path),
        lambda: torch.save(content | {"model": "http://localhost:9/evil.yaml"}, path),
        lambda: torch.save(torch.nn.Linear(2, 2), path),
    )
    writers[rng.integers(len(writers))]()


def packed(path: Path, rng: np.random.Generator) -> None:
    """The archive again, but packed, with names that lead out of it, with a bomb inside, or with a wrong checksum."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    kind = rng.integers(5)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind < 3 else zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            if kind == 1 and "/data/0" in name:
                data = bytes(60_000_000)
            archive.writestr(f"../../{name}" if kind == 2 else name, data)
        if kind == 3:
            archive.writestr("../../outside", "x")
    if kind == 4:
        content = bytearray(path.read_bytes())
        largest = max(members.values(), key=len)
        content[content.find(largest) + len(largest) // 2] ^= 0x10
        path.write_bytes(content)


def _place(content: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """A random place: the deeper the rarer."""
    holder, key = content, list(content)[rng.integers(len(content))]
    while rng.integers(3) and isinstance(holder[key], dict | list) and len(holder[key]):
        holder = holder[key]
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = keys[rng.integers(len(keys))]
    if isinstance(holder, tuple):
        return content, next(iter(content))
    return holder, key


CHECKPOINTS: tuple[Mutation, ...] = (
    wrong_content,
    wrong_content,
    wrong_content,
    without_a_key,
    other_whole,
    code,
    packed,
)
