"""Folders whose files follow from a description; files that follow from another one are moved aside, never deleted."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers.system.files import write_text

STALE = "stale"
"""Folder beside the results, in which stale ones are kept: one level deeper than any pattern of file names looks."""


def claim_folder(
    folder: Path, description: Mapping[str, Any], *, written_in: str, may_differ: Collection[str] = ()
) -> None:
    """Make a folder that belongs to a description; what lies there from another one is moved aside, which is printed.

    Parameters
    ----------
    folder
        For instance `results/RUN/families/FAMILY`. A stale one becomes `results/RUN/families/stale/FAMILY-1`, or the
        next free number.
    description
        Name → plain value: all that the files of the folder follow from.
    written_in
        Name of the JSON file in the folder that holds the description.
    may_differ
        Names whose values are only kept there: a new one is written, and makes nothing stale.
    """
    path = folder / written_in
    wanted = json.loads(json.dumps(description))
    known = _described(path)
    changed = [name for name in _changes(known, wanted) if name not in may_differ]
    if changed and _has_files(folder):
        why = f"{', '.join(changed)} changed" if known else f"it has no {written_in}"
        kept = _move_aside(folder)
        print(f"{folder.name} is stale ({why}); it is made anew, and the old one kept in {kept}", flush=True)
    text = json.dumps(wanted, indent=2, sort_keys=True) + "\n"
    if not (path.is_file() and path.read_text(encoding="utf-8") == text):
        write_text(path, text)


def _described(path: Path) -> dict[str, Any]:
    """The description that a folder has; empty if there is none that can be read."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return described if isinstance(described, dict) else {}


def _changes(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Names whose values differ, those within a mapping as `settings.batch`."""
    for name in sorted({*known, *wanted}):
        before, after = known.get(name), wanted.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from (f"{name}.{inner}" for inner in _changes(before, after))
        elif before != after:
            yield name


def _has_files(folder: Path) -> bool:
    """True if anything lies in a folder but what a killed process may have begun to write there."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def _move_aside(folder: Path) -> Path:
    """Move a folder to a place where nothing lies yet; returns the place."""
    number = 1
    while (aside := folder.parent / STALE / f"{folder.name}-{number}").exists():
        number += 1
    aside.parent.mkdir(exist_ok=True)
    return folder.rename(aside)
