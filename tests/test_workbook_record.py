import subprocess

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
    assert record.read_record(tmp_path) == {"seed": 2, "steps": {"01_a": {"seconds": 1.0}, "02_b": {"seconds": 2.0}}}


def test_hardware_names_a_processor_and_at_least_one_core():
    described = record.hardware()
    assert described["cores"] >= 1
    assert described["memory_gib"] > 0
    assert described["processor"]
