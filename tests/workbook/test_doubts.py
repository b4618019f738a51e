"""Warnings about the counts of a file, on every route; the wrong kind of file behind an option."""

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from helpers import ROOT
from helpers.workbook.commands import workbook
from tests.patterns import test_layouts as layouts

WRONG_WAY = "holds 0 photons in good pixels"


@pytest.fixture
def run():
    """Run the command in this process; gives exit code, output and errors."""
    return lambda *given: CliRunner().invoke(workbook, [str(one) for one in given])


@pytest.fixture
def inverted(twin, tmp_path):
    """The twin with the mask the wrong way round."""
    path = tmp_path / "inverted.cxi"
    path.write_bytes(twin.read_bytes())
    with h5py.File(path, "r+") as file:
        mask = file["entry_1/image_1/mask"]
        mask[...] = mask[()] == 0
    return path


def warnings_in(text):
    return [line for line in text.splitlines() if line.startswith("workbook: warning: ")]


def test_info_shows_it_before_and_after_the_mask_and_warns(run, inverted):
    done = run("info", inverted)
    assert done.exit_code == 0
    (line,) = warnings_in(done.stderr)
    assert WRONG_WAY in line
    assert "photons    median 0" in done.stdout
    assert "before the mask" in done.stdout


@pytest.mark.parametrize("follow", [[], ["--follow", "--stop-after", "1"]])
def test_classify_warns_once_and_the_twin_has_no_warning(run, inverted, twin, model, tmp_path, follow):
    for path, number in ((inverted, 1), (twin, 0)):
        done = run("classify", path, "--model", model, "--output", tmp_path / f"{path.stem}.csv", *follow)
        assert done.exit_code == 0
        found = warnings_in(done.stderr)
        assert len(found) == number
        assert all(WRONG_WAY in line and str(path) in line for line in found)


def test_prepare_warns_of_frames_whose_light_lies_under_the_mask(run, tmp_path):
    counts = np.random.default_rng(1).poisson(0.3, (12, 40, 40)).astype(np.uint16)
    mask = np.ones((40, 40), np.uint8)
    mask[:, :4] = counts[:, :, :4] = 0
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"], file["entry_1/data_1/mask"] = counts, mask
    geometry = ["--wavelength", 0.7, "--distance", 0.1, "--pixel", 7e-5]
    done = run("prepare", tmp_path / "a.cxi", tmp_path / "b.cxi", *geometry)
    assert len(warnings_in(done.stderr)) == 1
    assert "the brightest of 12 patterns looked at holds 0 photons in good pixels" in done.stderr


def test_a_run_warns_before_its_first_notebook(inverted, tmp_path, capfd):
    from helpers.workbook.runner import _prepared

    _prepared({"profile": "demo", "results": str(tmp_path / "run"), "data": str(inverted)})
    assert [WRONG_WAY in line for line in warnings_in(capfd.readouterr().err)] == [True]


def test_the_notebook_that_shows_the_data_prints_the_doubts():
    text = (ROOT / "notebooks" / "01_data_exploration.ipynb").read_text()
    assert "print_doubts(doubts(stack))" in text


@pytest.mark.parametrize("content", [b"30 1733.3 1500.0\n" + b"1.5 2.5 0.1 0.9 0\n" * 30, bytes(30)])
def test_what_is_no_geometry_behind_detector_is_told_with_what_is_wanted(tmp_path, content):
    """duaneloh/Dragonfly#11 and CXIDB 84: detectors as text (det.dat) and masks as bytes (mask.byt)."""
    layouts.write_sparse_emc(tmp_path / "photons.emc")
    (tmp_path / "det.dat").write_bytes(content)
    done = CliRunner().invoke(
        workbook, ["info", str(tmp_path / "photons.emc"), "--detector", str(tmp_path / "det.dat")]
    )
    assert done.exit_code != 0
    assert str(done.exception).count("\n") == 0
    assert "det.dat: is no HDF5, and holds no geometry that can be read; give a geometry" in str(done.exception)
    assert "copy it again" not in str(done.exception)


def test_photons_of_dragonfly_under_their_older_name_are_read(run, tmp_path):
    layouts.write_sparse_emc(tmp_path / "photons.emc")
    (tmp_path / "photons.emc").rename(tmp_path / "photons.dat")
    done = run("info", tmp_path / "photons.dat")
    assert "7 of 5 rows x 6 columns, int32" in done.stdout
    assert done.stderr == ""
