import itertools
import math

import numpy as np
import pytest
import torch

from helpers.em import EMSettings, PolarGrid, PolarPatterns
from helpers.em.expectation_maximisation import begin, expectation, iterate, maximisation, noise
from helpers.experiment import AMOX34117
from helpers.particles import Particle, amplitude
from helpers.patterns import open_stack
from helpers.simulation.shots import detector_mask, frequencies

CPU = torch.device("cpu")
MASK = detector_mask(AMOX34117)


def polar(counts, settings, size=7):
    grid = PolarGrid.of_detector(MASK, AMOX34117.centre, settings)
    starts = range(0, len(counts), size)
    data = PolarPatterns.from_counts((counts[s : s + size] for s in starts), grid, settings, CPU)
    return grid, data


@pytest.fixture(scope="module")
def counts(twin):
    with open_stack(twin) as stack:
        return stack.read(slice(None))


def some_model(data, classes):
    shape = (classes, data.exposure.shape[0], data.angles)
    return torch.as_tensor(np.random.default_rng(4).uniform(0.2, 2, shape))


# one angle a rotation or several, even and odd numbers of both
@pytest.mark.parametrize(("rotations", "friedel"), [(100, True), (24, True), (21, True), (9, False), (1, True)])
def test_both_steps_are_those_of_the_formulas(counts, rotations, friedel):
    settings = EMSettings(classes=3, rotations=rotations, q_range=(15, 24), friedel=friedel)
    grid, data = polar(counts[:10], settings, size=4)
    model, scale = some_model(data, 3), torch.linspace(0.5, 2, 10, dtype=torch.float64)
    cells, step = grid.of_patterns(counts[:10], intensity="log"), data.angles // rotations
    turned = np.array([np.roll(model.numpy(), -j * step, axis=2) for j in range(rotations)])
    rates = scale.numpy()[:, None, None, None, None] * turned
    likelihood = (cells[:, None, None] * np.log(rates) - grid.exposure * rates).sum(axis=(-2, -1)).swapaxes(1, 2)
    weights = np.exp(likelihood - likelihood.max(axis=(1, 2), keepdims=True))
    evidence = np.log(weights.sum(axis=(1, 2))) + likelihood.max(axis=(1, 2))
    weights /= weights.sum(axis=(1, 2), keepdims=True)

    posterior, log_likelihood = expectation(data, model, scale)
    np.testing.assert_allclose(torch.cat(posterior), weights, atol=1e-9)
    assert log_likelihood == pytest.approx(evidence.mean() - math.log(3 * rotations))

    even = np.random.default_rng(2).dirichlet(np.ones(3 * rotations), 10).reshape(10, 3, rotations)
    back = [(np.roll(cells, j * step, axis=2), np.roll(grid.exposure, j * step, axis=1)) for j in range(rotations)]
    photons = sum(np.einsum("dk,drt->krt", even[:, :, j], back[j][0]) for j in range(rotations))
    seen = sum(np.einsum("dk,d,rt->krt", even[:, :, j], scale, back[j][1]) for j in range(rotations))
    parts = [torch.as_tensor(even[start : start + 4]) for start in (0, 4, 8)]
    found = maximisation(data, parts, scale).numpy()
    inside = seen > 1e-4 * seen.max()
    np.testing.assert_allclose(found[inside], np.maximum(photons[inside] / seen[inside], 1e-4), rtol=1e-6)


@pytest.mark.parametrize("scales", ["fixed", "updated"])
@pytest.mark.parametrize("intensity", ["log", "linear"])
def test_the_log_likelihood_never_falls(counts, scales, intensity):
    settings = EMSettings(classes=5, rotations=30, q_range=(15, 45), scales=scales, intensity=intensity)
    _, data = polar(counts, settings)
    state = begin(data, settings, noise(data, settings, seed=3, run=1))
    for _ in range(15):
        state = iterate(data, state, settings)
    for before, after in itertools.pairwise(state.log_likelihood):
        assert after >= before - 1e-9 * abs(before)
    assert state.log_likelihood[-1] > state.log_likelihood[0] + 100


