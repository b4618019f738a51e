import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.patterns.dragonfly.detector import read_detector, write_detector


def test_the_detector_is_on_the_ewald_sphere(tmp_path):
    distance = AMOX34117.distance_m / AMOX34117.pixel_m
    mask = np.zeros(AMOX34117.shape, bool)
    mask[5, 7] = True
    write_detector(tmp_path / "detector.h5", mask=mask, centre=AMOX34117.centre, distance=distance)
    with h5py.File(tmp_path / "detector.h5") as file:
        q = np.stack([file[name][()] for name in ("qx", "qy", "qz")])
        corr, stored, radius = file["corr"][()], file["mask"][()], file["ewald_rad"][()]
        assert (file["detd"][()], radius, stored.dtype) == (distance, distance, np.uint8)
    np.testing.assert_allclose(np.linalg.norm(q + np.array([[0], [0], [radius]]), axis=0), radius)  # elastic scattering
    np.testing.assert_allclose(np.hypot(q[0], q[1]), AMOX34117.pixel_radius().ravel(), rtol=0.01)  # small angles
    assert np.flatnonzero(stored == 2).tolist() == [5 * 240 + 7]
    assert set(stored) == {0, 2}
    np.testing.assert_allclose(corr.max(), distance**-2, rtol=1e-5)  # solid angle of a pixel next to the beam


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mask=npst.arrays(bool, npst.array_shapes(min_dims=2, max_dims=2, max_side=30)),
    centre=st.tuples(*[st.floats(-50, 80)] * 2),
    distance=st.floats(200, 1e5),
)
def test_any_detector_survives_a_round_trip(tmp_path, mask, centre, distance):
    write_detector(
        tmp_path / "d.h5", mask=mask, centre=centre, distance=distance, experiment={"name": "x", "pixel_m": 1}
    )
    assembly, experiment = read_detector(tmp_path / "d.h5", mask.size)
    assert assembly.shape == mask.shape
    assert (assembly.distance, experiment["pixel_m"], experiment["name"]) == (distance, 1, "x")
    np.testing.assert_allclose(assembly.centre, centre, atol=1e-5)
    np.testing.assert_array_equal(assembly.mask(assembly.mask_values == 2), mask)
    np.testing.assert_array_equal(
        assembly.images(np.arange(mask.size)[None])[0], np.arange(mask.size).reshape(mask.shape)
    )


def test_the_other_sign_of_qz_is_understood(tmp_path):
    write_detector(tmp_path / "d.h5", mask=np.zeros((20, 30), bool), centre=(3.5, 4.25), distance=300.0)
    with h5py.File(tmp_path / "d.h5", "a") as file:
        file["qz"][()] = -file["qz"][()]
    assembly, _ = read_detector(tmp_path / "d.h5")
    assert (assembly.shape, assembly.centre) == ((20, 30), pytest.approx((3.5, 4.25)))


def test_what_is_no_detector_is_refused(tmp_path):
    write_detector(tmp_path / "d.h5", mask=np.zeros((2, 3), bool), centre=(0, 0), distance=300.0)
    with pytest.raises(PatternFileError, match=r"d\.h5: .*photons have 7 pixels"):
        read_detector(tmp_path / "d.h5", 7)
    with h5py.File(tmp_path / "d.h5", "a") as file:
        file["qz"][()] = np.nan
    with pytest.raises(PatternFileError, match=r"d\.h5: .*place a pixel nowhere"):
        read_detector(tmp_path / "d.h5", 6)
    with h5py.File(tmp_path / "d.h5", "a") as file:
        del file["qz"]
    with pytest.raises(PatternFileError, match=r"d\.h5: is no Dragonfly detector, it lacks qz"):
        read_detector(tmp_path / "d.h5", 6)
