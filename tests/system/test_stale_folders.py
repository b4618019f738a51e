import json

import pytest

from helpers.system import claim_folder


def claim(folder, **description):
    claim_folder(folder, description, written_in="about.json", may_differ=["threshold"])


@pytest.fixture
def folder(tmp_path):
    """A folder with a result and its description."""
    claim(tmp_path / "run_1", code="a", settings={"batch": 4, "seed": 1}, threshold=0.5)
    (tmp_path / "run_1" / "result").write_text("took hours")
    return tmp_path / "run_1"


def test_a_folder_of_the_same_description_is_left_as_it_is(folder, capsys):
    before = (folder / "about.json").stat().st_mtime_ns
    claim(folder, code="a", settings={"seed": 1, "batch": 4}, threshold=0.5)
    assert (folder / "result").exists()
    assert (folder / "about.json").stat().st_mtime_ns == before
    assert capsys.readouterr().out == ""


def test_what_changed_is_said_and_the_old_folder_kept(folder, capsys):
    claim(folder, code="b", settings={"batch": 4, "seed": 2, "width": 1}, threshold=0.7)
    kept = folder.parent / "stale" / "run_1-1"
    assert capsys.readouterr().out == (
        "run_1 is stale (code, settings.seed, settings.width changed); it is made anew, and the old one kept in "
        f"{kept}\n"
    )
    assert (kept / "result").read_text() == "took hours"
    assert json.loads((kept / "about.json").read_text())["code"] == "a"
    assert json.loads((folder / "about.json").read_text())["code"] == "b"
    assert [path.name for path in folder.iterdir()] == ["about.json"]


def test_no_stale_folder_is_ever_overwritten(folder):
    for code in ("b", "c", "d"):
        claim(folder, code=code)
        (folder / "result").write_text(code)
    assert [(folder.parent / "stale" / f"run_1-{k}" / "result").read_text() for k in (1, 2, 3)] == [
        "took hours",
        "b",
        "c",
    ]


def test_a_value_that_may_differ_is_written_and_makes_nothing_stale(folder):
    claim(folder, code="a", settings={"batch": 4, "seed": 1}, threshold=0.7)
    assert (folder / "result").exists()
    assert json.loads((folder / "about.json").read_text())["threshold"] == 0.7


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_results_without_a_description_are_kept_too(folder, capsys, content):
    (folder / "about.json").unlink()
    if content:
        (folder / "about.json").write_text(content)
    claim(folder, code="a", settings={"batch": 4, "seed": 1}, threshold=0.5)
    assert "run_1 is stale (it has no about.json)" in capsys.readouterr().out
    assert (folder.parent / "stale" / "run_1-1" / "result").exists()


def test_what_a_killed_process_began_to_write_is_no_result(tmp_path, capsys):
    (tmp_path / "run_1").mkdir()
    (tmp_path / "run_1" / ".about.json.1@host.partial").write_text("{")
    claim(tmp_path / "run_1", code="a")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "stale").exists()
