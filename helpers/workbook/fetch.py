"""Published files that `workbook fetch` puts into `data/`: the only part of the package that uses a network."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import h5py
import pooch
import requests
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from helpers import ROOT, __version__, darknet
from helpers.errors import DownloadError, FetchedFileError, NetworkFileError
from helpers.system import STRICT, in_short, read_yaml, validated, write_text, written_whole

DATA = ROOT / "data"
PUBLISHED = Path(__file__).with_name("published_files.yaml")

_BACKBONES = {"yolov2": (darknet.yolov2, 18), "yolov3": (darknet.yolov3, 52)}
"""Network → the function that builds it, and the number of its convolutions that the published backbone fills."""

_WebAddress = Annotated[str, Field(pattern="^https?://")]
_TIMEOUT_SECONDS = (20.0, 60.0)  # for the connection, and for the next bytes


@dataclass(config=STRICT, frozen=True)
class PublishedFile:
    """An entry of `published_files.yaml`; its name is that of `workbook fetch NAME`."""

    name: str
    description: str
    addresses: Annotated[tuple[_WebAddress, ...], Field(min_length=1)]  # in this order; of a large file, its folder
    page: str
    licence: str
    target: str  # path below data/
    content: Literal["hdf5", "yolov2", "yolov3"]  # patterns, or the network whose first convolutions the file fills
    is_large: bool = False  # gigabytes are left to a program that resumes broken downloads
    size: PositiveInt | None = None  # [bytes]
    checksum: Annotated[str, Field(pattern="^sha(256|512):[0-9a-f]{64,128}$")] | None = None

    def __post_init__(self) -> None:
        if not self.path.resolve().is_relative_to(DATA.resolve()):
            raise ValueError(f"target {self.target!r} is outside {DATA}")

    @property
    def path(self) -> Path:
        """Path at which the file belongs."""
        return DATA / self.target

    @property
    def kept_checksum(self) -> Path:
        """File beside it that keeps the sha256 where none is published, in the format of `sha256sum --check`."""
        return self.path.with_name(f"{self.path.name}.sha256")

    def described(self) -> str:
        """Description, source, size, checksum, licence and target, a line each."""
        rows = {
            "from": f"\n{'':10}".join(self.addresses),
            "page": self.page,
            "size": "not known" if self.size is None else f"{self.size} bytes",
            "checksum": self.checksum or f"not known; the sha256 will be kept in {self.kept_checksum}",
            "licence": self.licence,
            "target": str(self.path),
        }
        return "\n".join([f"{self.name}: {self.description}", *(f"{name:10}{text}" for name, text in rows.items())])

    def by_hand(self, address: str | None = None) -> str:
        """Shell commands that download the file from an address (the first known one if None) and place it."""
        address = address or self.addresses[0]
        source = f"{address}NAME" if address.endswith("/") else address
        return (
            f"curl --location --continue-at - --output {self.path.name} {source} && "
            f"workbook fetch {self.name} --from {self.path.name}"
        )


def published_file(name: str) -> PublishedFile:
    """Read the entry of `published_files.yaml` with this name; `DownloadError` if there is none."""
    entries = read_yaml(PUBLISHED, error=DownloadError, advice="restore the file from git")
    if not isinstance(entries, dict) or not isinstance(entries.get(name, {}), dict):
        raise DownloadError(f"{PUBLISHED} holds no files by name; restore the file from git")
    if name not in entries:
        raise DownloadError(f"{name!r} is not known; workbook fetch knows {in_short(', '.join(map(str, entries)))}")
    return validated(PublishedFile, {**entries[name], "name": name}, error=DownloadError, source=f"{PUBLISHED}: {name}")


def download(file: PublishedFile, address: str | None = None) -> str:
    """Download a file from an address, or from the first known one that gives it; check it and put it in its place.

    Proxies are taken from HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Returned are the path and what was checked. If no
    address gives the file, `DownloadError` or `FetchedFileError` names the reason of each and what to do by hand.
    """
    failures = []
    for url in [address] if address else file.addresses:
        try:
            with written_whole(file.path) as partial:
                _receive(url, partial)
                checked = check(file, partial)
        except (DownloadError, FetchedFileError) as error:
            failures.append(error)
            continue
        return f"{file.path} fetched: {checked}"
    reasons = "; ".join(map(str, failures))
    raise type(failures[-1])(f"{reasons}; by hand: {file.by_hand(address)} (see {file.page})") from failures[-1]


def place(file: PublishedFile, source: Path) -> str:
    """Check a file that was downloaded by hand, and copy it into `data/`.

    `FetchedFileError` is raised if it is not there, or not the published one.
    """
    if not source.is_file():
        raise FetchedFileError(f"{source}: there is no such file; first {file.by_hand()} (see {file.page})")
    checked = check(file, source)
    if not (file.path.exists() and file.path.samefile(source)):
        with written_whole(file.path) as copy:
            shutil.copyfile(source, copy)
    return f"{file.path} is in its place: {checked}"


def check(file: PublishedFile, path: Path) -> str:
    """Compare size, checksum and content of a file with what is known of the published one; returns them in words.

    Where no checksum is published, the one of the first time is kept beside the target and demanded from then on.
    `FetchedFileError` names both values of what differs.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise FetchedFileError(f"{path}: {size} bytes, but {file.name} has {file.size}")
    known = file.checksum or _kept(file)
    algorithm = known.partition(":")[0] if known else "sha256"
    found = f"{algorithm}:{pooch.file_hash(str(path), algorithm)}"
    if known and found != known:
        source = "published" if file.checksum else f"kept in {file.kept_checksum} (delete that for another version)"
        raise FetchedFileError(f"{path}: {found}, but {known} is {source}")
    _check_content(file, path)
    if not known:
        write_text(file.kept_checksum, f"{found.partition(':')[2]}  {file.path.name}\n")
    compared = "as published" if file.checksum else f"kept in {file.kept_checksum}, none is published"
    return f"{size} bytes, {found} ({compared})"


