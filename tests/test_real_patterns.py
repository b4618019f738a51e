"""Ten measured patterns of PR772 (another run than the paper's): prepared and classified; nobody labelled them."""

import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from helpers import ROOT
from helpers.classification.files import classify_file
from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117, Experiment
from helpers.patterns import ReadOptions
from helpers.patterns.writing import write_stack

FRAMES = ROOT.parent / "shared" / "data" / "real_pr772.npz"
ADU_A_PHOTON = 130
CENTRE = (130, 128)

pytestmark = pytest.mark.skipif(not FRAMES.is_file(), reason=f"the measured patterns are not at {FRAMES}")


def half(frames):
    """The half pattern above the beam, turned so that row 0 is next to it: (…, 123, 240). It holds the infinities."""
    row, left = CENTRE[0], CENTRE[1] - 120
    return frames[..., row - 122 : row + 1, left : left + 240][..., ::-1, :]


def write_frames(path, *, keep_infinities):
    """Turn ADU into photon counts and write a CXI file; returns which frames hold infinities in good pixels."""
    given = np.load(FRAMES)
    adu, bad = half(given["adu"]), half(given["mask_bad"]).astype(bool)
    photons = np.clip(np.rint(adu / ADU_A_PHOTON), 0, None).astype(np.float32)
    infinite = (~np.isfinite(photons) & ~bad).any(axis=(1, 2))
    if not keep_infinities:
        photons[~np.isfinite(photons)] = 0
    experiment = Experiment(**{**AMOX34117.__dict__, "name": "PR772", "wavelength_nm": 0.775, "distance_m": 0.586})
    table = pd.DataFrame({"event_id": np.arange(len(adu)) + 1})
    write_stack(path, photons, mask=bad, centre=(0, 120), table=table, experiment=experiment)
    return infinite


def test_measured_patterns_get_a_score_each(tmp_path, model):
    write_frames(tmp_path / "pr772.cxi", keep_infinities=False)
    summary = classify_file(tmp_path / "pr772.cxi", model, output=tmp_path / "selection.csv")
    selection = pd.read_csv(tmp_path / "selection.csv")
    assert list(selection["event_id"]) == list(range(1, 11))
    assert selection["score"].between(0, 1).all()
    assert "of 10 patterns" in summary


def test_measured_frames_in_adu_go_through_the_commands_prepare_and_classify(tmp_path, model):
    given = np.load(FRAMES)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["entry_1/data_1/data"] = given["adu"]
        file["entry_1/data_1/mask"] = (given["mask_bad"] | given["artifacts"]).astype(np.int32)
    prepare = "prepare frames.h5 pr772.cxi --wavelength 0.775 --distance 0.586 --pixel 0.3e-3 --adu-per-photon 8.1"
    options = "--side up --keep-sizes 40 200"
    command = [sys.executable, "-m", "helpers"]
    done = [
        subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        for arguments in (
            [*prepare.split(), *options.split()],
            ["classify", "pr772.cxi", "--model", model, "--output", "selection.csv"],
        )
    ]
    assert "10 of 10 frames kept" in done[0].stdout
    assert "2 of 10 frames hold NaN or infinite values" in done[0].stderr
    assert "of 10 patterns" in done[1].stdout
    assert pd.read_csv(tmp_path / "selection.csv")["score"].between(0, 1).all()


def test_frames_with_infinities_are_refused_by_name_or_counted_as_dark(tmp_path, model):
    infinite = write_frames(tmp_path / "pr772.cxi", keep_infinities=True)
    assert infinite.any()
    with pytest.raises(PatternFileError, match=f"pattern {np.flatnonzero(infinite)[0]}; .*nan_as_zero"):
        classify_file(tmp_path / "pr772.cxi", model, output=tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()
    classify_file(tmp_path / "pr772.cxi", model, output=tmp_path / "all.csv", options=ReadOptions(nan_as_zero=True))
    assert len(pd.read_csv(tmp_path / "all.csv")) == 10
