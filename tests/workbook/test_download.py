import ast
import json

import numpy as np
import pytest

from helpers.errors import DownloadError
from helpers.system import PACKAGE
from helpers.workbook.fetch import download as module
from helpers.workbook.fetch.download import announced_size, download, listed_files
from tests.file_server import proxying

MIB = 1 << 20
SIZE = 5 * MIB + 321
CONTENT = np.random.default_rng(1).bytes(SIZE)
OTHER = np.random.default_rng(2).bytes(SIZE)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module, "_WAITS", (0.0, 0.0))


@pytest.fixture
def partial(tmp_path):
    path = tmp_path / "file.partial"
    path.touch()
    return path


def get(served, partial, *, size=SIZE, path="/file"):
    download(served.address + path, partial, size=size, label="fetching")
    return partial.read_bytes()


def ranges(served):
    return [headers.get("Range") for _, _, headers in served.gets()]


def begin(served, partial, content=CONTENT[: 2 * MIB + 17], *, tag='"first"', size=SIZE, path="/file"):
    """As a killed download leaves it."""
    partial.write_bytes(content)
    memory = {"address": served.address + path, "validator": tag, "size": size}
    partial.with_name("file.partial.json").write_text(json.dumps(memory))


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_file_arrives_whole(served, partial, size):
    served.files["/file"] = CONTENT
    assert get(served, partial, size=size) == CONTENT
    assert ranges(served) == [None]
    assert served.requests[0][2]["User-Agent"].startswith("single-hit-workbook/")


