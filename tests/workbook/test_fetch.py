import ast
import hashlib
import shutil
import struct
import subprocess
from dataclasses import replace

import h5py
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from helpers import darknet
from helpers.errors import DownloadError, FetchedFileError
from helpers.system import PACKAGE
from helpers.workbook import commands, fetch, load_profile
from helpers.workbook.fetch import PublishedFile, check, download, place, published_file
from tests.file_server import proxying

NAMES = ["cxidb-156", "darknet19", "darknet53"]
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
    """An empty data folder."""
    monkeypatch.setattr(fetch, "DATA", tmp_path / "data")
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
        target="measured/patterns.cxi",
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


def test_the_known_files_are_those_that_the_profile_paper_takes():
    assert list(yaml.safe_load(fetch.PUBLISHED.read_text())) == NAMES
    networks = load_profile("paper").networks
    for name, network in (("darknet19", "yolov2"), ("darknet53", "yolov3")):
        file = published_file(name)
        assert file.path == fetch.DATA / "weights" / networks[network]["backbone"]
        assert file.content == network


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_has_web_addresses_and_size_and_checksum_or_neither(name):
    file = published_file(name)
    assert all(address.startswith("https://") for address in (*file.addresses, file.page))
    assert (file.size is None) == (file.checksum is None) == file.is_large
    if file.checksum:
        algorithm, _, digest = file.checksum.partition(":")
        assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size


def test_a_file_is_downloaded_checked_and_placed(published, served, content, data):
    told = download(published)
    assert published.path.read_bytes() == content
    assert files_below(data) == ["patterns.cxi"]
    assert told.startswith(f"{data / 'measured' / 'patterns.cxi'} fetched: {len(content)} bytes, sha512:")
    assert told.endswith("(as published)")
    assert served.requests[0][2]["User-Agent"].startswith("single-hit-workbook/")


def test_a_wrong_file_does_not_become_the_target(published, served, content, data):
    served.files["/patterns.cxi"] = damaged(content)
    with pytest.raises(FetchedFileError, match="is published") as caught:
        download(published)
    assert hashlib.sha512(damaged(content)).hexdigest() in str(caught.value)
    assert published.by_hand() in str(caught.value)
    assert files_below(data) == []


def test_the_next_address_is_tried(published, served, content):
    served.files["/wrong.cxi"] = damaged(content)
    missing, wrong = f"{served.address}/missing.cxi", f"{served.address}/wrong.cxi"
    download(replace(published, addresses=(missing, wrong, *published.addresses)))
    assert [path for _, path, _ in served.requests] == ["/missing.cxi", "/wrong.cxi", "/patterns.cxi"]
    assert published.path.read_bytes() == content


def test_redirections_are_followed(published, served, content):
    served.redirects = {"/old": "/patterns.cxi"}
    download(published, f"{served.address}/old")
    assert published.path.read_bytes() == content


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_named(published, served, status, data):
    served.status = status
    with pytest.raises(DownloadError, match=f"patterns.cxi: the server answers {status} .*; by hand: curl "):
        download(published)
    assert files_below(data) == []


def test_a_connection_that_breaks_off_leaves_nothing_and_names_the_command_that_resumes(published, served, data):
    served.breaks = [2 * MIB]
    with pytest.raises(DownloadError, match=r"the connection broke off; by hand: curl .*--continue-at"):
        download(published)
    assert files_below(data) == []


def test_no_network_tells_what_to_do_by_hand(published, data):
    file = replace(published, addresses=("https://weights.example/patterns.cxi",))
    with pytest.raises(DownloadError) as caught:
        download(file)
    assert str(caught.value).startswith("https://weights.example/patterns.cxi: Failed to resolve 'weights.example'")
    assert str(caught.value).endswith(
        "; by hand: curl --location --continue-at - --output patterns.cxi https://weights.example/patterns.cxi && "
        "workbook fetch patterns --from patterns.cxi (see http://page.example)"
    )
    assert files_below(data) == []


def test_a_download_goes_through_the_proxy_of_the_environment(published, served, monkeypatch):
    with proxying(served) as (proxy, seen):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        download(published, "http://elsewhere.example/patterns.cxi")
        assert seen == [("GET", "http://elsewhere.example/patterns.cxi")]
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(DownloadError, match="the proxy that HTTP_PROXY or HTTPS_PROXY names cannot be reached"):
            download(published, "https://elsewhere.example/patterns.cxi")
        assert seen[1] == ("CONNECT", "elsewhere.example:443")


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_the_command_by_hand_resumes_what_broke_off(published, served, content, tmp_path):
    begun = tmp_path / "patterns.cxi"
    begun.write_bytes(content[:MIB])
    curl = published.by_hand().split(" && ")[0].split()
    subprocess.run([*curl, "--silent"], cwd=tmp_path, check=True)
    assert served.requests[-1][2]["Range"] == f"bytes={MIB}-"
    place(published, begun)
    assert published.path.read_bytes() == content


def test_a_file_downloaded_by_hand_is_checked_and_placed(published, content, tmp_path):
    source = tmp_path / "Downloads (1).cxi"
    source.write_bytes(content)
    assert "as published" in place(published, source)
    assert published.path.read_bytes() == source.read_bytes() == content
    assert "as published" in place(published, published.path)
    assert files_below(published.path.parent) == ["patterns.cxi"]


def test_a_wrong_file_downloaded_by_hand_is_neither_placed_nor_deleted(published, content, tmp_path, data):
    source = tmp_path / "file"
    for given, message in ((content[:-1], f"{len(content) - 1} bytes, but patterns has"), (damaged(content), "sha512")):
        source.write_bytes(given)
        with pytest.raises(FetchedFileError, match=message):
            place(published, source)
        assert source.read_bytes() == given
    with pytest.raises(FetchedFileError, match="there is no such file; first curl"):
        place(published, tmp_path / "nothing")
    assert files_below(data) == []


