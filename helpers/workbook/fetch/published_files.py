"""Published files as `published_files.yaml` lists them: address, size, checksum, and where below `data/` they go."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from helpers import ROOT, darknet
from helpers.errors import DownloadError
from helpers.system import in_short, read_yaml
from helpers.workbook.fetch.download import listed_files

DATA = ROOT / "data"
ADDRESSES = Path(__file__).with_name("published_files.yaml")

BACKBONES = {"yolov2": (darknet.yolov2, 18), "yolov3": (darknet.yolov3, 52)}
"""Network → what builds it, and how many of its convolutions the published backbone fills."""


@dataclass(frozen=True)
class PublishedFile:
    """A file that somebody has published, as `published_files.yaml` describes it.

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
        return self.target.with_name(f"{self.target.name}.sha256")

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
    """The entry of `published_files.yaml` with this name.

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
