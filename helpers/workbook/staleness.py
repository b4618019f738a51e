"""Stale steps: a step runs again if the checksum of anything that it reads or wrote has changed.

A notebook says in its metadata what it depends on beside its own code:

    {"workbook": {"profile": ["simulation", "seed"], "reads": ["box.json"], "writes": ["tables/table_1.csv"]}}

`reads`, `writes` and `may_write` (for what depends on the results) are globs relative to the run's folder. Without
`profile`, every section counts. Data, labels and imported modules of `helpers` (`code_fingerprint`) count always.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.errors import RunFileError, WorkbookError
from helpers.system import PACKAGE, in_short, modules_of, read_json, sha256, source_digest, text_digest, write_text

_KEYS = ("profile", "reads", "writes", "may_write")


@dataclass(frozen=True)
class Needs:
    """Code cells of a notebook and its declarations: sections of the profile (None for all), globs in the run's folder.

    Each glob of `writes` must match a file when the step is done.
    """

    code: tuple[str, ...]
    profile: tuple[str, ...] | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    may_write: tuple[str, ...] = ()


def read_needs(notebook: Path) -> Needs:
    """Read code cells and declarations of a notebook; `WorkbookError` if it is none, or declares something unknown."""
    content = read_json(notebook, "notebook", error=RunFileError, advice="restore it from git")
    try:
        code = tuple("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code")
        declared = dict(content["metadata"].get("workbook", {}))
        if not all(_are_texts(declared.get(key, [])) for key in _KEYS):
            raise TypeError("its metadata declares other things than lists of texts")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunFileError(f"{notebook} is not a notebook ({in_short(error)}); restore it from git") from error
    if unknown := sorted(set(declared) - set(_KEYS)):
        raise WorkbookError(f"{notebook}: unknown metadata workbook.{unknown[0]}; known are {', '.join(_KEYS)}")
    sections = declared.get("profile")
    globs = (tuple(declared.get(key, ())) for key in _KEYS[1:])
    return Needs(code, None if sections is None else tuple(sections), *globs)


class Checksums:
    """Checksums of files, remembered by size and time of change, because a data file may be gigabytes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".checksums.json"
        self._known: dict[str, list] = {}
        with suppress(FileNotFoundError, RunFileError):  # each can be computed again
            known = read_json(self._path, "checksums", error=RunFileError, advice="delete it")
            self._known = {name: entry for name, entry in known.items() if _is_entry(entry)}

    def of(self, path: Path) -> str:
        """SHA-256 of a file's bytes."""
        state = path.stat()
        key, now = str(path.resolve()), [state.st_size, state.st_mtime_ns]
        if self._known.get(key, [])[:2] != now:
            self._known[key] = [*now, sha256(path)]
            write_text(self._path, json.dumps(self._known))
        return self._known[key][2]


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_entry(entry: object) -> bool:
    """Whether an entry is a size, a time of change, and a SHA-256."""
    return isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], str) and len(entry[2]) == 64


def inputs(
    needs: Needs,
    sections: Mapping[str, Any],
    folder: Path,
    files: Mapping[str, Path],
    checksums: Checksums,
    package: Path = PACKAGE,
) -> dict[str, str]:
    """Checksums of everything that a notebook's results depend on, each under a name that a person understands.

    `sections` maps sections of the profile to plain values, `files` names to files outside the run's folder: the data,
    the labels. `WorkbookError` is raised if the notebook names a section that the profile has not.
    """
    wanted = tuple(sections) if needs.profile is None else needs.profile
    if unknown := [name for name in wanted if name not in sections]:
        raise WorkbookError(f"the notebook's metadata names a section {unknown[0]!r} that no profile has")
    modules = modules_of(needs.code, package)
    return {
        "code cells": text_digest(json.dumps(needs.code)),
        **{f"profile section {name}": text_digest(json.dumps(sections[name])) for name in wanted},
        **{str(path.relative_to(package.parent)): source_digest(path) for path in modules},
        **{name: checksums.of(path) for name, path in files.items()},
        **_matching(folder, needs.reads, checksums),
    }


def outputs(needs: Needs, own: Iterable[Path], folder: Path, checksums: Checksums) -> dict[str, str]:
    """Checksums of the files that a step has written, by their path below the run's folder.

    `own` are the executed notebook and its page. `WorkbookError` is raised if a declared glob matches nothing.
    """
    for pattern in needs.writes:
        if not any(folder.glob(pattern)):
            raise WorkbookError(f"the notebook ran, but left no {folder / pattern}, which its metadata promises")
    names = [str(path.relative_to(folder)) for path in own]
    return _matching(folder, (*names, *needs.writes, *needs.may_write), checksums)


def why_stale(stamp: Path, current: Mapping[str, str], folder: Path, checksums: Checksums) -> str | None:
    """Reason in a few words why a step must run again, from its stamp and its present `inputs`; None if it need not."""
    try:
        known, written = _stamped(stamp)
    except FileNotFoundError:
        return "not run yet"
    except RunFileError:
        return f"{stamp.name} is damaged"
    return _input_change(known, current) or _output_change(written, folder, checksums)


def delete_tables_and_figures(stamp: Path, folder: Path) -> None:
    """Delete the tables and figures that a step wrote the last time: it may no longer make all of them."""
    try:
        _, names = _stamped(stamp)
    except (FileNotFoundError, RunFileError):
        return
    for name in names:
        if name.startswith(("tables/", "figures/")) and (folder / name).resolve().is_relative_to(folder.resolve()):
            (folder / name).unlink(missing_ok=True)


def _stamped(stamp: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Checksums of what a step has read and written, from its stamp."""
    done = read_json(stamp, "stamp of a step", error=RunFileError, advice="delete it")
    parts = done.get("inputs"), done.get("outputs")
    if not all(isinstance(part, dict) and _are_texts([*part, *part.values()]) for part in parts):
        raise RunFileError(f"{stamp} holds no inputs and outputs; delete it")
    return parts


def write_stamp(stamp: Path, current: Mapping[str, str], written: Mapping[str, str]) -> None:
    """Write the stamp of a finished step: checksums of what it read and wrote."""
    write_text(stamp, json.dumps({"inputs": current, "outputs": written}, indent=1) + "\n")


def _input_change(known: Mapping[str, str], current: Mapping[str, str]) -> str | None:
    """First of the inputs that differs."""
    for name in [*current, *known]:
        if name not in known:
            return f"{name} is new"
        if name not in current:
            return f"{name} is gone"
        if known[name] != current[name]:
            return f"{name} changed"
    return None


def _output_change(written: Mapping[str, str], folder: Path, checksums: Checksums) -> str | None:
    """First of the written files that is gone or no longer as it was."""
    for name, checksum in written.items():
        if not (folder / name).is_file():
            return f"{name} is gone"
        if checksums.of(folder / name) != checksum:
            return f"{name} was edited"
    return None


def _matching(folder: Path, patterns: Iterable[str], checksums: Checksums) -> dict[str, str]:
    """Checksums of the files below a folder that match globs, in the order of their names."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): checksums.of(path) for path in sorted(found)}
