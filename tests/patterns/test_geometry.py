import h5py
import numpy as np
import pytest

from helpers.errors import PatternFileError
from helpers.patterns import ReadOptions, open_stack
from helpers.patterns.assembly import in_rows
from helpers.patterns.dragonfly.detector import write_detector

COUNTS = np.random.default_rng(3).poisson(0.7, (4, 2, 3, 5))
PIXEL = 1e-4
MASK = np.zeros((2, 3, 5), np.int32)
MASK[1, 0, 2] = 1


def write_panels(path, geometry, *, group="entry_1/instrument_1/detector_1"):
    """Panels as psana gives them (N, panel, y, x), and a geometry in the group of the detector."""
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = COUNTS
        file["entry_1/data_1/mask"] = MASK
        file[f"{group}/distance"] = 0.5
        for name, values in geometry.items():
            file[f"{group}/{name}"] = values
    return path


def positions():
    """Two panels below each other with a gap of two rows, the beam in its middle: (3, 2, 3, 5) [m]."""
    down = np.arange(3)[:, None] + np.array([0, 5])[:, None, None] - 3.5
    across = np.broadcast_to(np.arange(5) - 2.0, (2, 3, 5))
    return np.stack([-across, np.broadcast_to(-down, (2, 3, 5)), np.full((2, 3, 5), 0.5 / PIXEL)]) * PIXEL


CORNERS = np.array([[2.5, 4.0, 5000], [2.5, -1.0, 5000]]) * PIXEL
BASIS = np.tile([[[0, -PIXEL, 0], [-PIXEL, 0, 0]]], (2, 1, 1))


def assert_assembled(stack):
    picture = np.zeros((4, 8, 5))
    picture[:, :3], picture[:, 5:] = COUNTS[:, 0], COUNTS[:, 1]
    bad = np.zeros((8, 5), bool)
    bad[3:5] = bad[5, 2] = True
    assert stack.shape == (4, 8, 5)
    np.testing.assert_array_equal(stack.mask, bad)
    np.testing.assert_array_equal(stack.read(slice(None)), np.where(bad, 0, picture))
    assert stack.centre == pytest.approx((3.5, 2.0))


@pytest.mark.parametrize(
    "geometry",
    [
        {"xyz_map": positions()},
        {"xyz_map": positions(), "x_pixel_size": PIXEL},
        {"pixel_positions": positions()[:2], "x_pixel_size": PIXEL, "y_pixel_size": PIXEL},
        {"corner_position": CORNERS, "basis_vectors": BASIS},
        {"corner_positions": CORNERS, "basis_vectors": BASIS[0], "x_pixel_size": PIXEL, "y_pixel_size": PIXEL},
        {"corner_position": CORNERS, "x_pixel_size": PIXEL, "y_pixel_size": PIXEL},
    ],
    ids=lambda geometry: ", ".join(geometry),
)
def test_panels_are_put_together_by_the_geometry_in_the_file_or_in_another(tmp_path, geometry):
    write_panels(tmp_path / "a.cxi", geometry)
    with open_stack(tmp_path / "a.cxi") as stack:
        assert_assembled(stack)
    write_panels(tmp_path / "b.cxi", {})
    with h5py.File(tmp_path / "geometry.h5", "w") as file:
        for name, values in geometry.items():
            file[name] = values
    for detector in (tmp_path / "geometry.h5", tmp_path / "a.cxi"):
        with open_stack(tmp_path / "b.cxi", ReadOptions(detector=detector)) as stack:
            assert_assembled(stack)


def test_a_geometry_can_be_given_as_an_object_or_a_dragonfly_detector(tmp_path):
    write_panels(tmp_path / "a.cxi", {})
    with open_stack(tmp_path / "a.cxi", ReadOptions(detector=in_rows((6, 5)))) as stack:
        np.testing.assert_array_equal(stack.read(slice(None)), np.where(MASK, 0, COUNTS).reshape(4, 6, 5))
    bad = np.zeros((6, 5), bool)
    bad[0, 0] = True
    write_detector(tmp_path / "detector.h5", mask=bad, centre=(2.5, 1.0), distance=5000.0)
    with open_stack(tmp_path / "a.cxi", ReadOptions(detector=tmp_path / "detector.h5")) as stack:
        assert (stack.mask.sum(), stack.mask[0, 0], stack.centre) == (2, True, (2.5, 1.0))
    with pytest.raises(PatternFileError, match=r"the geometry has 25 pixels, a pattern \(2, 3, 5\)"):
        open_stack(tmp_path / "a.cxi", ReadOptions(detector=in_rows((5, 5))))


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        ({"xyz_map": positions()[:, :1]}, r"xyz_map has shape \(3, 1, 3, 5\)"),
        ({"xyz_map": np.zeros((3, 2, 3, 5))}, "neighbouring pixels have one position"),
        ({"corner_position": CORNERS[:1], "basis_vectors": BASIS}, "of the 2 panels"),
        ({"corner_position": CORNERS}, "no basis_vectors"),
        ({"corner_position": CORNERS, "basis_vectors": 0 * BASIS}, "no length"),
    ],
)
def test_a_geometry_that_does_not_fit_is_refused_by_name(tmp_path, geometry, reason):
    write_panels(tmp_path / "a.cxi", geometry)
    with pytest.raises(PatternFileError, match=rf"a\.cxi: entry_1/instrument_1/detector_1/.*{reason}"):
        open_stack(tmp_path / "a.cxi")


def test_a_file_without_a_geometry_is_told(tmp_path):
    write_panels(tmp_path / "a.cxi", {})
    with pytest.raises(PatternFileError, match=r"a\.cxi: holds no geometry; give"):
        open_stack(tmp_path / "a.cxi", ReadOptions(detector=tmp_path / "a.cxi"))
