"""Fetch a published file, check it, and put it in its place below `data/`.

Nothing else in the package reaches for the network.
"""

import fcntl
import functools
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from helpers import darknet
from helpers.errors import DownloadError, FetchedFileError, NetworkFileError, WorkbookError
from helpers.system import progress, write_text, written_whole
from helpers.workbook.fetch.download import announced_size, download, forget
from helpers.workbook.fetch.published_files import BACKBONES, PublishedFile

_REMEMBERED = "sha256"
_BLOCK_BYTES = 1 << 20


def describe(file: PublishedFile) -> str:
    """Tell what would be fetched: source, size, checksum, licence, target.

    Raises
    ------
    DownloadError
        If the size is not known and the server cannot be asked.
    """
    unknown = f"not known; the sha256 will be kept in {file.memory}"
    rows = {
        "from": f"\n{'':10}".join(file.addresses),
        "page": file.page,
        "size": _size_in_words(file),
        "checksum": unknown if file.checksum is None else file.checksum.replace(":", " "),
        "licence": file.licence,
        "target": str(file.target),
    }
    if begun := _bytes_of(file.partial):
        rows["begun"] = f"{begun} bytes are here already"
    return "\n".join([f"{file.name}: {file.description}", *(f"{name:10}{text}" for name, text in rows.items())])


def found_in_place(file: PublishedFile) -> str | None:
    """Check the file that is there already, and tell of it; None if there is none.

    Raises
    ------
    FetchedFileError
        If it is not the published one; it is left as it is.
    """
    if not file.target.exists():
        return None
    try:
        return f"{file.target} is already there: {check(file, file.target)}"
    except FetchedFileError as error:
        raise FetchedFileError(f"{error}; move it away to fetch it anew") from error


def fetch(file: PublishedFile) -> str:
    """Download a file from the first address that gives it, check it, and put it in its place.

    Parameters
    ----------
    file
        Located: each address is that of the file.

    Returns
    -------
    str
        Where it is and what was checked.

    Raises
    ------
    DownloadError
        If no address gives it; what has arrived stays in the `.partial`, and the next call goes on from there.
    FetchedFileError
        If the file is another; it is deleted.
    """
    failures: list[WorkbookError] = []
    with _alone(file) as growing:
        for address in file.addresses:
            try:
                download(address, growing, size=file.size, label=f"fetching {file.name}")
                checked = _check_or_forget(file, growing, address)
            except (DownloadError, FetchedFileError) as error:
                failures.append(error)
                continue
            _put(file, growing)
            return f"{file.target} fetched: {checked}"
        kept = _bytes_of(growing)
    resume = f"; {kept} bytes are kept in {file.partial}, the same command goes on from there" if kept else ""
    raise type(failures[-1])(f"{'; '.join(map(str, failures))}{resume}; {file.by_hand()}") from failures[-1]


def place(file: PublishedFile, source: Path) -> str:
    """Check a file that was downloaded by hand, and copy it to its place.

    Raises
    ------
    FetchedFileError
        If it is not there, or not the published one.
    """
    if not source.is_file():
        raise FetchedFileError(f"{source}: there is no such file; {file.by_hand()}")
    checked = check(file, source)
    if not (file.target.exists() and file.target.samefile(source)):
        with _writing(file), written_whole(file.target) as copy:
            shutil.copyfile(source, copy)
    return f"{file.target} is in its place: {checked}"


