"""A file that does not open is busy, left open, cut short, not allowed or no HDF5, each with its next step."""

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from helpers.errors import PatternFileError
from helpers.patterns import open_stack, probe
from helpers.patterns.hdf5.unopened import why_unopened

WRITER = """
import os, sys, h5py, numpy as np
path, how = sys.argv[1:]
file = h5py.File(path, "w", libver=None if how == "plain" else "latest", locking=True)
file.create_dataset("entry_1/data_1/data", data=np.ones((2, 3, 4), np.uint16), chunks=(1, 3, 4))
file.flush()
if how == "swmr":
    file.swmr_mode = True
if how == "crash":
    os._exit(1)
print("READY", flush=True)
sys.stdin.readline()
os._exit(1)
"""


@contextmanager
def writer(path, how):
    command = [sys.executable, "-c", WRITER, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == ("" if how == "crash" else "READY\n")
        try:
            yield
        finally:
            process.kill()


def reason(path):
    """Why a file does not open, the same at both doors."""
    with pytest.raises(PatternFileError) as raised:
        open_stack(path)
    with pytest.raises(PatternFileError) as probed:
        probe(path)
    text = str(raised.value)
    assert str(probed.value) == text
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


BUSY = "is busy: another program has it open for writing; wait until"
STILL_WRITTEN = "is still written .SWMR., or its writer was killed; follow it with .*--follow.*h5clear -s"
LEFT_OPEN = "was not closed by its writer, which has crashed .*h5clear -s"


@pytest.mark.parametrize(
    ("how", "while_written", "afterwards"),
    [
        ("plain", BUSY, None),
        ("latest", BUSY, LEFT_OPEN),
        ("swmr", STILL_WRITTEN, STILL_WRITTEN),
        ("crash", LEFT_OPEN, LEFT_OPEN),
    ],
)
def test_a_file_of_another_program_is_told_apart_by_what_that_does(tmp_path, how, while_written, afterwards):
    """The row of `open_elsewhere.py` (h5py #1066, #1722); sibling: a killed writer (spyking-circus #51)."""
    path = tmp_path / "a.cxi"
    with writer(path, how):
        assert re.match(while_written, reason(path))
    if afterwards is None:
        open_stack(path).close()
    else:
        assert re.match(afterwards, reason(path))


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            OSError("Unable to open file (unable to lock file, errno = 37, error message = 'No locks available')"),
            "lock",
        ),
        (OSError("Unable to open file (unable to lock file, errno = 38, error message = 'Not implemented')"), "lock"),
        (OSError("Unable to open file (unable to lock file)"), "lock"),
        (PermissionError(errno.EACCES, "[Errno 13] Unable to open file: unable to open file"), "denied.*ask its owner"),
        (OSError(errno.EIO, "[Errno 5] Unable to read"), "Input/output error.*try it again"),
    ],
)
def test_what_a_file_system_refuses_is_not_taken_for_a_damaged_file(tmp_path, error, why):
    """No locks on the file system: h5py #1101; errno 35 on macOS: PyTables #888."""
    found = str(why_unopened(tmp_path / "a.cxi", error))
    assert re.search(why, found)
    assert "damaged" not in found
    assert "copy it again" not in found


def test_a_lock_that_is_refused_means_a_busy_file(tmp_path):
    text = f"Unable to open file (unable to lock file, errno = {errno.EAGAIN}, error message = 'busy')"
    assert re.match(BUSY, str(why_unopened(tmp_path / "a.cxi", BlockingIOError(errno.EAGAIN, text))))


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.cxi", "patterns")
    return stream.getvalue()


def tarred():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.cxi"))
    return stream.getvalue()


def numpy_array():
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"damaged", "file signature not found.*copy it again"),
        (b"\n<!DOCTYPE html>\n<html><body>Please log in</body></html>", "a web page.*download it again.*login"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML.*download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS.*git lfs pull"),
        (b"/annex/objects/MD5E-s99--d41d.cxi\n", "git-annex.*git annex get"),
        (gzip.compress(b"patterns", mtime=0), "gzip; unpack"),
        (bz2.compress(b"patterns"), "bzip2; unpack"),
        (lzma.compress(b"patterns"), "xz; unpack"),
        (zipped(), "zip archive; unpack"),
        (tarred(), "tar archive; unpack"),
        (b"CDF\x01" + bytes(40), "netCDF 3; convert"),
        (numpy_array(), "NumPy array; write the patterns as CXI"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "MATLAB.*-v7.3"),
        (b"II*\x00\x08\x00\x00\x00", "a picture"),
        (bytes(4096), "zeros.*copy it again"),
    ],
)
def test_a_file_that_is_no_hdf5_is_called_what_it_is(tmp_path, content, why):
    """Sibling: "file signature not found" where a pointer or a page lies instead of the data (git-lfs #3273)."""
    path = tmp_path / "a.cxi"
    path.write_bytes(content)
    assert re.match(f"is not a whole HDF5 file.*{why}", reason(path))


def test_a_file_that_was_cut_short_tells_how_much_is_there(tmp_path):
    path = tmp_path / "a.cxi"
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = np.ones((4, 3, 5), np.uint16)
    size = path.stat().st_size
    os.truncate(path, size - 100)
    assert re.match(rf"is not a whole HDF5 file but cut short, {size - 100} of {size} bytes; wait .*copy", reason(path))


@pytest.mark.parametrize("kind", ["external link", "virtual"])
def test_a_source_that_is_busy_is_told_with_its_name(tmp_path, kind):
    """A file may lead to one that is still written; HDF5 itself reads fill values then (EXtra-data's virtual files)."""
    with writer(tmp_path / "source.h5", "plain"), h5py.File(tmp_path / "a.cxi", "w") as file:
        if kind == "virtual":
            layout = h5py.VirtualLayout((2, 3, 4), np.uint16)
            layout[...] = h5py.VirtualSource("source.h5", "entry_1/data_1/data", (2, 3, 4))
            file.create_virtual_dataset("entry_1/data_1/data", layout)
        else:
            file["entry_1/data_1"] = h5py.ExternalLink("source.h5", "/entry_1/data_1")
        file.close()
        assert re.search("source.h5.* is busy: another program", reason(tmp_path / "a.cxi"))
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.read(slice(None)).sum() == 24
