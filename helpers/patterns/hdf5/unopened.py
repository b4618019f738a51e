"""Why a file does not open as HDF5: busy, left open, cut short, not allowed, another kind of file; and what to do."""

import errno
import fcntl
import os
import re
from pathlib import Path

from helpers.errors import PatternFileError
from helpers.system import in_short

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_VERSION, _SUPERBLOCK_FLAGS = 8, 11
_SWMR_FLAG = 0x04
_LOOKED_AT = 512

_BUSY = "is busy: another program has it open for writing; wait until that has closed it, or stop that program"
_UNPACK = "unpack it first"
_PICTURE = "write the patterns as CXI"
_TEXT = "download it again, where needed after a login"
_KINDS = (
    (rb"version https://git-lfs", "a pointer of Git LFS", "get the file itself with `git lfs pull`"),
    (rb"(/|\.\./)*\.?(git/)?annex/objects/", "a pointer of git-annex", "get the file itself with `git annex get`"),
    (rb"(?i)\s*(<!doctype html|<html|<head)", "a web page (HTML)", _TEXT),
    (rb"\s*<\?xml", "XML text, perhaps the refusal of a server", _TEXT),
    (rb"\x1f\x8b", "packed with gzip", _UNPACK),
    (rb"BZh", "packed with bzip2", _UNPACK),
    (rb"\xfd7zXZ", "packed with xz", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "packed with zstd", _UNPACK),
    (rb"PK[\x03\x05]", "a zip archive", _UNPACK),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    (rb"CDF[\x01\x02\x05]", "netCDF 3", "convert it with `nccopy -k netCDF-4`"),
    (rb"\x0e\x03\x13\x01", "HDF4", "convert it with `h4toh5`"),
    (rb"\x93NUMPY", "a NumPy array", _PICTURE),
    (rb"MATLAB 5", "a MATLAB file of version 5 to 7", "save it in MATLAB with -v7.3, in HDF5"),
    (rb"II\*\x00|MM\x00\*|\x89PNG|###CBF|\{\s*\n?\s*(EDF|HeaderID)", "a picture", _PICTURE),
    (rb"\x00{16,}$", "zeros, as a download leaves that did not get on", "copy it again"),
)
"""How the beginning of a file looks, what it is then, and the next step."""


def why_unopened(path: Path, error: Exception) -> PatternFileError:
    """The error for a file that h5py does not open: one line without its name, with the next step."""
    text = str(error)
    if "unable to lock" in text:
        return _unlocked(error, text)
    if "already open for" in text or "consistency flags" in text:
        return _left_open(path)
    if cut := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text):
        return PatternFileError(
            f"is not a whole HDF5 file but cut short, {cut[1]} of {cut[2]} bytes; wait until it is copied, or copy it "
            "again"
        )
    number = getattr(error, "errno", None)
    if number is not None:
        step = (
            "ask its owner for the right to read it" if number in (errno.EACCES, errno.EPERM) else "try it again later"
        )
        return PatternFileError(f"cannot be opened ({os.strerror(number)}); {step}")
    return _another_kind(path, text)


def _unlocked(error: Exception, text: str) -> PatternFileError:
    """A file on which HDF5 gets no lock."""
    number = re.search(r"errno = (\d+)", text)
    code = int(number[1]) if number else getattr(error, "errno", None)
    if code in (errno.EAGAIN, errno.EACCES):
        return PatternFileError(_BUSY)
    return PatternFileError(
        f"lies where HDF5 gets no lock ({os.strerror(code) if code else in_short(text)}); copy it to a local disk, or "
        "set HDF5_USE_FILE_LOCKING=FALSE if no program writes it"
    )


def _left_open(path: Path) -> PatternFileError:
    """A file whose superblock says that a writer has it open."""
    if is_locked(path):
        return PatternFileError(_BUSY)
    if is_written_with_swmr(path):
        return PatternFileError(
            "is still written (SWMR), or its writer was killed; follow it with `workbook classify --follow`, or if no "
            "program writes it any more, clear its mark with `h5clear -s` (of the HDF5 tools) on a copy"
        )
    return PatternFileError(
        "was not closed by its writer, which has crashed or writes on another computer; if no program writes it any "
        "more, clear its mark with `h5clear -s` (of the HDF5 tools) on a copy: what was written last may be missing"
    )


def _another_kind(path: Path, text: str) -> PatternFileError:
    """A file whose beginning is not HDF5's, or is damaged."""
    with open(path, "rb") as stream:
        start = stream.read(_LOOKED_AT)
    if not start:
        return PatternFileError("is not a whole HDF5 file but empty (0 bytes); copy it again")
    for pattern, kind, step in _KINDS:
        if re.match(pattern, start, re.DOTALL):
            return PatternFileError(f"is not a whole HDF5 file but {kind}; {step}")
    return PatternFileError(
        f"is not a whole HDF5 file ({in_short(text)}); patterns are read from CXI and other HDF5, and from .emc: copy "
        "it again if it was cut short"
    )


def is_written_with_swmr(path: Path) -> bool:
    """True if the superblock says that a writer has the file open with SWMR, or was killed while it had."""
    with open(path, "rb") as stream:
        start = stream.read(_SUPERBLOCK_FLAGS + 1)
    is_new = start.startswith(_HDF5) and len(start) > _SUPERBLOCK_FLAGS and start[_SUPERBLOCK_VERSION] >= 3
    return is_new and bool(start[_SUPERBLOCK_FLAGS] & _SWMR_FLAG)


def is_locked(path: Path) -> bool:
    """True if a writer holds HDF5's lock; the lock that is taken to find out is released at once."""
    with open(path, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False