def _receive(address: str, partial: Path) -> None:
    """Download to a temporary name, with a progress bar on a terminal."""
    # as stored: a compressed transfer would be unpacked
    headers = {"User-Agent": f"single-hit-workbook/{__version__}", "Accept-Encoding": "identity"}
    options = {"headers": headers, "timeout": _TIMEOUT_SECONDS, "chunk_size": 1 << 20}
    try:
        pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), **options)(address, os.fspath(partial), None)
    except requests.HTTPError as error:
        answer = error.response
        answer.close()  # pooch leaves it open
        raise DownloadError(f"{address}: the server answers {answer.status_code} {answer.reason}".rstrip()) from error
    except requests.RequestException as error:
        raise DownloadError(f"{address}: {_reason(error)}") from error


def _reason(error: requests.RequestException) -> str:
    """The reason of a failed request, without the library's chain of objects."""
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that HTTP_PROXY or HTTPS_PROXY names cannot be reached, or refuses"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    inner = getattr(error.args[0], "reason", error) if error.args else error
    return in_short(re.sub(r"^.*\): ", "", str(inner)))


def _kept(file: PublishedFile) -> str | None:
    """The sha256 of an earlier fetch."""
    try:
        return f"sha256:{file.kept_checksum.read_text(encoding='utf-8').split()[0]}"
    except (OSError, IndexError):
        return None


def _check_content(file: PublishedFile, path: Path) -> None:
    """Refuse what cannot be read as the file's kind: a web page can have any name."""
    try:
        if file.content == "hdf5":
            h5py.File(path, "r", locking=False).close()
            return
        build, convolutions = _BACKBONES[file.content]
        filled, _ = darknet.read_backbone(build(), path)
    except OSError as error:
        raise FetchedFileError(f"{path}: not a whole HDF5 file ({error})") from error
    except NetworkFileError as error:
        raise FetchedFileError(str(error)) from error
    if filled != convolutions:
        raise FetchedFileError(f"{path}: fills {filled} convolutions of {file.content}, but {file.name} {convolutions}")
