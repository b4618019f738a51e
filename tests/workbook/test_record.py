import subprocess

import pytest

from helpers.errors import WorkbookError
from helpers.workbook import record


def git(folder, *arguments):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


def test_git_state_is_the_commit_and_whether_files_differ(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    clean = record.git_state(tmp_path)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "table.csv").write_text("what a step has written")
    assert record.git_state(tmp_path) == clean
    (tmp_path / "file").write_text("2")
    assert record.git_state(tmp_path) == {"commit": clean["commit"], "dirty": True}


def test_a_folder_inside_another_repository_has_no_commit(tmp_path):
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    (tmp_path / "unpacked").mkdir()
    assert record.git_state(tmp_path / "unpacked") == {"commit": None, "dirty": None}


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert record.git_state(tmp_path) == {"commit": None, "dirty": None}


def test_steps_keep_the_times_of_others(tmp_path):
    record.add_step(tmp_path, {"seed": 1}, "02_b", 2.04)
    record.add_step(tmp_path, {"seed": 2}, "01_a", 1.0)
    steps = {"01_a": {"seconds": 1.0, "seed": 2}, "02_b": {"seconds": 2.0, "seed": 1}}
    assert record.read_record(tmp_path) == {"seed": 2, "steps": steps}


def test_a_step_keeps_what_it_was_made_with_when_another_runs_under_another_commit(tmp_path):
    first = {"software": {"commit": "aaaa"}, "versions": {"torch": "2.4"}, "hardware": {"gpu": None}}
    second = {"software": {"commit": "bbbb"}, "versions": {"torch": "2.5"}, "hardware": {"gpu": "G"}}
    record.add_step(tmp_path, first, "01_a", 1, reads={"code cells": "1"}, writes={"tables/table_1.csv": "2"})
    record.add_step(
        tmp_path, second, "02_b", 2, reads={"tables/table_1.csv": "2"}, writes={"figures/figure_1.png": "3"}
    )
    found = record.read_record(tmp_path)
    assert found["software"] == second["software"]
    assert {name: found["steps"]["01_a"][name] for name in first} == first
    assert {name: found["steps"]["02_b"][name] for name in second} == second
    assert found["steps"]["02_b"]["reads"] == {"tables/table_1.csv": "2"}
    assert record.written_by(found) == {"tables/table_1.csv": ("01_a", "2"), "figures/figure_1.png": ("02_b", "3")}


@pytest.mark.parametrize("text", ['{"steps": ', "[]", '{"steps": 5}', "\x00"])
def test_a_damaged_record_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(
        WorkbookError, match=r"run\.json holds no (record of a run|section steps).*; delete it, or restore it"
    ):
        record.read_record(tmp_path)


def test_hardware_names_a_processor_and_at_least_one_core():
    described = record.hardware()
    assert described["cores"] >= 1
    assert described["memory_gib"] > 0
    assert described["processor"]
