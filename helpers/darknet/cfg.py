"""Read and write Darknet's `.cfg` files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from helpers.darknet.network import Network
from helpers.darknet.sections import Section
from helpers.errors import NetworkFileError
from helpers.system import in_short, write_text

_COMMENTS = ("#", ";")
_LARGEST_FILE = 1 << 20


def read_cfg(
    path: str | os.PathLike, batch_norm: str = "torch", *, generator: torch.Generator | None = None
) -> Network:
    """Build the network that a `.cfg` file describes, with random weights, in training mode.

    Parameters
    ----------
    path
        Darknet's `.cfg` file; options that do not change what the network computes are kept for `write_cfg`.
    batch_norm, generator
        As in `Network`.

    Raises
    ------
    NetworkFileError
        If the file is not there, or holds a line, layer type or value that we do not compute; names file and line.
    """
    return Network(read_sections(path), batch_norm=batch_norm, generator=generator)


def write_cfg(network: Network, path: str | os.PathLike) -> None:
    """Write the `.cfg` of a network; reading it gives the same network, and Darknet itself can read it."""
    write_text(path, sections_text(network.sections))


def read_sections(path: str | os.PathLike) -> list[Section]:
    """Sections of a `.cfg` file in its order, `[net]` first, without comments.

    NetworkFileError if it cannot be read, a line is neither a section nor `key=value`, or a key stands twice in one.
    """
    try:
        if Path(path).stat().st_size > _LARGEST_FILE:
            raise NetworkFileError(f"{path}: is larger than any .cfg; give the path of a Darknet .cfg")
        text = Path(path).read_text(encoding="utf-8")
    except OSError as reason:
        raise NetworkFileError(f"{path}: cannot be read ({reason.strerror}); give the path of a Darknet .cfg") from None
    except UnicodeDecodeError:
        raise NetworkFileError(f"{path}: is not text; give the path of a Darknet .cfg") from None
    sections: list[Section] = []
    for line, content in _meaningful_lines(text):
        if content.startswith("["):
            sections.append(_heading(path, line, content))
        else:
            _add_option(path, line, content, sections)
    if not sections:
        raise NetworkFileError(f"{path}: holds no [section]; give the path of a Darknet .cfg")
    return sections


def sections_text(sections: Sequence[Section]) -> str:
    """Text of a `.cfg`: `[name]`, then lines `key=value`; an empty line between sections."""
    blocks = (
        "\n".join([f"[{one.name}]", *(f"{key}={value}" for key, value in one.options.items())]) for one in sections
    )
    return "\n\n".join(blocks) + "\n"


def _meaningful_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbers and contents of the lines that are neither empty nor comments; white space is removed, as in Darknet."""
    for line, content in enumerate(text.splitlines(), start=1):
        stripped = "".join(content.split())
        if stripped and not stripped.startswith(_COMMENTS):
            yield line, stripped


def _heading(path: str | os.PathLike, line: int, content: str) -> Section:
    """Parse the heading of a section."""
    if not content.endswith("]") or len(content) < 3:
        raise NetworkFileError(f"{path}, line {line}: {in_short(repr(content))} is not a [section]")
    return Section(content[1:-1], {}, path=str(path), lines={"": line})


def _add_option(path: str | os.PathLike, line: int, content: str, sections: list[Section]) -> None:
    """Add `key=value` to the last section."""
    key, equals, value = content.partition("=")
    if not (key and equals and value) or not sections:
        raise NetworkFileError(f"{path}, line {line}: {in_short(repr(content))} is not key=value under a [section]")
    if key in sections[-1].options:
        raise sections[-1].error(f"{key}= stands twice in this section, again at line {line}; keep one", key)
    sections[-1].options[key] = value
    sections[-1].lines[key] = line
