"""One file over HTTP, in as many goes as it takes: what has arrived stays on disk until all is there.

`FILE.partial` holds the bytes, `FILE.partial.json` what the server said of them, so that the next go asks only for the
rest (RFC 9110, 13.1.5 If-Range and 14 Range). Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests

from helpers import __version__
from helpers.errors import DownloadError
from helpers.system import progress, write_text

_BLOCK_BYTES = 1 << 20
_TIMEOUT = (20.0, 60.0)
"""For the connection, and for the next bytes [s]."""

_WAITS = (1.0, 5.0, 20.0)
"""Before each further go that may bring nothing, once something has come [s]."""

_FOLDERS = 50
"""Listings that are read at most in search of a file."""


@dataclass(frozen=True)
class _Origin:
    """What a server has said of the file that a `.partial` is part of."""

    address: str
    validator: str | None
    size: int | None

    @classmethod
    def of(cls, response: requests.Response, address: str) -> "_Origin":
        """From an answer; a weak entity tag does not tell whether bytes are the same, the date then has to."""
        tag = response.headers.get("ETag", "")
        strong = tag if tag.startswith('"') else None
        return cls(address, strong or response.headers.get("Last-Modified"), _whole_size(response))

    @classmethod
    def remembered(cls, partial: Path) -> "_Origin | None":
        """From the file beside the `.partial`; None if there is none, or none that can be read."""
        try:
            return cls(**json.loads(_memory(partial).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def download(address: str, partial: Path, *, size: int | None, label: str) -> None:
    """Fill `partial` until it holds the whole file; what it holds already is not asked for again.

    A connection that breaks off is taken up again as long as that brings new bytes, else a few times.

    Parameters
    ----------
    address
        Of the file; redirections are followed.
    partial
        A file that is there, perhaps empty. It and its memory stay if this fails.
    size
        Bytes that the file must have, None if nobody knows.
    label
        What the progress is of.

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses, breaks off again and again, or offers a file of another size; or if
        the disk is too small.
    """
    waits = iter(_WAITS)
    most = before = partial.stat().st_size
    with _session() as session:
        while True:
            try:
                _receive(session, address, partial, size=size, label=label)
                return
            except requests.RequestException as error:
                have = partial.stat().st_size
                pause = next(waits, None)
                if have > most:
                    waits, pause = iter(_WAITS), 0.0
                most = max(most, have)
                if pause is None or most == before:
                    raise DownloadError(f"{address}: {reason(error)}") from error
                time.sleep(pause)


def forget(partial: Path) -> None:
    """Empty a `.partial`, if it is there, and delete what is remembered of it."""
    if partial.exists():
        os.truncate(partial, 0)
    _memory(partial).unlink(missing_ok=True)


def announced_size(address: str) -> int | None:
    """Bytes of a file as the server says (HEAD); None if it does not say, or does not know HEAD.

    Raises
    ------
    DownloadError
        If the server cannot be reached or refuses.
    """
    with (
        _session() as session,
        _answers(address),
        session.head(address, allow_redirects=True, timeout=_TIMEOUT) as head,
    ):
        if head.status_code in (405, 501):
            return None
        _refuse(head, address)
        return _whole_size(head)


def listed_files(folder: str, pattern: str) -> list[str]:
    """Addresses of the files below a folder whose names fit, found in the listings that the server makes.

    Parameters
    ----------
    folder
        Address that ends in `/`.
    pattern
        Of the name, as in a shell: `*amox34117*.cxi`.

    Raises
    ------
    DownloadError
        If a listing cannot be read.
    """
    found, folders = [], [folder]
    with _session() as session, _answers(folder):
        for place in folders:
            with session.get(place, timeout=_TIMEOUT) as response:
                _refuse(response, place)
                links = [link for link in _links(response) if link.startswith(response.url) and link != response.url]
            found += [link for link in links if fnmatchcase(unquote(link.rpartition("/")[2]), pattern)]
            folders += [link for link in links if link.endswith("/") and link not in folders][: _FOLDERS - len(folders)]
    return found


def reason(error: requests.RequestException) -> str:
    """Why a request failed, in a few words instead of the library's chain of objects."""
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that HTTP_PROXY or HTTPS_PROXY names cannot be reached, or refuses"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    inner = getattr(error.args[0], "reason", error) if error.args else error
    return " ".join(str(inner).rpartition("): ")[2].split()) or type(error).__name__


