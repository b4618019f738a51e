"""Whether a step is stale: a fingerprint of what its notebook reads, and checksums of what it wrote.

A notebook says in its metadata what it depends on beside its own code:

    {"workbook": {"profile": ["simulation", "seed"], "reads": ["box.json"], "writes": ["tables/table_1.csv"]}}

`reads` and `writes` are globs relative to the run's folder, and so is `may_write`, for what depends on the results.
Without `profile`, every section counts. The data file, the labels, and the modules of `helpers` that the notebook
imports count always (`sources`).
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.errors import RunFileError, WorkbookError
from helpers.system import PACKAGE, in_short, modules_of, read_json, sha256, source_digest, text_digest, write_text

_CHECKSUMS = ".checksums.json"
_DIGITS = 64
_KEYS = ("profile", "reads", "writes", "may_write")


@dataclass(frozen=True)
class Needs:
    """What a notebook declares, and its code.

    Parameters
    ----------
    code
        Sources of its code cells.
    profile
        Sections of the profile that it uses; None for all.
    reads, writes, may_write
        Globs relative to the run's folder; only of those in `writes` there must be something.
    """

    code: tuple[str, ...]
    profile: tuple[str, ...] | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    may_write: tuple[str, ...] = ()


def read_needs(notebook: Path) -> Needs:
    """Read code cells and declarations of a notebook.

    Raises
    ------
    WorkbookError
        If the file is no notebook, or declares something unknown.
    """
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
    return Needs(
        code, None if sections is None else tuple(sections), *(tuple(declared.get(key, ())) for key in _KEYS[1:])
    )


class Checksums:
    """Checksums of files, remembered by size and time of change, because a data file may be gigabytes.

    Parameters
    ----------
    folder
        Of the run, where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _CHECKSUMS
        self._known: dict[str, list] = {}
        if self._path.is_file():
            with suppress(RunFileError):  # damaged, it is only slower
                self._known = _checksums_in(self._path)

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


def _checksums_in(path: Path) -> dict[str, list]:
    """Checksums that were remembered; a file that is damaged is none, because all of them can be had again."""
    try:
        known = read_json(path, "checksums", error=RunFileError, advice="delete it")
    except RunFileError:
        return {}
    return {name: entry for name, entry in known.items() if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    """Size, time of change, and a SHA-256."""
    return isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], str) and len(entry[2]) == _DIGITS


def inputs(
    needs: Needs,
    sections: Mapping[str, Any],
    folder: Path,
    files: Mapping[str, Path],
    checksums: Checksums,
    package: Path = PACKAGE,
) -> dict[str, str]:
    """Everything that a notebook's results depend on: a name that a person understands → its checksum.

    Parameters
    ----------
    needs
        Of the notebook.
    sections
        The profile.
    folder
        Of the run.
    files
        Name → file outside the run's folder: the data, the labels.
    checksums
        Of files.
    package
        Folder of the package whose modules count.

    Raises
    ------
    WorkbookError
        If the notebook names a section that the profile has not.
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
    """Files that a step has written, relative to the run's folder → checksum.

    Parameters
    ----------
    needs
        Of the notebook.
    own
        The executed notebook and its page.
    folder, checksums
        Of the run.

    Raises
    ------
    WorkbookError
        If nothing matches something that the notebook declares to write.
    """
    for pattern in needs.writes:
        if not any(folder.glob(pattern)):
            raise WorkbookError(f"the notebook ran, but left no {folder / pattern}, which its metadata promises")
    names = [str(path.relative_to(folder)) for path in own]
    return _matching(folder, (*names, *needs.writes, *needs.may_write), checksums)


def why_stale(stamp: Path, current: Mapping[str, str], folder: Path, checksums: Checksums) -> str | None:
    """Why a step must run again, in a few words; None if it need not.

    Parameters
    ----------
    stamp
        What the step left when it was done.
    current
        Its `inputs` now.
    folder, checksums
        Of the run.
    """
    try:
        known, written = _stamped(stamp)
    except FileNotFoundError:
        return "not run yet"
    except RunFileError:
        return f"{stamp.name} is damaged"
    return _input_change(known, current) or _output_change(written, folder, checksums)


def delete_shown(stamp: Path, folder: Path) -> None:
    """Delete the tables and figures that a step wrote the last time, so that none stays that it no longer makes."""
    try:
        _, names = _stamped(stamp)
    except (FileNotFoundError, RunFileError):
        return
    for name in names:
        if name.startswith(("tables/", "figures/")) and (folder / name).resolve().is_relative_to(folder.resolve()):
            (folder / name).unlink(missing_ok=True)


def _stamped(stamp: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What a stamp says that the step has read and written."""
    done = read_json(stamp, "stamp of a step", error=RunFileError, advice="delete it")
    parts = done.get("inputs"), done.get("outputs")
    if not all(isinstance(part, dict) and _are_texts([*part, *part.values()]) for part in parts):
        raise RunFileError(f"{stamp} holds no inputs and outputs; delete it")
    return parts


def write_stamp(stamp: Path, current: Mapping[str, str], written: Mapping[str, str]) -> None:
    """Say that a step is done, with what it read and what it wrote."""
    write_text(stamp, json.dumps({"inputs": current, "outputs": written}, indent=1) + "\n")


def _input_change(known: Mapping[str, str], current: Mapping[str, str]) -> str | None:
    """The first of the inputs that differs."""
    for name in [*current, *known]:
        if name not in known:
            return f"{name} is new"
        if name not in current:
            return f"{name} is gone"
        if known[name] != current[name]:
            return f"{name} changed"
    return None


def _output_change(written: Mapping[str, str], folder: Path, checksums: Checksums) -> str | None:
    """The first of the written files that is gone or no longer as it was."""
    for name, checksum in written.items():
        if not (folder / name).is_file():
            return f"{name} is gone"
        if checksums.of(folder / name) != checksum:
            return f"{name} was edited"
    return None


def _matching(folder: Path, patterns: Iterable[str], checksums: Checksums) -> dict[str, str]:
    """Files below a folder that match globs → checksum, in order of their names."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): checksums.of(path) for path in sorted(found)}
