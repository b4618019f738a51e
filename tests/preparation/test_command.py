"""`workbook prepare` asks for those values of the experiment that a file lacks, and takes the others from it."""

import h5py
import numpy as np
import pytest

from helpers.errors import PatternFileError
from helpers.patterns import open_stack
from helpers.preparation import prepare_file
from helpers.preparation.command import _experiment

DETECTOR = "entry_1/instrument_1/detector_1"
STORED = {
    f"{DETECTOR}/distance": 0.13,
    f"{DETECTOR}/x_pixel_size": 75e-6,
    "entry_1/instrument_1/source_1/energy": 2.7249e-16,
}
OPTIONS = {"distance": "--distance", "x_pixel_size": "--pixel", "energy": "--wavelength"}
GIVEN = {"wavelength_nm": None, "distance_m": None, "pixel_m": None, "adu_per_photon": None}


def frames(path, lacking=()):
    """Blank frames without `image_center`, and without the values named."""
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = np.zeros((2, 6, 8), np.float32)
        for name, value in STORED.items():
            if name.rpartition("/")[2] not in lacking:
                file[name] = value
    return path


@pytest.mark.parametrize("lacking", [["distance"], ["x_pixel_size"], ["energy"], ["energy", "distance"], list(OPTIONS)])
def test_only_what_is_missing_is_asked_for(tmp_path, lacking):
    """The row `frames.cxi`: it asked for all three although the file had them."""
    with pytest.raises(PatternFileError) as raised:
        prepare_file(frames(tmp_path / "a.cxi", lacking), tmp_path / "b.cxi")
    asked = str(raised.value).partition("; give ")[2].split(", ")
    assert sorted(asked) == sorted(OPTIONS[name] for name in lacking)


@pytest.mark.parametrize("lacking", [[], *([name] for name in OPTIONS), list(OPTIONS)])
def test_an_option_completes_what_the_file_tells(tmp_path, lacking):
    values = {"distance": ("distance_m", 0.5), "x_pixel_size": ("pixel_m", 1e-4), "energy": ("wavelength_nm", 0.2)}
    given = GIVEN | dict(values[name] for name in lacking)
    with open_stack(frames(tmp_path / "a.cxi", lacking)) as stack:
        found = _experiment(stack, given)
    wanted = {"distance_m": 0.13, "pixel_m": 75e-6, "wavelength_nm": 0.729} | dict(values[name] for name in lacking)
    assert {name: getattr(found, name) for name in wanted} == pytest.approx(wanted, rel=1e-4)


def test_detector_units_of_another_experiment_are_never_assumed(tmp_path):
    """`counts_per_joule` tells the units of a photon only together with the energy, which is not there."""
    frames(tmp_path / "a.cxi", ["energy"])
    with h5py.File(tmp_path / "a.cxi", "r+") as file:
        file[f"{DETECTOR}/counts_per_joule"] = 4e17
    with pytest.raises(PatternFileError, match=r"give --adu-per-photon$"):
        prepare_file(tmp_path / "a.cxi", tmp_path / "b.cxi", wavelength=0.729)