def test_a_connection_that_breaks_off_is_taken_up_where_it_broke(served, partial):
    served.files["/file"] = CONTENT
    served.breaks = [2 * MIB + 5, MIB + 7]
    assert get(served, partial) == CONTENT
    starts = [int(given.removeprefix("bytes=").removesuffix("-")) for given in ranges(served)[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] <= 2 * MIB + 5
    assert starts[0] < starts[1] <= starts[0] + MIB + 7
    assert [headers.get("If-Range") for _, _, headers in served.gets()] == [None, '"first"', '"first"']


def test_a_download_that_was_killed_goes_on_from_its_last_byte(served, partial):
    served.files["/file"] = CONTENT
    begin(served, partial)
    assert get(served, partial) == CONTENT
    assert ranges(served) == [f"bytes={2 * MIB + 17}-"]


def test_a_file_that_has_changed_meanwhile_starts_anew(served, partial):
    served.files["/file"], served.tag = OTHER, '"second"'
    begin(served, partial)
    assert get(served, partial) == OTHER


def test_a_changed_file_starts_anew_even_if_the_server_does_not_look_at_if_range(served, partial):
    served.files["/file"], served.tag, served.conditional = OTHER, '"second"', False
    begin(served, partial)
    assert get(served, partial) == OTHER
    assert ranges(served) == [f"bytes={2 * MIB + 17}-", None]


def test_a_changed_size_starts_anew(served, partial):
    served.files["/file"] = OTHER[:-1]
    begin(served, partial)
    assert get(served, partial, size=None) == OTHER[:-1]


def test_a_server_that_ignores_ranges_starts_anew(served, partial):
    served.files["/file"], served.ranges = CONTENT, False
    served.breaks = [3 * MIB]
    assert get(served, partial) == CONTENT
    assert len(ranges(served)) == 2
    assert ranges(served)[1].startswith("bytes=")


def test_a_partial_without_memory_starts_anew(served, partial):
    served.files["/file"] = CONTENT
    partial.write_bytes(OTHER[:MIB])
    assert get(served, partial) == CONTENT
    assert ranges(served) == [None]


def test_a_partial_that_is_whole_is_not_asked_for_again(served, partial):
    begin(served, partial, CONTENT)
    assert get(served, partial) == CONTENT
    assert served.requests == []


def test_a_partial_that_is_too_long_starts_anew(served, partial):
    served.files["/file"] = CONTENT
    begin(served, partial, CONTENT + b"!")
    assert get(served, partial) == CONTENT


def test_a_mirror_goes_on_with_what_another_address_gave(served, partial):
    served.files["/mirror"], served.tag = CONTENT, '"of the mirror"'
    begin(served, partial)
    assert get(served, partial, path="/mirror") == CONTENT
    assert "If-Range" not in served.gets()[0][2]
    assert ranges(served) == [f"bytes={2 * MIB + 17}-"]


def test_a_file_of_which_nothing_is_known_is_not_put_together_from_two_servers(served, partial):
    served.files["/mirror"] = OTHER
    begin(served, partial)
    assert get(served, partial, size=None, path="/mirror") == OTHER
    assert ranges(served) == [None]


def test_a_server_that_does_not_say_how_much_comes_is_asked_again_if_it_ends_early(served, partial):
    served.files["/file"], served.announced, served.breaks = CONTENT, -1, [2 * MIB]
    assert get(served, partial) == CONTENT
    assert len(served.gets()) == 2


def test_a_weak_entity_tag_is_not_trusted(served, partial):
    served.files["/file"], served.tag, served.breaks = CONTENT, 'W/"weak"', [2 * MIB]
    assert get(served, partial) == CONTENT
    assert "If-Range" not in served.gets()[1][2]


@pytest.mark.parametrize("announced", [SIZE - 1000, SIZE + 1000])
def test_a_server_that_announces_another_size_than_the_published_is_refused(served, partial, announced):
    served.files["/file"], served.announced = CONTENT, announced
    with pytest.raises(DownloadError, match=f"offers {announced} bytes, but the file has {SIZE}"):
        get(served, partial)
    assert partial.stat().st_size == 0


def test_a_server_that_announces_too_much_of_a_file_of_unknown_size_is_given_up(served, partial):
    served.files["/file"], served.announced = CONTENT, SIZE + 1000
    with pytest.raises(DownloadError, match="broke off"):
        get(served, partial, size=None)
    assert len(served.gets()) <= 8


def test_a_server_that_brings_nothing_more_is_given_up_and_what_has_arrived_stays(served, partial):
    served.files["/file"], served.breaks = CONTENT, [2 * MIB, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="broke off"):
        get(served, partial)
    kept = partial.read_bytes()
    assert len(kept) > MIB
    assert kept == CONTENT[: len(kept)]
    served.breaks = []
    assert get(served, partial) == CONTENT
    assert ranges(served)[-1] == f"bytes={len(kept)}-"


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_refusal_is_named_and_costs_nothing_that_has_arrived(served, partial, status):
    served.status = status
    begin(served, partial)
    with pytest.raises(DownloadError, match=f"/file: the server answers {status}"):
        get(served, partial)
    assert partial.stat().st_size == 2 * MIB + 17


def test_redirections_are_followed(served, partial):
    served.files["/new/file"], served.redirects = CONTENT, {"/file": "/new/file"}
    begin(served, partial)
    assert get(served, partial) == CONTENT
    assert ranges(served) == [f"bytes={2 * MIB + 17}-"] * 2


def test_a_full_disk_is_noticed_before_anything_is_written(served, partial, monkeypatch):
    served.files["/file"] = CONTENT
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": MIB}))
    with pytest.raises(DownloadError, match=f"{SIZE} bytes are missing and only {MIB} are free"):
        get(served, partial)
    assert partial.stat().st_size == 0


def test_nobody_at_the_address_is_an_error_in_few_words(served, partial):
    served.address = "http://127.0.0.1:9"
    with pytest.raises(DownloadError) as caught:
        get(served, partial)
    assert str(caught.value).startswith("http://127.0.0.1:9/file: Failed to establish a new connection: [Errno")
    assert "refused" in str(caught.value)


def test_no_network_is_an_error_in_few_words(partial, this_machine_only):
    with pytest.raises(DownloadError, match=r"^https://weights.example/file: Failed to resolve 'weights.example'"):
        download("https://weights.example/file", partial, size=None, label="fetching")


@pytest.mark.parametrize("address", ["ftp://weights.example/file", "weights", "http://"])
def test_an_address_that_is_none_is_named(partial, this_machine_only, address):
    with pytest.raises(DownloadError, match=f"^{address}: "):
        download(address, partial, size=None, label="fetching")


def test_a_download_goes_through_the_proxy_of_the_environment(served, partial, monkeypatch):
    served.files["/file"], served.breaks = CONTENT, [2 * MIB]
    with proxying(served) as (proxy, seen):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        download("http://weights.example/file", partial, size=SIZE, label="fetching")  # only the proxy can know it
    assert partial.read_bytes() == CONTENT
    assert seen == [("GET", "http://weights.example/file")] * 2


def test_no_proxy_is_heeded(served, partial, monkeypatch):
    served.files["/file"] = CONTENT
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    assert get(served, partial) == CONTENT


def test_a_proxy_that_refuses_is_named(served, partial, monkeypatch):
    with proxying(served) as (proxy, seen):
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        with pytest.raises(DownloadError, match="the proxy that HTTP_PROXY or HTTPS_PROXY names"):
            download("https://weights.example/file", partial, size=None, label="fetching")
    assert seen == [("CONNECT", "weights.example:443")]


def test_a_server_tells_the_size_without_sending_the_file(served):
    served.files["/file"] = CONTENT
    assert announced_size(f"{served.address}/file") == SIZE
    assert served.gets() == []
    served.head = False
    assert announced_size(f"{served.address}/file") is None
    served.head, served.status = True, 404
    with pytest.raises(DownloadError, match="404"):
        announced_size(f"{served.address}/file")


def page(*links):
    return "".join(f'<tr><td><a href="{link}">{link}</a></td></tr>' for link in links).encode()


def test_files_are_found_in_listings_below_a_folder_and_nowhere_else(served):
    served.files = {
        "/data/7/": page(
            "?C=N;O=D", "/data/", "readme.txt", "run%201/", "run2/", "https://elsewhere.example/run_x.cxi"
        ),
        "/data/7/run%201/": page("../", "/data/7/", "run_a.cxi", "run_a.h5", "deep/"),
        "/data/7/run2/": page("../", "./", "b.cxi", "run_b.cxi#top"),
        "/data/7/run%201/deep/": page("run_c.cxi"),
    }
    found = listed_files(f"{served.address}/data/7/", "run_*.cxi")
    assert [address.removeprefix(served.address) for address in found] == [
        "/data/7/run%201/run_a.cxi",
        "/data/7/run2/run_b.cxi",
        "/data/7/run%201/deep/run_c.cxi",
    ]


def test_a_listing_may_be_redirected(served):
    served.redirects = {"/7/": "/data/7/"}
    served.files = {"/data/7/": page("a.cxi", "/7/b.cxi")}
    assert listed_files(f"{served.address}/7/", "*.cxi") == [f"{served.address}/data/7/a.cxi"]


def test_listings_without_end_are_left_after_a_while(served, monkeypatch):
    monkeypatch.setattr(module, "_FOLDERS", 5)
    served.files = {f"/{'a/' * depth}": page("a/", "x.cxi") for depth in range(1, 20)}
    assert len(listed_files(f"{served.address}/a/", "*.cxi")) == 5


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_this_module_speaks_to_the_network(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    speaking = {"requests", "socket", "ssl", "http", "urllib", "urllib3", "httpx", "ftplib", "aiohttp"}
    found = {name for name in imported if name.split(".")[0] in speaking} - {"urllib.parse"}
    assert found == ({"requests"} if path == PACKAGE / "download.py" else set())
