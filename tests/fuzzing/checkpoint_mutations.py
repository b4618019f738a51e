"""Checkpoints with a right checksum that hold something else than they should, broken headers, and code."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.system import load_tensors, save_tensors
from helpers.system.tensor_files import _NO_CHECKSUM, _OURS, _checksum
from tests.fuzzing.byte_mutations import Mutation

CPU = torch.device("cpu")


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.mark}",)


def _other_tensors(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What may stand in the place of a tensor."""
    return (
        None,
        1.5,
        "text",
        [1, 2],
        torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else -tensor - 1,
        torch.full_like(tensor, float("inf")) if tensor.is_floating_point() else tensor + 10**6,
        tensor.to(torch.complex64),
        tensor.to(torch.bfloat16),
        tensor.bool(),
        tensor.flatten()[:-1].clone(),
        tensor[None],
        torch.empty(0),
    )


def wrong_content(path: Path, rng: np.random.Generator) -> None:
    """A value of another kind, or none, at some place."""
    content = load_tensors(path, CPU)
    holder, key = _place(content, rng)
    value = holder[key]
    if torch.is_tensor(value):
        others = _other_tensors(value)
    else:
        others = (None, -1, 10**18, "text", [], {}, [[["a"]]], float("nan"), torch.zeros(3), {"activation": "x"})
    others = others if isinstance(holder, dict) else [one for one in others if not torch.is_tensor(one)]
    holder[key] = others[rng.integers(len(others))]
    save_tensors(path, content)


def without_a_key(path: Path, rng: np.random.Generator) -> None:
    """Something is missing."""
    content = load_tensors(path, CPU)
    holder, key = _place(content, rng)
    del holder[key]
    save_tensors(path, content)


def other_whole(path: Path, rng: np.random.Generator) -> None:
    """Nothing, or something else."""
    others = ({}, {"weights": {}}, {"weights": torch.zeros(2)}, {"weights": {"a": torch.zeros(2)}}, {"a/b/c": 3})
    save_tensors(path, others[rng.integers(len(others))])


def code(path: Path, rng: np.random.Generator) -> None:
    """A payload that runs a command: as torch and pickle write it, and in the description of a model."""
    content = load_tensors(path, CPU)
    mark = path.parent / "pwned"
    call = f"__import__('os').system('touch {mark}')"
    network = {"nc": 1, "activation": call, "backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": [[-1, 1, "Conv", [8]]]}
    (path.parent / "evil.yaml").write_text(f'nc: 1\nactivation: "{call}"\nbackbone: []\nhead: []\n')
    writers: tuple[Callable[[], object], ...] = (
        lambda: torch.save({"weights": Payload(mark)}, path),
        lambda: torch.save({"weights": Payload(mark)}, path, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps(Payload(mark))),
        lambda: save_tensors(path, content | {"model": network}),
        lambda: save_tensors(path, content | {"model": str(path.parent / "evil.yaml")}),
        lambda: save_tensors(path, content | {"model": "http://localhost:9/evil.yaml"}),
    )
    writers[rng.integers(len(writers))]()


def wrong_header(path: Path, rng: np.random.Generator) -> None:
    """A header that lies about where tensors are and how large, or that says something else; its checksum is right."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    names = [name for name in header if name != "__metadata__"]
    name, other = (names[rng.integers(len(names))] for _ in range(2))
    about = json.loads(header["__metadata__"][_OURS]) | {"checksum": _NO_CHECKSUM.decode()}
    changes: tuple[Callable[[], object], ...] = (
        lambda: header[name].update(shape=[10**6, 10**6]),
        lambda: header[name].update(shape=[2**63, 2]),
        lambda: header[name].update(dtype="F128"),
        lambda: header[name].update(data_offsets=[0, 2**62]),
        lambda: header[name].update(data_offsets=[8, 0]),
        lambda: header[name].update(data_offsets=header[other]["data_offsets"]),
        lambda: header.update({"../../outside": header.pop(name)}),
        lambda: header.update({f"{other}/{name}": header.pop(name)}),
        lambda: about.update(content=[]),
        lambda: about.update(content={"weights": 3}),
        lambda: about["content"].update(deep=json.loads("[" * 400 + "]" * 400)),
    )
    changes[rng.integers(len(changes))]()
    header["__metadata__"] = {_OURS: json.dumps(about)}
    text = json.dumps(header).encode()
    written = bytearray(len(text).to_bytes(8, "little") + text + data)
    place = written.find(_NO_CHECKSUM)
    written[place : place + len(_NO_CHECKSUM)] = _checksum(written, place)
    path.write_bytes(written)


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
    wrong_header,
)
