import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers import ROOT
from helpers.patterns.photon_check import impossible_counts

FRAMES = ROOT.parent / "shared" / "data" / "real_pr772.npz"
RNG = np.random.default_rng(5)
EXPECTED = 40 * np.exp(-np.hypot(np.arange(60)[:, None], np.arange(80) - 40) / 8) + 0.05
PHOTONS = RNG.poisson(EXPECTED, (20, 60, 80)).astype(np.float32)


@given(npst.arrays(np.uint16, npst.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 1000)))
def test_whole_counts_pass(counts):
    assert impossible_counts(counts.astype(np.float32)) is None


@pytest.mark.parametrize("background", [0.05, 0.5, 5.0])
def test_background_subtracted_counts_pass(background):
    noisy = PHOTONS + RNG.poisson(background, PHOTONS.shape)
    subtracted = np.maximum(noisy - np.maximum(background, noisy.mean(axis=0) / 2), 0)
    assert (subtracted != np.rint(subtracted)).any()
    assert impossible_counts(subtracted.astype(np.float32)) is None


def test_fractional_photons_pass():
    assert impossible_counts(np.maximum(PHOTONS + RNG.normal(0, 0.05, PHOTONS.shape), 0).astype(np.float32)) is None


@pytest.mark.parametrize(
    ("change", "finding", "cure"),
    [
        (lambda values: values * 130 + RNG.normal(0, 4, values.shape).clip(0), "far from whole", "workbook prepare"),
        (lambda values: values * 130 + RNG.normal(0, 4, values.shape), "far from whole", "workbook prepare"),
        (lambda values: values * 7 + 4500, "mean 45", "workbook prepare"),
        (lambda values: np.where(values == values.max(), 2**32 - 1, values), "4.29497e", "in the mask"),
        (lambda values: values - 2, r"negative values \(first -", "negative counts set to 0"),
        (lambda values: np.where(values == 1, np.nan, values), r"NaN or infinite values \(first nan\)", "nan_as_zero"),
        (lambda values: np.where(values == 1, np.inf, values), r"NaN or infinite values \(first inf\)", "nan_as_zero"),
    ],
)
def test_what_cannot_be_photons_is_told_with_pattern_and_cure(change, finding, cure):
    values = PHOTONS.copy()
    values[3] = change(PHOTONS[3])
    place, found, step = impossible_counts(values)
    assert place == 3
    assert cure in step
    assert re.search(finding, found)


def test_a_stack_without_patterns_has_nothing_wrong():
    assert impossible_counts(np.empty((0, 4, 5), np.float32)) is None


@pytest.mark.skipif(not FRAMES.is_file(), reason=f"the measured patterns are not at {FRAMES}")
def test_measured_frames_are_refused_in_detector_units_and_pass_as_photons():
    given = np.load(FRAMES)
    adu = np.where(given["mask_bad"] | ~np.isfinite(given["adu"]), 0, given["adu"])
    assert "detector units" in impossible_counts(np.where(given["mask_bad"], 0, given["adu"])[3:4])[2]
    for frame in adu:
        assert impossible_counts(frame[None])[1].endswith("far from whole numbers)")
        assert impossible_counts(np.maximum(frame[None] / 130, 0)) is None
        assert impossible_counts(np.maximum(np.rint(frame[None] / 130), 0)) is None