def test_fixed_scales_stay_and_updated_ones_do_not(counts):
    for scales in ("fixed", "updated"):
        settings = EMSettings(classes=3, rotations=10, q_range=(15, 45), scales=scales)
        _, data = polar(counts, settings)
        first = begin(data, settings, noise(data, settings, seed=3, run=1))
        later = iterate(data, iterate(data, first, settings), settings)
        assert torch.equal(later.scale, first.scale) == (scales == "fixed")


def test_one_seed_gives_one_result_and_runs_differ(counts):
    settings = EMSettings(classes=4, rotations=12, q_range=(15, 40))
    _, data = polar(counts, settings)
    torch.manual_seed(1)
    ends = []
    for seed, run in ((5, 1), (5, 1), (5, 2), (6, 1)):
        state = begin(data, settings, noise(data, settings, seed=seed, run=run))
        for _ in range(4):
            state = iterate(data, state, settings)
        ends.append(state)
        torch.rand(3)  # what happens to the global generator does not matter
    assert torch.equal(ends[0].model, ends[1].model)
    assert ends[0].log_likelihood == ends[1].log_likelihood
    assert not torch.equal(ends[0].model, ends[2].model)
    assert not torch.equal(ends[0].model, ends[3].model)


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-9), ("float32", 0.02)])
def test_neither_the_size_of_a_chunk_nor_single_precision_changes_much(counts, precision, tolerance):
    settings = EMSettings(classes=4, rotations=12, q_range=(15, 40), precision=precision)
    exact = EMSettings(classes=4, rotations=12, q_range=(15, 40))
    (_, whole), (_, parts) = polar(counts, exact, size=64), polar(counts, settings, size=5)
    model = some_model(whole, 4)
    states = [iterate(d, begin(d, exact, model.to(d.totals)), exact) for d in (whole, parts)]
    np.testing.assert_allclose(states[1].log_likelihood, states[0].log_likelihood, rtol=1e-6)
    np.testing.assert_allclose(states[1].model, states[0].model, rtol=tolerance, atol=tolerance)


def test_an_empty_pattern_spoils_nothing(counts):
    settings = EMSettings(classes=3, rotations=10, q_range=(15, 40))
    dark = counts[:12].copy()
    dark[4] = 0
    _, data = polar(dark, settings)
    state = begin(data, settings, noise(data, settings, seed=3, run=1))
    for _ in range(5):
        state = iterate(data, state, settings)
    assert np.isfinite(state.log_likelihood).all()
    assert torch.isfinite(state.model).all()


def in_any_orientation(rng):
    quaternion = rng.normal(size=4)
    return tuple(quaternion / np.linalg.norm(quaternion))


def shape_patterns(number, photons, rng):
    """Icosahedra and elongated spheroids in turn, of one volume, in all orientations: simulated, with the truth."""
    good, counts = ~MASK & (AMOX34117.pixel_radius() < 60), []
    for pattern in range(number):
        shape = (68.0, 2.0 if pattern % 2 else None, in_any_orientation(rng))
        intensity = amplitude(Particle(*shape), *frequencies(AMOX34117, AMOX34117.centre)) ** 2 * good
        counts.append(rng.poisson(photons * intensity / intensity.sum()))
    return np.array(counts, dtype=np.float32), np.arange(number) % 2


def test_two_shapes_are_told_apart():
    counts, truth = shape_patterns(400, 5000, np.random.default_rng(8))
    settings = EMSettings(classes=2, rotations=50)
    _, data = polar(counts, settings, size=200)
    states = []
    for run in range(1, 4):
        state = begin(data, settings, noise(data, settings, seed=1, run=run))
        for _ in range(15):
            state = iterate(data, state, settings)
        states.append(state)
    best = max(states, key=lambda state: state.log_likelihood[-1])
    right = (best.classes.numpy() == truth).mean()
    assert max(right, 1 - right) > 0.95
