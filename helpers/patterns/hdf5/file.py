"""HDF5 files opened for reading, and the objects that names in them lead to.

HDF5 follows the links itself. It only says "no such object" where one leads nowhere, so the link is looked for then.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from helpers.errors import BrokenLinkError, PatternFileError, WorkbookError
from helpers.patterns.hdf5.unopened import why_unopened
from helpers.system import in_short

FOREIGN = (OSError, LookupError, RuntimeError, ValueError, TypeError, MemoryError, ArithmeticError, SystemError)
"""Errors that HDF5, h5py and NumPy raise on files that are damaged or not what they seem."""


def open_hdf5(path: Path, *, swmr: bool = False, locking: bool | None = None) -> h5py.File:
    """The HDF5 file, opened for reading; to be called within `errors_name`.

    With `swmr` while it is written so, and without a lock where `locking` is False; None is HDF5's own choice.
    """
    require_file(path)
    try:
        return h5py.File(path, "r", swmr=swmr, locking=locking)
    except (OSError, ValueError, RuntimeError) as error:
        raise why_unopened(path, error) from error


def require_file(path: Path) -> None:
    """Refuse a path that leads to no file."""
    try:
        found, is_broken = path.is_file(), path.is_symlink() and not path.exists()
    except (OSError, ValueError):  # a name that is too long, or with a NUL
        found, is_broken = False, False
    if is_broken:
        raise PatternFileError(f"is a link to {path.readlink()}, which is missing; mend the link")
    if not found:
        raise PatternFileError("there is no such file; check the path")


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """The door of the readers: errors of the block begin with the name of the file.

    A WorkbookError stays what it is; what HDF5, h5py and NumPy raise becomes a PatternFileError.
    """
    try:
        yield
    except WorkbookError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except FOREIGN as error:
        raise PatternFileError(
            f"{path}: cannot be read ({in_short(error)}); the file is damaged, or holds something else than it says: "
            "copy it again, or write it anew"
        ) from error


def member(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """The data set or group that a name leads to, or None if there is no such name.

    BrokenLinkError if a link within the file leads nowhere; PatternFileError if one to another file does, or if the
    object is damaged, or neither a data set nor a group.
    """
    try:
        node = group[name] if name else group
    except FOREIGN as error:
        if _is_absent(group, name):
            return None
        raise PatternFileError(f"{in_short(name)} cannot be read ({in_short(error)}); copy the file again") from error
    if not isinstance(node, h5py.Dataset | h5py.Group):
        raise PatternFileError(f"{in_short(name)} is neither a data set nor a group; write it anew")
    return node


def dataset(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """The data set that a name leads to, or None if there is none; raises as `member`."""
    node = member(group, name)
    return node if isinstance(node, h5py.Dataset) else None


def names_in(group: h5py.Group) -> list[str]:
    """Names in a group; those that are no text (h5py gives bytes) name nothing that we know."""
    return [name for name in group if isinstance(name, str)]


def _is_absent(group: h5py.Group, name: str) -> bool:
    """Whether a name that does not open is simply not there, and no broken link; False if the object is damaged."""
    node: h5py.Dataset | h5py.Group = group
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for number, part in enumerate(parts, start=1):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return True
        try:
            node = node[part]
        except FOREIGN as error:
            if isinstance(link, h5py.HardLink):
                return False
            what = f"{in_short('/'.join(parts[:number]))} is a link to"
            if isinstance(link, h5py.ExternalLink):
                raise PatternFileError(f"{what} {_other_file(link, Path(node.file.filename))}") from error
            raise BrokenLinkError(
                f"{what} {in_short(link.path)}, which leads nowhere; mend the link, or remove it"
            ) from error
    return False


def _other_file(link: h5py.ExternalLink, here: Path) -> str:
    """The file that a broken link names, why there is nothing, and the next step."""
    place = find_beside(here, link.filename)
    reason = f"which has no {in_short(link.path)}, leads back here or is damaged"
    if place is None or not place.is_file():
        reason = "which is missing" if place is None else "which is no file"
    else:
        try:
            open_hdf5(place).close()
        except PatternFileError as error:
            return f"{in_short(link.filename)}, which {error}"
    return f"{in_short(link.filename)}, {reason}; put the right file beside {here.name}"


def find_beside(here: Path, name: str) -> Path | None:
    """The place where HDF5 finds another file that the file `here` names; None if nowhere."""
    if os.path.isabs(name):
        places = [Path(name), here.parent / Path(name).name]
    else:
        places = [here.parent / name, here.resolve().parent / name, Path(name)]
    try:
        return next((place for place in places if place.exists()), None) if name and "\0" not in name else None
    except OSError:  # a name that is too long
        return None