def test_an_unpublished_checksum_is_kept_and_demanded_from_then_on(unknown, served, content, data):
    digest = hashlib.sha256(content).hexdigest()
    assert f"sha256:{digest} (kept in {unknown.kept_checksum}, none is published)" in download(unknown)
    assert unknown.kept_checksum.read_text() == f"{digest}  patterns.cxi\n"
    served.files["/patterns.cxi"] = damaged(content)
    with pytest.raises(FetchedFileError, match=r"is kept in .*patterns.cxi.sha256 \(delete that for another version"):
        download(unknown)
    assert unknown.path.read_bytes() == content
    unknown.kept_checksum.unlink()
    download(unknown)
    assert unknown.path.read_bytes() == damaged(content)


@pytest.mark.parametrize("wrong", ["half", "a page"])
def test_what_is_no_pattern_file_is_not_taken_although_nothing_is_known_of_it(unknown, served, content, data, wrong):
    pages = {"half": content[: len(content) // 2], "a page": b"<!DOCTYPE html><title>We have moved</title>"}
    served.files["/patterns.cxi"] = pages[wrong]
    with pytest.raises(FetchedFileError, match="not a whole HDF5 file"):
        download(unknown)
    assert files_below(data) == []


def test_a_folder_that_cannot_be_made_is_named(published, data):
    data.write_text("not a folder")
    with pytest.raises(OSError, match=f"{data}"):
        download(published)


def write_backbone(path, convolutions, *, surplus=0):
    """A `.conv.NN` file of zeros, with the header that the one for YOLOv2 has."""
    floats = sum(darknet.float_counts(darknet.yolov2())[:convolutions]) + surplus
    path.write_bytes(struct.pack("<iiii", 0, 1, 0, 0) + bytes(4 * floats))


def test_a_backbone_must_end_with_its_last_convolution(tmp_path):
    file, path = replace(published_file("darknet19"), checksum=None), tmp_path / "weights"
    write_backbone(path, 18)
    check(file, path)  # the published size is right, too
    file = replace(file, size=None)
    file.kept_checksum.unlink()
    write_backbone(path, 18, surplus=1)
    with pytest.raises(FetchedFileError, match=r"expected .* up to the end of convolution 18"):
        check(file, path)
    write_backbone(path, 17)
    with pytest.raises(FetchedFileError, match=r"fills 17 convolutions .* 18"):
        check(file, path)


@pytest.fixture
def command(served, content, tmp_path, monkeypatch):
    """Run `workbook fetch` with a list of files on this machine: a small one, and one that is said to be large."""
    served.files["/patterns.cxi"] = content
    common = {"description": "a few patterns", "page": "http://page.example", "licence": "CC0", "content": "hdf5"}
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    entries = {
        "patterns": common
        | {"addresses": [f"{served.address}/patterns.cxi"], "target": "a.cxi", "size": len(content)}
        | {"checksum": checksum},
        "large": common | {"addresses": [f"{served.address}/7/"], "target": "b.cxi", "is_large": True},
    }
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(entries))
    monkeypatch.setattr(fetch, "PUBLISHED", tmp_path / "published.yaml")

    def run(*arguments, answer=None):
        given = ["fetch", *map(str, arguments)]
        return CliRunner().invoke(commands.workbook, given, input=answer, catch_exceptions=False)

    return run


def test_the_help_names_what_can_be_fetched(command):
    assert "|".join(NAMES) in command("--help").output


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_nothing_is_downloaded_unless_the_answer_is_yes(command, served, content, data, answer):
    done = command("patterns", answer=answer)
    assert done.exit_code == 1
    assert served.requests == []
    assert files_below(data) == []
    for wanted in (f"{len(content)} bytes", "CC0", str(data / "a.cxi"), hashlib.sha256(content).hexdigest()):
        assert wanted in done.output


def test_yes_downloads_and_the_second_time_it_is_there(command, served, content, data):
    done = command("patterns", answer="y\n")
    assert done.exit_code == 0
    assert "Download it?" in done.output
    assert (data / "a.cxi").read_bytes() == content
    asked = len(served.requests)
    assert "is already there" in command("patterns").output
    assert len(served.requests) == asked
    (data / "a.cxi").write_bytes(damaged(content))
    with pytest.raises(FetchedFileError, match="is published"):
        command("patterns")
    assert (data / "a.cxi").read_bytes() == damaged(content)


def test_of_a_large_file_the_command_that_resumes_is_printed(command, served, content, data, tmp_path):
    done = command("large", "--yes")
    assert done.exit_code == 1
    line = (
        f"curl --location --continue-at - --output b.cxi {served.address}/7/NAME && workbook fetch large --from b.cxi"
    )
    assert line in done.output
    assert served.requests == []
    assert (
        "--output b.cxi http://mirror.example/it &&" in command("large", "--address", "http://mirror.example/it").output
    )
    (tmp_path / "b.cxi").write_bytes(content)
    assert "is in its place" in command("large", "--from", tmp_path / "b.cxi").output
    assert files_below(data) == ["b.cxi", "b.cxi.sha256"]
    assert served.requests == []


def test_only_this_module_speaks_to_the_network():
    speaking = {"requests", "pooch", "socket", "ssl", "http", "urllib", "urllib3", "httpx", "ftplib", "aiohttp"}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [one.name for one in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)]
            )
            if speaking & {str(name).split(".")[0] for name in names}:
                found.add(str(path.relative_to(PACKAGE)))
    assert found == {"workbook/fetch.py"}
