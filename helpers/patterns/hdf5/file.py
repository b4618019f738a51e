"""An HDF5 file that nobody has to trust: opened for reading, its links followed one by one.

Names are followed link by link, so that a link to a missing file is an error and not an absent data set. A link may
lead to another HDF5 file, wherever that lies, because facilities divide their data so; not to a pipe or a device.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from helpers.errors import LostLinkError, PatternFileError, WorkbookError
from helpers.system import in_short

_MOST_HOPS = 16

_FOREIGN = (OSError, LookupError, RuntimeError, ValueError, TypeError, MemoryError, ArithmeticError, SystemError)
"""What HDF5, h5py and NumPy raise on files that are damaged or not what they seem."""


def opened(path: Path) -> h5py.File:
    """The HDF5 file, for reading."""
    require_file(path)
    try:
        return h5py.File(path, "r")
    except (OSError, ValueError, RuntimeError) as error:
        raise PatternFileError(
            f"{path}: is not a whole HDF5 file ({in_short(error)}); a CXI file is needed, copy it again if it was cut "
            "short"
        ) from error


def require_file(path: Path) -> None:
    """Refuse a path that leads to no file."""
    try:
        found, lost = path.is_file(), path.is_symlink() and not path.exists()
    except (OSError, ValueError):  # a name that is too long, or with a NUL
        found, lost = False, False
    if lost:
        raise PatternFileError(f"{path}: is a link to {path.readlink()}, which is missing; mend the link")
    if not found:
        raise PatternFileError(f"{path}: there is no such file; check the path")


@contextmanager
def understandable(path: Path, what: str = "the file") -> Iterator[None]:
    """Turn what libraries raise on a damaged file into an error for the user.

    Parameters
    ----------
    path
        The file that is read in the block.
    what
        What of it, for the message.

    Raises
    ------
    PatternFileError
        If the block raises what HDF5, h5py and NumPy raise; errors of ours pass as they are.
    """
    try:
        yield
    except WorkbookError:
        raise
    except _FOREIGN as error:
        raise PatternFileError(
            f"{path}: {what} cannot be read ({in_short(error)}); the file is damaged, or holds something else than it "
            "says: copy it again, or write it anew"
        ) from error


def member(file: h5py.Group, path: Path, name: str, *, hops: int = 0) -> h5py.Dataset | h5py.Group | None:
    """What a name in a file leads to, or None if there is no such name; `hops` links led here.

    Raises
    ------
    PatternFileError
        If a link on the way leads nowhere, in this file or in another, or if what is there is damaged.
    """
    node: h5py.Dataset | h5py.Group | None = file
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for number, part in enumerate(parts, start=1):
        if not isinstance(node, h5py.Group):
            return None
        link = node.get(part, getlink=True)
        if link is None:
            return None
        followed = "/".join(parts[:number])
        if isinstance(link, h5py.ExternalLink):
            node = _elsewhere(node, part, link, path, followed, hops)
        elif isinstance(link, h5py.SoftLink):
            target = link.path if link.path.startswith("/") else f"{node.name}/{link.path}"
            node = member(node.file, path, target, hops=hops + 1) if hops < _MOST_HOPS else None
            if node is None:
                raise LostLinkError(
                    f"{path}: {in_short(followed)} is a link to {in_short(link.path)}, which is not there; mend the "
                    "link, or remove it"
                )
        else:
            node = _named(node, part, path, followed)
    return node


def _named(group: h5py.Group, name: str, path: Path, followed: str) -> h5py.Dataset | h5py.Group:
    """A data set or group to which a link leads."""
    with understandable(path, in_short(followed)):
        node = group[name]
        if not isinstance(node, h5py.Dataset | h5py.Group):
            raise TypeError("neither a data set nor a group")
        return node


def _elsewhere(
    group: h5py.Group, name: str, link: h5py.ExternalLink, path: Path, followed: str, hops: int
) -> h5py.Dataset | h5py.Group:
    """What a link to another file leads to."""
    place = place_of(Path(group.file.filename), link.filename)
    reason = "which is missing"
    if place is not None:
        reason = f"which has no {link.path} or is damaged"
        if hops >= _MOST_HOPS:
            reason = "one of too many links that lead to each other"
        elif not place.is_file():
            reason = "which is no file"
        elif _is_there(place, link.path, path, hops):
            return _named(group, name, path, followed)
    raise PatternFileError(
        f"{path}: {in_short(followed)} is a link to {in_short(link.filename)}, {reason}; put the right file beside "
        f"{path.name}"
    )


def _is_there(place: Path, name: str, path: Path, hops: int) -> bool:
    """Whether another file has a name; its own links are followed one by one, too."""
    try:
        with h5py.File(place, "r") as other:
            return not name.strip("/.") or member(other, path, name, hops=hops + 1) is not None
    except (OSError, RuntimeError):
        return False


def place_of(here: Path, name: str) -> Path | None:
    """Where HDF5 would find another file that a file names; None if nowhere.

    Parameters
    ----------
    here
        The file that names it.
    name
        As it stands there.
    """
    beside = [here.parent / name, here.resolve().parent / name]
    if os.path.isabs(name):
        places = [Path(name), here.parent / Path(name).name]
    else:
        places = [*beside, Path(name)]
    try:
        return next((place for place in places if place.exists()), None) if name and "\0" not in name else None
    except OSError:  # a name that is too long
        return None


def has(file: h5py.File, path: Path, names: tuple[str, ...]) -> bool:
    """Whether a file has data sets of all these names."""
    return all(isinstance(member(file, path, name), h5py.Dataset) for name in names)
