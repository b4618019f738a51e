import fcntl
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from helpers import ROOT, darknet
from helpers.errors import DownloadError, FetchedFileError
from helpers.workbook import commands
from helpers.workbook.fetch import download as download_module
from helpers.workbook.fetch import published_files
from helpers.workbook.fetch.fetching import check, describe, fetch, found_in_place, place
from helpers.workbook.fetch.published_files import PublishedFile, published_file

MIB = 1 << 20


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A pattern file of a little more than 3 MiB."""
    path = tmp_path_factory.mktemp("content") / "patterns.cxi"
    with h5py.File(path, "w") as stack:
        stack["entry_1/data_1/data"] = np.random.default_rng(3).integers(0, 2**16, (13, 256, 512), np.uint16)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """An empty data folder, and no waiting."""
    monkeypatch.setattr(published_files, "DATA", tmp_path / "data")
    monkeypatch.setattr(download_module, "_WAITS", (0.0, 0.0))
    return tmp_path / "data"


@pytest.fixture
def published(served, content):
    """A file with published size and checksum, as it is served."""
    served.files["/patterns.cxi"] = content
    return PublishedFile(
        name="patterns",
        description="a few patterns",
        addresses=(f"{served.address}/patterns.cxi",),
        page="http://page.example",
        licence="CC0",
        below_data="measured/patterns.cxi",
        content="hdf5",
        size=len(content),
        checksum=f"sha512:{hashlib.sha512(content).hexdigest()}",
    )


@pytest.fixture
def unknown(published):
    """The same, but nobody has published its size and checksum."""
    return replace(published, size=None, checksum=None)


def files_below(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def damaged(content):
    return content[:-MIB] + bytes([content[-MIB] ^ 1]) + content[1 - MIB :]


def test_a_file_is_fetched_checked_and_placed(published, content, data):
    told = fetch(published)
    assert (data / "measured" / "patterns.cxi").read_bytes() == content
    assert files_below(data) == ["patterns.cxi"]
    assert told.startswith(f"{data / 'measured' / 'patterns.cxi'} fetched: {len(content)} bytes, sha512 ")
    assert told.endswith("(as published)")


def test_a_file_that_is_there_and_right_is_left_alone(published, served, data):
    assert found_in_place(published) is None
    fetch(published)
    before = published.target.stat().st_mtime_ns, len(served.requests)
    assert "is already there" in found_in_place(published)
    assert (published.target.stat().st_mtime_ns, len(served.requests)) == before


def test_a_file_that_is_there_and_wrong_is_named_and_left(published, content):
    published.target.parent.mkdir(parents=True)
    published.target.write_bytes(damaged(content))
    with pytest.raises(FetchedFileError, match=r"sha512 .* is published; move it away to fetch it anew"):
        found_in_place(published)
    assert published.target.read_bytes() == damaged(content)


def test_a_wrong_file_is_deleted_and_does_not_become_the_target(published, served, content, data):
    served.files["/patterns.cxi"] = damaged(content)
    with pytest.raises(FetchedFileError, match=r"gave another file, which is deleted: .*sha512") as caught:
        fetch(published)
    assert hashlib.sha512(damaged(content)).hexdigest() in str(caught.value)
    assert published.by_hand() in str(caught.value)
    assert files_below(data) == []
    served.files["/patterns.cxi"] = content
    fetch(published)
    assert published.target.read_bytes() == content


def test_rubbish_at_the_start_of_a_resumed_file_is_deleted(published, content, data):
    published.partial.parent.mkdir(parents=True)
    published.partial.write_bytes(damaged(content)[: 2 * MIB][::-1])
    memory = {"address": published.addresses[0], "validator": '"first"', "size": len(content)}
    published.partial.with_name("patterns.cxi.partial.json").write_text(json.dumps(memory))
    with pytest.raises(FetchedFileError, match="deleted"):
        fetch(published)
    assert files_below(data) == []


def test_the_next_address_is_tried(published, served, content):
    served.files["/wrong.cxi"] = damaged(content)
    missing, wrong = f"{served.address}/missing.cxi", f"{served.address}/wrong.cxi"
    fetch(replace(published, addresses=(missing, wrong, *published.addresses)))
    assert [path for _, path, _ in served.requests] == ["/missing.cxi", "/wrong.cxi", "/patterns.cxi"]
    assert published.target.read_bytes() == content


def test_what_has_arrived_is_kept_and_the_next_call_goes_on(published, served, content, data):
    served.breaks = [2 * MIB, 0, 0, 0]
    with pytest.raises(DownloadError) as caught:
        fetch(published)
    kept = published.partial.stat().st_size
    assert kept > MIB
    assert f"{kept} bytes are kept in {published.partial}, the same command goes on from there" in str(caught.value)
    assert f"{kept} bytes are here already" in describe(published)
    assert not published.target.exists()
    served.breaks = []
    fetch(published)
    assert served.gets()[-1][2]["Range"] == f"bytes={kept}-"
    assert published.target.read_bytes() == content
    assert files_below(data) == ["patterns.cxi"]


def test_no_network_tells_what_to_do_by_hand(published, data):
    file = replace(published, addresses=("https://weights.example/patterns.cxi",))
    with pytest.raises(DownloadError) as caught:
        fetch(file)
    told = str(caught.value)
    assert told.startswith("https://weights.example/patterns.cxi: Failed to resolve 'weights.example'")
    assert "\n" not in told
    for wanted in (
        "by hand: download https://weights.example/patterns.cxi elsewhere (read http://page.example)",
        "workbook fetch patterns --from FILE",
        f"{file.size} bytes",
        file.checksum.replace(":", " "),
        f"puts it at {file.target}",
    ):
        assert wanted in told
    assert files_below(data) == []


def test_a_file_downloaded_by_hand_is_checked_and_placed(published, content, tmp_path):
    source = tmp_path / "Downloads (1).cxi"
    source.write_bytes(content)
    assert "as published" in place(published, source)
    assert published.target.read_bytes() == source.read_bytes() == content
    assert "as published" in place(published, published.target)
    assert files_below(published.target.parent) == ["patterns.cxi"]


def test_a_wrong_file_downloaded_by_hand_is_neither_placed_nor_deleted(published, content, tmp_path, data):
    source = tmp_path / "file"
    for given, message in ((content[:-1], f"{len(content) - 1} bytes, but patterns has"), (damaged(content), "sha512")):
        source.write_bytes(given)
        with pytest.raises(FetchedFileError, match=message):
            place(published, source)
        assert source.read_bytes() == given
    with pytest.raises(FetchedFileError, match="there is no such file"):
        place(published, tmp_path / "nothing")
    assert files_below(data) == []


def test_an_unpublished_checksum_is_remembered_as_sha256sum_writes_it(unknown, content):
    told = fetch(unknown)
    digest = hashlib.sha256(content).hexdigest()
    assert f"sha256 {digest} (kept in {unknown.memory}, none to compare with is known)" in told
    assert unknown.memory.read_text() == f"{digest}  patterns.cxi\n"


def test_a_file_that_has_changed_since_is_noticed(unknown, served, content, data):
    fetch(unknown)
    unknown.target.write_bytes(damaged(content))
    with pytest.raises(FetchedFileError, match=r"is kept in .*patterns.cxi.sha256 \(delete that to accept"):
        found_in_place(unknown)
    unknown.target.unlink()
    served.files["/patterns.cxi"] = damaged(content)
    with pytest.raises(FetchedFileError, match="gave another file, which is deleted"):
        fetch(unknown)
    assert files_below(data) == ["patterns.cxi.sha256"]
    unknown.memory.unlink()
    fetch(unknown)
    assert unknown.target.read_bytes() == damaged(content)


@pytest.mark.parametrize("announced", [2 * MIB, 100])
def test_a_file_of_unknown_size_that_the_server_cuts_is_deleted(unknown, served, announced, data):
    served.announced = announced
    with pytest.raises(FetchedFileError, match=r"which is deleted: .*not a whole HDF5 file"):
        fetch(unknown)
    assert files_below(data) == []


def test_a_page_instead_of_the_file_is_deleted(unknown, served, data):
    served.files["/home"] = b"<!DOCTYPE html><title>We have moved</title>"
    served.redirects = {"/patterns.cxi": "/home"}
    with pytest.raises(FetchedFileError, match="not a whole HDF5 file"):
        fetch(unknown)
    assert files_below(data) == []


def test_two_at_a_time_do_not_write_into_each_other(published):
    published.partial.parent.mkdir(parents=True)
    with open(published.partial, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process is fetching it"):
            fetch(published)
    fetch(published)


def test_a_folder_that_cannot_be_made_is_named(published, data):
    data.write_text("not a folder")
    with pytest.raises(DownloadError, match=f"{data / 'measured'}: Not a directory; make it writable"):
        fetch(published)


HEADERS = {"yolov2": struct.pack("<iiii", 0, 1, 0, 0), "yolov3": struct.pack("<iiiq", 0, 2, 0, 0)}


def write_backbone(path, file, convolutions, *, surplus=0):
    """A `.conv.NN` file of zeros, with the header that the published one has."""
    floats = sum(darknet.float_counts(published_files.BACKBONES[file.content][0]())[:convolutions]) + surplus
    path.write_bytes(HEADERS[file.content] + bytes(4 * floats))


@pytest.mark.parametrize(("name", "convolutions"), [("darknet19", 18), ("darknet53", 52)])
def test_a_backbone_must_end_with_its_last_convolution(name, convolutions, tmp_path):
    file, path = replace(published_file(name), checksum=None), tmp_path / "weights"
    write_backbone(path, file, convolutions)
    check(file, path)  # the published size is right, too
    file = replace(file, size=None)
    file.memory.unlink()
    write_backbone(path, file, convolutions, surplus=1)
    with pytest.raises(FetchedFileError, match=f"expected .* up to the end of convolution {convolutions}"):
        check(file, path)
    write_backbone(path, file, convolutions - 1)
    with pytest.raises(FetchedFileError, match=f"holds {convolutions - 1} convolutions .* has {convolutions}"):
        check(file, path)


def listing(*links):
    return "".join(f'<a href="{link}">{link}</a>' for link in links).encode()


@pytest.fixture
def command(served, content, tmp_path, monkeypatch):
    """Run `workbook fetch` with a list of addresses on this machine: one published, one to be found in a folder."""
    served.files["/patterns.cxi"] = served.files["/7/run/amo_run.cxi"] = content
    served.files["/7/"], served.files["/7/run/"] = listing("../", "run/"), listing("../", "amo_run.cxi", "notes.txt")
    common = {"description": "a few patterns", "page": "http://page.example", "licence": "CC0", "content": "hdf5"}
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    entries = {
        "patterns": common
        | {"addresses": [f"{served.address}/patterns.cxi"], "target": "a.cxi", "size": len(content)}
        | {"checksum": checksum},
        "folder": common | {"addresses": [f"{served.address}/7/"], "listed": "amo*.cxi", "target": "b.cxi"},
    }
    (tmp_path / "addresses.yaml").write_text(yaml.safe_dump(entries))
    monkeypatch.setattr(published_files, "ADDRESSES", tmp_path / "addresses.yaml")

    def run(*arguments, answer=None):
        given = ["fetch", *map(str, arguments)]
        return CliRunner().invoke(commands.workbook, given, input=answer, catch_exceptions=False)

    return run


def test_the_help_names_what_can_be_fetched(command):
    assert "cxidb-156|darknet19|darknet53" in command("--help").output


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_nothing_is_fetched_unless_the_answer_is_yes(command, served, content, data, answer):
    done = command("patterns", answer=answer)
    assert done.exit_code == 1
    assert served.requests == []
    assert files_below(data) == []
    for wanted in (f"{len(content)} bytes", "CC0", str(data / "a.cxi"), hashlib.sha256(content).hexdigest()):
        assert wanted in done.output


def test_yes_fetches_and_the_second_time_it_is_there(command, served, content, data):
    done = command("patterns", answer="y\n")
    assert done.exit_code == 0
    assert "Fetch it?" in done.output
    assert (data / "a.cxi").read_bytes() == content
    asked = len(served.requests)
    assert "is already there" in command("patterns").output
    assert len(served.requests) == asked


def test_a_file_is_found_in_a_folder_and_its_size_asked_for(command, served, content, data):
    done = command("folder", "--yes")
    assert done.exit_code == 0
    assert f"{served.address}/7/run/amo_run.cxi" in done.output
    assert f"not known; the server says {len(content)} bytes" in done.output
    assert f"not known; the sha256 will be kept in {data / 'b.cxi.sha256'}" in done.output
    assert "Fetch it?" not in done.output
    assert files_below(data) == ["b.cxi", "b.cxi.sha256"]


@pytest.mark.parametrize("links", [("notes.txt",), ("amo_1.cxi", "amo_2.cxi")])
def test_a_folder_without_one_fitting_file_asks_for_the_address(command, served, links):
    served.files["/7/"] = listing(*links)
    with pytest.raises(DownloadError, match="give its address with --address") as caught:
        command("folder", "--yes")
    fitting = [f"{served.address}/7/{link}" for link in links if link.startswith("amo")]
    assert (", ".join(fitting) or "listed are: none") in str(caught.value)
    assert f"amo*.cxi below {served.address}/7/" in str(caught.value)


def test_a_folder_that_cannot_be_read_tells_what_to_do_by_hand(command, served):
    served.status = 403
    with pytest.raises(DownloadError, match=r"/7/: the server answers 403 .*; by hand: download amo\*\.cxi below"):
        command("folder", "--yes")


def test_another_address_may_be_given(command, served, data, content):
    served.files["/mirror/it"] = content
    assert command("folder", "--yes", "--address", f"{served.address}/mirror/it").exit_code == 0
    assert {path for _, path, _ in served.requests} == {"/mirror/it"}
    assert (data / "b.cxi").read_bytes() == content


def test_a_file_from_elsewhere_is_placed_without_network(command, served, tmp_path, content, data):
    (tmp_path / "mine.cxi").write_bytes(content)
    assert "is in its place" in command("patterns", "--from", tmp_path / "mine.cxi").output
    assert served.requests == []
    assert (data / "a.cxi").read_bytes() == content


KILLED = """
import sys
from pathlib import Path
from helpers import addresses
from helpers.workbook.commands import main
published_files.DATA, published_files.ADDRESSES = Path(sys.argv.pop()), Path(sys.argv.pop())
main()
"""


def test_a_killed_fetch_goes_on_from_where_it_was(command, served, content, data, tmp_path):
    served.breaks, served.hold = [2 * MIB], threading.Event()
    given = ["fetch", "patterns", "--yes", published_files.ADDRESSES, data]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
    with subprocess.Popen([sys.executable, "-c", KILLED, *given], env=environment, stdout=subprocess.DEVNULL) as killed:
        partial, started = data / "a.cxi.partial", time.monotonic()
        while not (partial.exists() and partial.stat().st_size >= MIB):
            assert killed.poll() is None
            assert time.monotonic() - started < 60
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
    served.hold.set()
    kept = partial.stat().st_size
    assert not (data / "a.cxi").exists()
    assert command("patterns", "--yes").exit_code == 0
    assert served.gets()[-1][2]["Range"] == f"bytes={kept}-"
    assert (data / "a.cxi").read_bytes() == content
    assert files_below(data) == ["a.cxi"]
