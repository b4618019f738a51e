"""Whether a step is stale: a fingerprint of what its notebook reads, and checksums of what it wrote.

A notebook says in its metadata what it depends on beside its own code:

    {"workbook": {"profile": ["simulation", "seed"], "reads": ["box.json"], "writes": ["tables/table_1.csv"]}}

`reads` and `writes` are globs relative to the run's folder; without `profile`, every section counts. The data file, the
labels, and the modules of `helpers` that the notebook imports count always (`sources`).
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.errors import WorkbookError
from helpers.files import sha256, write_text
from helpers.sources import PACKAGE, modules_of, source_digest, text_digest

_CHECKSUMS = ".checksums.json"
_KEYS = ("profile", "reads", "writes")


@dataclass(frozen=True)
class Needs:
    """What a notebook declares, and its code.

    Parameters
    ----------
    code
        Sources of its code cells.
    profile
        Sections of the profile that it uses; None for all.
    reads, writes
        Globs relative to the run's folder.
    """

    code: tuple[str, ...]
    profile: tuple[str, ...] | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def read_needs(notebook: Path) -> Needs:
    """Read code cells and declarations of a notebook.

    Raises
    ------
    WorkbookError
        If the file is no notebook, or declares something unknown.
    """
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        code = tuple("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code")
        declared = content["metadata"].get("workbook", {})
    except (ValueError, KeyError, TypeError) as error:
        raise WorkbookError(f"{notebook} is not a notebook ({error}); restore it from git") from error
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
        with suppress(FileNotFoundError, ValueError, TypeError):  # damaged, it is only slower
            self._known = dict(json.loads(self._path.read_text(encoding="utf-8")))

    def of(self, path: Path) -> str:
        """SHA-256 of a file's bytes."""
        state = path.stat()
        key, now = str(path.resolve()), [state.st_size, state.st_mtime_ns]
        if self._known.get(key, [])[:2] != now:
            self._known[key] = [*now, sha256(path)]
            write_text(self._path, json.dumps(self._known))
        return self._known[key][2]


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
    return _matching(folder, (*names, *needs.writes), checksums)


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
        done = json.loads(stamp.read_text(encoding="utf-8"))
        known, written = done["inputs"], done["outputs"]
    except FileNotFoundError:
        return "not run yet"
    except (ValueError, KeyError, TypeError):
        return f"{stamp.name} is damaged"
    return _input_change(known, current) or _output_change(written, folder, checksums)


def delete_shown(stamp: Path, folder: Path) -> None:
    """Delete the tables and figures that a step wrote the last time, so that none stays that it no longer makes."""
    try:
        names = json.loads(stamp.read_text(encoding="utf-8"))["outputs"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    for name in names:
        if name.startswith(("tables/", "figures/")):
            (folder / name).unlink(missing_ok=True)


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
