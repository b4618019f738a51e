"""Damage that any file can take: bits that flip, copies that end early, blocks that change places."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

Mutation = Callable[[Path, np.random.Generator], None]
"""Changes a file in place; the same generator gives the same change."""

_HEAD = 768
_EXTREMES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


def flip_bits(path: Path, rng: np.random.Generator) -> None:
    """One to four bits anywhere."""
    content = _content(path)
    for place in rng.integers(len(content), size=rng.integers(1, 5)):
        content[place] ^= 1 << rng.integers(8)
    path.write_bytes(content)


def flip_in_head(path: Path, rng: np.random.Generator) -> None:
    """One to eight bytes near the beginning, where most formats say what follows."""
    content = _content(path)
    for place in rng.integers(min(_HEAD, len(content)), size=rng.integers(1, 9)):
        content[place] = rng.integers(256)
    path.write_bytes(content)


def overwrite_number(path: Path, rng: np.random.Generator) -> None:
    """Four or eight bytes become an extreme number: a size, an offset, a count."""
    content = _content(path)
    length = int(rng.choice([4, 8]))
    place = int(rng.integers(max(1, len(content) - length)))
    value = int(_EXTREMES[rng.integers(len(_EXTREMES))]) % 256**length
    content[place : place + length] = value.to_bytes(length, "little")
    path.write_bytes(content)


def overwrite_block(path: Path, rng: np.random.Generator) -> None:
    """A run of bytes becomes zeros, ones or noise."""
    content = _content(path)
    place, length = int(rng.integers(len(content))), int(rng.integers(1, 200))
    length = min(length, len(content) - place)
    content[place : place + length] = (bytes(length), b"\xff" * length, rng.bytes(length))[rng.integers(3)]
    path.write_bytes(content)


def swap_blocks(path: Path, rng: np.random.Generator) -> None:
    """Two blocks change places."""
    content = _content(path)
    length = max(1, min(64, len(content) // 4))
    one, other = (int(place) for place in rng.integers(max(1, len(content) - length), size=2))
    content[one : one + length], content[other : other + length] = (
        content[other : other + length],
        content[one : one + length],
    )
    path.write_bytes(content)


def truncate(path: Path, rng: np.random.Generator) -> None:
    """A copy that ended early."""
    content = _content(path)
    path.write_bytes(content[: int(rng.integers(len(content)))])


def append(path: Path, rng: np.random.Generator) -> None:
    """Bytes after the end, or a second copy of the file there."""
    content = _content(path)
    path.write_bytes(content + (bytes(content) if rng.integers(3) == 0 else rng.bytes(rng.integers(1, 100))))


def insert(path: Path, rng: np.random.Generator) -> None:
    """A few bytes in between; what follows moves."""
    content = _content(path)
    place = int(rng.integers(len(content)))
    path.write_bytes(content[:place] + rng.bytes(rng.integers(1, 9)) + content[place:])


def _content(path: Path) -> bytearray:
    return bytearray(path.read_bytes() or b"\0")


BYTES: tuple[Mutation, ...] = (
    flip_bits,
    flip_bits,
    flip_in_head,
    overwrite_number,
    overwrite_number,
    overwrite_block,
    swap_blocks,
    truncate,
    append,
    insert,
)
