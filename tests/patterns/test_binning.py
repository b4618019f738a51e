"""Binned patterns: counts, mask and detector against sums and means over the pixels of each bin."""

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.patterns import check_output, open_stack, write_stack
from helpers.patterns.binning import Binning
from helpers.patterns.selections import write_photons


@given(
    counts=npst.arrays(np.float32, npst.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.integers(0, 99)),
    side=st.integers(1, 5),
    data=st.data(),
)
def test_a_bin_holds_the_photons_of_its_good_pixels(counts, side, data):
    mask = data.draw(npst.arrays(bool, counts.shape[1:]))
    bins = Binning(side, mask)
    found = bins.counts(counts)
    assert found.shape == (len(counts), *bins.shape)
    for row, column in np.ndindex(bins.shape):
        block = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        good = ~mask[block]
        assert bins.good_share[row, column] == pytest.approx(good.sum() / side**2)
        bad = 2 * good.sum() < side**2
        assert bins.bad[row, column] == bad
        photons = 0 if bad else counts[:, *block][:, good].sum(axis=1)
        np.testing.assert_array_equal(found[:, row, column], photons)


def test_one_pixel_a_bin_changes_nothing():
    mask = np.random.default_rng(1).random((6, 5)) < 0.3
    bins = Binning(1, mask)
    np.testing.assert_array_equal(bins.bad, mask)
    assert bins.centre((2.5, -1.0)) == (2.5, -1.0)


def written(folder, mask):
    rng = np.random.default_rng(2)
    counts = rng.poisson(0.3, (4, *mask.shape)).astype(np.uint16)
    given = {"mask": mask, "centre": (0.0, 20.0), "experiment": AMOX34117}
    write_stack(folder / "a.cxi", counts, table=pd.DataFrame(index=range(4)), **given)
    return np.where(mask, 0, counts)


def test_the_detector_of_bins_is_that_of_their_pixels(tmp_path):
    mask = np.zeros((24, 42), bool)
    mask[:8, 16:24] = mask[9, 3] = True
    counts = written(tmp_path, mask)
    with open_stack(tmp_path / "a.cxi") as stack:
        write_photons(tmp_path / "fine.emc", stack)
        write_photons(tmp_path / "binned.emc", stack, bin_side=4)
    fine, binned = (h5py.File(tmp_path / f"{name}_detector.h5") for name in ("fine", "binned"))
    with fine, binned:
        pixels = (np.array(fine[name]).reshape(24, 42) for name in ("qx", "qy", "qz", "corr"))
        qx, qy, qz, corr = (np.pad(values, [(0, 0), (0, 2)]).reshape(6, 4, 11, 4) for values in pixels)
        bins = {name: np.array(binned[name]).reshape(6, 11) for name in ("qx", "qy", "qz", "corr", "mask")}
        inner = np.s_[:, :10]
        for name, values in (("qx", qx), ("qy", qy), ("qz", qz)):  # in voxels, which are four times as wide
            np.testing.assert_allclose(bins[name][inner], values.mean(axis=(1, 3))[inner] / 4, atol=2e-3)
        good = np.pad(~mask, [(0, 0), (0, 2)]).reshape(6, 4, 11, 4)
        np.testing.assert_allclose(bins["corr"], (corr * good).sum(axis=(1, 3)), rtol=1e-4)
        assert (bins["mask"] == 2).sum() == 4
        assert binned["ewald_rad"][()] == pytest.approx(fine["ewald_rad"][()] / 4)
    with open_stack(tmp_path / "binned.emc") as stack:
        assert stack.shape == (4, 6, 11)
        padded = np.pad(counts, [(0, 0), (0, 0), (0, 2)]).reshape(4, 6, 4, 11, 4)
        np.testing.assert_array_equal(stack.read(slice(None)), padded.sum(axis=(2, 4)))
        assert stack.centre == pytest.approx((-1.5 / 4, 18.5 / 4), abs=1e-5)
        assert stack.experiment.pixel_m == pytest.approx(4 * AMOX34117.pixel_m)
        assert stack.experiment.distance_m == AMOX34117.distance_m


def test_what_cannot_be_binned_is_refused_before_the_work(tmp_path):
    mask = np.ones((24, 42), bool)
    mask[5, 5] = False
    written(tmp_path, mask)
    with open_stack(tmp_path / "a.cxi") as stack:
        with pytest.raises(PatternFileError, match=r"a\.csv: only .emc holds patterns that can be binned; leave out"):
            check_output(tmp_path / "a.csv", stack, bin_side=4)
        with pytest.raises(PatternFileError, match=r"no bin of 4 × 4 pixels .* give a smaller --bin"):
            check_output(tmp_path / "a.emc", stack, bin_side=4)
        check_output(tmp_path / "a.emc", stack)
