"""Read and write Darknet's `.cfg` files."""

import codecs
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from helpers.darknet.network import Network
from helpers.darknet.sections import Section
from helpers.errors import NetworkFileError
from helpers.system import in_short, write_text

_COMMENTS = ("#", ";")
_LARGEST_FILE = 1 << 20
_WHITE_SPACE = str.maketrans("", "", " \t\r")  # what Darknet removes, within a line too
_SHORT_NAMES = {"network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool", "soft": "softmax"}


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
    network = Network(read_sections(path), batch_norm=batch_norm, generator=generator)
    if not (network.heads or network.is_classifier):
        warnings.warn(
            f"{path}: has no [region], [yolo] or [softmax], so the network gives neither boxes nor classes; "
            "add the layers after a backbone",
            stacklevel=2,
        )
    return network


def write_cfg(network: Network, path: str | os.PathLike) -> None:
    """Write the `.cfg` of a network; reading it gives the same network, and Darknet itself can read it."""
    write_text(path, sections_text(network.sections))


def read_sections(path: str | os.PathLike) -> list[Section]:
    """Sections of a `.cfg` file in its order, `[net]` first, without comments; of a repeated key the first counts.

    NetworkFileError if it cannot be read, or a line is neither a section nor `key=value`.
    """
    sections: list[Section] = []
    for line, content in _meaningful_lines(_text(path)):
        if content.startswith("["):
            sections.append(_heading(path, line, content))
        else:
            _add_option(path, line, content, sections)
    if not sections:
        raise NetworkFileError(f"{path}: holds no [section]; give the path of a Darknet .cfg")
    return sections


def _text(path: str | os.PathLike) -> str:
    """Text of a `.cfg`. Its comments may be in any encoding; keys and values are ASCII."""
    try:
        if Path(path).stat().st_size > _LARGEST_FILE:
            raise NetworkFileError(f"{path}: is larger than any .cfg; give the path of a Darknet .cfg")
        content = Path(path).read_bytes()
    except OSError as reason:
        raise NetworkFileError(f"{path}: cannot be read ({reason.strerror}); give the path of a Darknet .cfg") from None
    if b"\0" in content or content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise NetworkFileError(f"{path}: is not text, or text in UTF-16; give a Darknet .cfg, saved as UTF-8")
    return content.decode("utf-8-sig", errors="replace")


def sections_text(sections: Sequence[Section]) -> str:
    """Text of a `.cfg`: `[name]`, then lines `key=value`; an empty line between sections."""
    blocks = (
        "\n".join([f"[{one.name}]", *(f"{key}={value}" for key, value in one.options.items())]) for one in sections
    )
    return "\n\n".join(blocks) + "\n"


def _meaningful_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbers and contents of the lines that are neither empty nor comments, without white space, as in Darknet."""
    for line, content in enumerate(text.split("\n" if "\n" in text else "\r"), start=1):
        stripped = content.translate(_WHITE_SPACE)
        if stripped and not stripped.startswith(_COMMENTS):
            yield line, stripped


def _heading(path: str | os.PathLike, line: int, content: str) -> Section:
    """Parse the heading of a section."""
    if not content.endswith("]") or len(content) < 3:
        raise NetworkFileError(f"{path}, line {line}: {in_short(repr(content))} is not a [section]")
    name = _SHORT_NAMES.get(content[1:-1], content[1:-1])
    return Section(name, {}, path=str(path), lines={"": line})


def _add_option(path: str | os.PathLike, line: int, content: str, sections: list[Section]) -> None:
    """Add `key=value` to the last section."""
    key, equals, value = content.partition("=")
    if not (key and equals and value) or not sections:
        raise NetworkFileError(f"{path}, line {line}: {in_short(repr(content))} is not key=value under a [section]")
    sections[-1].options.setdefault(key, value)
    sections[-1].lines.setdefault(key, line)
