"""Published files: where they are, how they are checked, and their place below `data/`.

`addresses.yaml` lists them. Nothing else in the package reaches for the network.
"""

import fcntl
import functools
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import h5py

from helpers import ROOT, darknet
from helpers.download import announced_size, download, forget, listed_files
from helpers.errors import DownloadError, FetchedFileError, NetworkFileError, WorkbookError
from helpers.files import write_text, written_whole
from helpers.progress import progress
from helpers.text_files import in_short
from helpers.yaml_files import read_yaml

DATA = ROOT / "data"
ADDRESSES = ROOT / "helpers" / "addresses.yaml"

BACKBONES = {"yolov2": (darknet.yolov2, 18), "yolov3": (darknet.yolov3, 52)}
"""Network → what builds it, and how many of its convolutions the published backbone fills."""

_REMEMBERED = "sha256"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class PublishedFile:
    """A file that somebody has published, as `addresses.yaml` describes it.

    Parameters
    ----------
    name
        As in `workbook fetch NAME`.
    description, licence, page
        For people; the page is to be read.
    addresses
        Tried in this order; one that ends in `/` is a folder whose listing is searched.
    listed
        Pattern of the file's name in such a listing.
    size
        Bytes, None if not known.
    checksum
        `sha256:…` or `sha512:…`, None if not known.
    below_data
        Where it belongs below `data/`.
    content
        What must be readable in it: "hdf5", or a key of `BACKBONES`.
    """

    name: str
    description: str
    addresses: tuple[str, ...]
    page: str
    licence: str
    below_data: str
    content: str
    listed: str | None = None
    size: int | None = None
    checksum: str | None = None

    @property
    def target(self) -> Path:
        """Where the file belongs."""
        return DATA / self.below_data

    @property
    def memory(self) -> Path:
        """Where its sha256 is kept if no published one is known, in the format of `sha256sum --check`."""
        return self.target.with_name(f"{self.target.name}.{_REMEMBERED}")

    @property
    def partial(self) -> Path:
        """Where it grows while it is fetched."""
        return self.target.with_name(f"{self.target.name}.partial")

    def located(self, address: str | None = None) -> "PublishedFile":
        """With addresses of the file itself: the one that was given, or those that folders list.

        Raises
        ------
        DownloadError
            If a folder cannot be read, or does not list exactly one fitting file.
        """
        addresses = (address,) if address else self.addresses
        return replace(self, addresses=tuple(map(self._in_listing, addresses)))

    def expectation(self) -> str:
        """What is checked, in words."""
        size = "of unknown size" if self.size is None else f"{self.size} bytes"
        checksum = "of unknown checksum" if self.checksum is None else self.checksum.replace(":", " ")
        content = "a whole HDF5 file" if self.content == "hdf5" else f"the backbone of {self.content}"
        return f"{content}, {size}, {checksum}"

    def by_hand(self) -> str:
        """What to do where there is no network."""
        sources = [f"{self.listed} below {known}" if known.endswith("/") else known for known in self.addresses]
        return (
            f"by hand: download {' or '.join(sources)} elsewhere (read {self.page}), then run "
            f"workbook fetch {self.name} --from FILE, which checks it ({self.expectation()}) and puts "
            f"it at {self.target}"
        )

    def _in_listing(self, address: str) -> str:
        """The address itself, or that of the one fitting file below a folder."""
        if not (self.listed and address.endswith("/")):
            return address
        try:
            found = listed_files(address, self.listed)
        except DownloadError as error:
            raise DownloadError(f"{error}; {self.by_hand()}") from error
        if len(found) != 1:
            names = ", ".join(found) or "none"
            raise DownloadError(
                f"{address}: one file {self.listed} is wanted, listed are: {names}; "
                f"give its address with --address, or {self.by_hand()}"
            )
        return found[0]


def published_file(name: str) -> PublishedFile:
    """The entry of `addresses.yaml` with this name.

    Raises
    ------
    DownloadError
        If there is none.
    """
    entries = read_yaml(ADDRESSES, error=DownloadError, advice=_RESTORE)
    if not isinstance(entries, dict) or not isinstance(entry := entries.get(name, {}), dict):
        raise DownloadError(f"{ADDRESSES} holds no files by name; {_RESTORE}")
    if not entry:
        raise DownloadError(f"{name!r} is not known; workbook fetch knows {in_short(', '.join(map(str, entries)))}")
    values = {**entry, "below_data": entry.get("target"), "name": name}
    values.pop("target", None)
    if wrong := _wrong_key(values):
        raise DownloadError(f"{ADDRESSES}: {name}: {wrong}; {_RESTORE}")
    return PublishedFile(**{**values, "addresses": tuple(values["addresses"])})


def _wrong_key(values: dict[str, object]) -> str | None:
    """The first value of an entry that is not what it must be."""
    names = PublishedFile.__dataclass_fields__
    for name in [*names, *values]:
        value, check = values.get(name), _CHECKS.get(name, _is_text)
        if name not in names:
            return f"unknown key {in_short(name)}"
        if not (check(value) or (value is None and name in _OPTIONAL)):
            return f"{name} is {in_short(repr(value))}"
    return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


_RESTORE = "restore the file from git"
_OPTIONAL = ("listed", "size", "checksum")
_CHECKS: dict[str, Callable[[object], bool]] = {
    "addresses": lambda value: isinstance(value, list) and bool(value) and all(map(_is_address, value)),
    "size": lambda value: type(value) is int and value > 0,
    "checksum": lambda value: _is_text(value) and re.fullmatch(r"(sha256|sha512):[0-9a-f]{64,128}", value) is not None,
    "content": lambda value: value == "hdf5" or (_is_text(value) and value in BACKBONES),
    "below_data": lambda value: _is_text(value) and (DATA / value).resolve().is_relative_to(DATA.resolve()),
}


def _is_address(value: object) -> bool:
    return _is_text(value) and urlsplit(value).scheme in ("http", "https")


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