def check(file: PublishedFile, path: Path) -> str:
    """Compare size, checksum and content of a file with what is known of the published one.

    Where no published checksum is known, that of the first time is kept beside the target and demanded from then on.

    Returns
    -------
    str
        What was checked, in words.

    Raises
    ------
    FetchedFileError
        If one of them is another; both values are named.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise FetchedFileError(f"{path}: {size} bytes, but {file.name} has {file.size}")
    wanted = file.checksum or _remembered(file)
    algorithm = wanted.partition(":")[0] if wanted else _REMEMBERED
    found = f"{algorithm}:{_digest(path, algorithm)}"
    if wanted and found != wanted:
        source = "published" if file.checksum else f"kept in {file.memory} (delete that to accept another version)"
        raise FetchedFileError(f"{path}: {found.replace(':', ' ')}, but {wanted.partition(':')[2]} is {source}")
    _check_content(file, path)
    known = "as published" if file.checksum else f"kept in {file.memory}, none to compare with is known"
    if not wanted:
        with _writing(file):
            write_text(file.memory, f"{found.partition(':')[2]}  {file.target.name}\n")
    return f"{size} bytes, {found.replace(':', ' ')} ({known})"


def _check_or_forget(file: PublishedFile, growing: Path, address: str) -> str:
    """Check what has been downloaded; delete what is wrong, so that nothing goes on from it."""
    try:
        return check(file, growing)
    except FetchedFileError as error:
        forget(growing)
        raise FetchedFileError(f"{address} gave another file, which is deleted: {error}") from error


def _check_content(file: PublishedFile, path: Path) -> None:
    """Whether a file can be read as what it should be: a web page can have any name."""
    try:
        if file.content == "hdf5":
            h5py.File(path, "r", locking=False).close()  # we hold its lock ourselves
            return
        build, convolutions = BACKBONES[file.content]
        filled, _ = darknet.read_backbone(build(), path)
    except OSError as error:
        raise FetchedFileError(f"{path}: not a whole HDF5 file ({error})") from error
    except NetworkFileError as error:
        raise FetchedFileError(str(error)) from error
    if filled != convolutions:
        raise FetchedFileError(
            f"{path}: holds {filled} convolutions of {file.content}, but {file.name} has {convolutions}"
        )


def _put(file: PublishedFile, growing: Path) -> None:
    """Give the whole file its final name."""
    with open(growing, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(growing, file.target)


def _remembered(file: PublishedFile) -> str | None:
    """The sha256 of an earlier fetch."""
    try:
        return f"{_REMEMBERED}:{file.memory.read_text(encoding='utf-8').split()[0]}"
    except (OSError, IndexError):
        return None


def _digest(path: Path, algorithm: str) -> str:
    """Checksum of a file, with progress: a measured data set is large."""
    digest = hashlib.new(algorithm)
    total = -(-path.stat().st_size // _BLOCK_BYTES)
    with open(path, "rb") as stream:
        blocks = iter(functools.partial(stream.read, _BLOCK_BYTES), b"")
        for block in progress(blocks, label=f"checking {path.name} [MiB]", total=total):
            digest.update(block)
    return digest.hexdigest()


def _size_in_words(file: PublishedFile) -> str:
    if file.size is not None:
        return f"{file.size} bytes"
    try:
        announced = announced_size(file.addresses[0])
    except DownloadError as error:
        raise DownloadError(f"{error}; {file.by_hand()}") from error
    return "not known; the server " + ("does not say" if announced is None else f"says {announced} bytes")


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _alone(file: PublishedFile) -> Iterator[Path]:
    """Hold the `.partial` for this process, and leave none if nothing has arrived."""
    with _writing(file):
        file.partial.parent.mkdir(parents=True, exist_ok=True)
        with open(file.partial, "ab") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DownloadError(f"{file.partial}: another process is fetching it; wait for it to end") from None
            except OSError:
                pass  # some network file systems have no locks
            try:
                yield file.partial
            finally:
                if not _bytes_of(file.partial):
                    forget(file.partial)
                    file.partial.unlink(missing_ok=True)


@contextmanager
def _writing(file: PublishedFile) -> Iterator[None]:
    """Turn a folder that cannot be written to, or a full disk, into an error for the user."""
    try:
        yield
    except WorkbookError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{file.target.parent}: {error.strerror or error}; make it writable, or make room"
        ) from error
