import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.errors import WorkbookError
from helpers.patterns import DEFAULTS, ReadOptions, open_stack
from helpers.workbook import commands, main
from helpers.workbook.commands import model_folder, workbook


@pytest.fixture
def run(monkeypatch):
    """Run the command in this process; gives exit code, output and errors."""

    def invoke(*arguments):
        return CliRunner().invoke(workbook, [str(argument) for argument in arguments], catch_exceptions=False)

    return invoke


def test_help_names_the_commands(run):
    assert list(workbook.commands) == ["run", "simulate", "classify", "info", "fetch", "prepare", "verify"]
    assert "skipped" in run("run", "--help").output


def test_run_hands_on_its_options(run, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(
        "helpers.workbook.runner.run_workbook", lambda *given, **named: calls.append((given, named)) or 1
    )
    done = run("run", "--profile", "paper", "--data", "a.cxi", "--only", "04, 05", "--results", tmp_path)
    assert done.exit_code == 1
    expected = {"results": tmp_path, "data": Path("a.cxi"), "labels": None, "only": ["04", "05"], "fresh": False}
    assert calls == [(("paper",), expected)]


def test_fresh_and_only_exclude_each_other(run):
    done = run("run", "--fresh", "--only", "04")
    assert done.exit_code == 2
    assert "does not go with --only" in done.output


def test_simulate_writes_labelled_patterns(run, tmp_path):
    done = run("simulate", tmp_path / "twin.cxi", "--patterns", 20, "--seed", 3)
    assert done.exit_code == 0
    with open_stack(tmp_path / "twin.cxi") as stack:
        assert len(stack) >= 20
        assert stack.title.startswith("simulated")
        assert {"label", "truth", "species"} <= set(stack.table())


def test_info_describes_a_file(run, tmp_path, write_patterns):
    done = run("info", write_patterns(tmp_path / "a.cxi", "run 17"))
    assert done.exit_code == 0
    assert "entry_1/image_1/data" in done.output
    assert "3" in done.output


def test_classify_hands_on_its_options_and_prints_the_summary(run, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(
        "helpers.classification.classify_files", lambda *given, **named: calls.append((given, named)) or "5 of 9"
    )
    done = run("classify", "a.cxi", "--model", tmp_path, "--threshold", 0.3, "--nan-as-zero", "--output", "o.csv")
    assert (done.exit_code, done.output) == (0, "5 of 9\n")
    named = {"output": Path("o.csv"), "threshold": 0.3, "options": ReadOptions(nan_as_zero=True)}
    assert calls == [(((Path("a.cxi"),), tmp_path), named)]
    done = run("classify", "a.cxi", "b.cxi", "--model", tmp_path, "--cluster", "local:2", "--chunks", "2/16")
    assert calls[1] == (
        ((Path("a.cxi"), Path("b.cxi")), tmp_path),
        {"cluster": "local:2", "share": (2, 16), "options": DEFAULTS},
    )


@pytest.mark.parametrize("share", ["2", "0/3", "4/3", "1/", "a/b", "1/2/3", "-1/3", "²/3"])
def test_a_share_that_is_none_is_refused(run, share):
    done = run("classify", "a.cxi", "--model", "m", f"--chunks={share}")
    assert done.exit_code == 2
    assert "is not K/N with K from 1 to N, for instance 2/16" in done.output


def test_a_model_is_a_folder_or_run_and_family(tmp_path, monkeypatch):
    family = tmp_path / "demo" / "families" / "yolov2-jet-log"
    family.mkdir(parents=True)
    (family / "family.json").write_text("{}")
    monkeypatch.setattr("helpers.workbook.run.RESULTS", tmp_path)
    for given in (family, tmp_path / "demo" / "yolov2-jet-log", Path("demo/yolov2-jet-log")):
        assert model_folder(given) == family
    assert model_folder(Path("demo/other")) == Path("demo/other")


def test_a_run_given_as_a_model_lists_its_families(tmp_path, monkeypatch):
    for name in ("yolov3-gray-linear", "yolov2-jet-log"):
        family = tmp_path / "demo" / "families" / name
        family.mkdir(parents=True)
        (family / "family.json").write_text("{}")
    monkeypatch.setattr("helpers.workbook.run.RESULTS", tmp_path)
    for given in (tmp_path / "demo", Path("demo")):
        names = r"\(yolov2-jet-log, yolov3-gray-linear\), as .*demo/yolov2-jet-log"
        with pytest.raises(WorkbookError, match=f"demo: is a run; name one of its families {names}"):
            model_folder(given)


def test_an_error_of_the_user_is_one_line_and_code_2(monkeypatch, capsys):
    def fail(**_):
        raise WorkbookError("a.cxi: entry_1/data holds text; choose another file")

    monkeypatch.setattr(commands, "workbook", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "workbook: a.cxi: entry_1/data holds text; choose another file\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "text.cxi"], "text.cxi: is not a whole HDF5 file"),
        (["run", "--profile", "huge"], "no profile 'huge'"),
        (["fetch", "imagenet"], "workbook fetch knows cxidb-156, darknet19, darknet53"),
        (["fetch", "darknet19", "--from", "text.cxi"], "text.cxi: 11 bytes, but darknet19 has 79327120"),
    ],
)
def test_a_wrong_file_is_one_line_and_code_2(tmp_path, arguments, message):
    (tmp_path / "text.cxi").write_text("no patterns")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "helpers", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_info_shows_patterns_and_draws_a_gallery(run, tmp_path, write_patterns):
    path = write_patterns(tmp_path / "a.cxi", "run 17")
    done = run("info", path, "--picture", tmp_path / "gallery.png")
    assert done.exit_code == 0
    assert done.output.count("\n  |") == 6
    assert str(tmp_path / "gallery.png") in done.output
    with Image.open(tmp_path / "gallery.png") as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture).reshape(-1, 4), axis=0)) > 20
    done = run("info", path, "--picture", tmp_path / "gallery.pdf")
    assert (done.exit_code, "ends in .png" in done.output) == (2, True)


def test_info_hands_on_how_a_file_is_read(run, monkeypatch):
    calls = []
    monkeypatch.setattr("helpers.patterns.probe", lambda *given, look: calls.append(given) or [])
    monkeypatch.setattr("helpers.patterns.describe", lambda *given, **named: calls.append((given, named)) or "text")
    options = ["--dataset", "a/b", "--frame-shape", "123x240", "--mask-polarity", "nonzero-good", "--detector", "d.h5"]
    assert run("info", "a.emc", *options).exit_code == 0
    given = ReadOptions("a/b", frame_shape=(123, 240), mask_polarity="nonzero-good", detector=Path("d.h5"))
    assert calls == [(Path("a.emc"), given), ((Path("a.emc"), given), {"pictures": True})]


@pytest.mark.parametrize("shape", ["123", "123x", "0x4", "-1x4", "4x5x6", "axb"])
def test_a_frame_shape_that_is_none_is_refused(run, shape):
    done = run("info", "a.emc", f"--frame-shape={shape}")
    assert done.exit_code == 2
    assert "is not ROWSxCOLUMNS, for instance 123x240" in done.output


def test_classify_takes_the_options_of_reading(run, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("helpers.classification.classify_files", lambda *_, **named: calls.append(named) or "")
    run("classify", "a.emc", "--model", tmp_path, "--frame-shape", "2x3", "--detector", "d.h5")
    assert calls == [{"options": ReadOptions(frame_shape=(2, 3), detector=Path("d.h5"))}]