class _Anchors(HTMLParser):
    """The links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _links(response: requests.Response) -> list[str]:
    """Addresses that a page links to, each once; those that only sort a listing are left out."""
    anchors = _Anchors()
    anchors.feed(response.text)
    whole = [urldefrag(urljoin(response.url, link)).url for link in anchors.links]
    return [link for link in dict.fromkeys(whole) if not urlsplit(link).query]


def _session() -> requests.Session:
    session = requests.Session()
    # as stored: a compressed transfer has neither the size nor the ranges of the file
    session.headers.update({"User-Agent": f"single-hit-workbook/{__version__}", "Accept-Encoding": "identity"})
    return session


@contextmanager
def _answers(address: str) -> Iterator[None]:
    """Turn a request that failed into an error for the user."""
    try:
        yield
    except requests.RequestException as error:
        raise DownloadError(f"{address}: {reason(error)}") from error


def _receive(session: requests.Session, address: str, partial: Path, *, size: int | None, label: str) -> None:
    """One request for what is missing, written to the end of `partial`."""
    origin, start = _Origin.remembered(partial), partial.stat().st_size
    if start and start == (size or (origin.size if origin else None)):
        return
    if start and not _can_continue(origin, address, start, size):
        os.truncate(partial, 0)
        start = 0
    headers = _range_headers(origin, address, start) if start else {}
    with session.get(address, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        _refuse(response, address, ranged=bool(start))
        offered = _Origin.of(response, address)
        if start and not _continues(response, offered, origin, start):
            os.truncate(partial, 0)
            start = 0
        if response.status_code == 200 or start:
            _refuse_size(offered, size)
            _refuse_full_disk(offered, partial, start)
            write_text(_memory(partial), json.dumps(asdict(offered)))
            _append(response, partial, offered.size and offered.size - start, label)
            if partial.stat().st_size < (size or 0):  # a server that does not say how much comes
                raise requests.exceptions.ChunkedEncodingError("ended early")
            return
    _receive(session, address, partial, size=size, label=label)


def _can_continue(origin: _Origin | None, address: str, start: int, size: int | None) -> bool:
    """Whether to ask for the rest; a file of which nothing is known must not be put together from two servers."""
    if origin is None or (size is None and origin.address != address):
        return False
    return size is None or start <= size


def _range_headers(origin: _Origin, address: str, start: int) -> dict[str, str]:
    """Ask for the rest, and for the whole if the file has changed; another server's validators say nothing."""
    headers = {"Range": f"bytes={start}-"}
    if origin.validator and origin.address == address:
        headers["If-Range"] = origin.validator
    return headers


def _continues(response: requests.Response, offered: _Origin, origin: _Origin, start: int) -> bool:
    """Whether an answer goes on where the `.partial` ends, and is part of the same file."""
    first = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    same_size = origin.size in (None, offered.size)
    same = same_size and (offered.address != origin.address or offered.validator == origin.validator)
    return response.status_code == 206 and first is not None and int(first[1]) == start and same


def _append(response: requests.Response, partial: Path, missing: int | None, label: str) -> None:
    """Write the body as it comes; what has come before a break stays."""
    blocks = response.iter_content(_BLOCK_BYTES)
    total = None if missing is None else -(-missing // _BLOCK_BYTES)
    with open(partial, "ab") as stream:
        for block in progress(blocks, label=f"{label} [MiB]", total=total):
            stream.write(block)


def _whole_size(response: requests.Response) -> int | None:
    """Bytes of the whole file, of which an answer may be a part."""
    ranged = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    length = response.headers.get("Content-Length", "")
    if response.status_code in (206, 416):
        return int(ranged[1]) if ranged else None
    return int(length) if length.isdecimal() else None


def _refuse(response: requests.Response, address: str, *, ranged: bool = False) -> None:
    """Accept a file, and where a part was asked for, a part, or that there is no such part."""
    if response.status_code not in ((200, 206, 416) if ranged else (200,)):
        raise DownloadError(f"{address}: the server answers {response.status_code} {response.reason}".rstrip())


def _refuse_size(offered: _Origin, size: int | None) -> None:
    if size is not None and offered.size is not None and offered.size != size:
        raise DownloadError(
            f"{offered.address}: the server offers {offered.size} bytes, but the file has {size}: it is another file"
        )


def _refuse_full_disk(offered: _Origin, partial: Path, start: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if offered.size is not None and offered.size - start > free:
        raise DownloadError(
            f"{partial.parent}: {offered.size - start} bytes are missing and only {free} are free; make room"
        )


def _memory(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")
