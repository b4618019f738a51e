"""EM classification, the paper's unsupervised baseline (section 2.1): classes × in-plane rotations, Poisson likelihood.

Pattern d on rings r and angles θ (`polar_grid`) has the counts K and the exposure a, class k the expected counts M. The
log-likelihood of the pattern at rotation φ_j, with its scale s_d and without the term of K alone, is

    L_kjd = Σ K_d(r, θ) ln[s_d M_k(r, θ + φ_j)] − s_d Σ a(r, θ) M_k(r, θ + φ_j).

E: P_kjd = exp L_kjd / Σ_kj exp L_kjd. M: M_k = Σ_dj P_kjd K_d(r, θ − φ_j) / Σ_dj P_kjd s_d a(r, θ − φ_j). Both sums
over θ are correlations, so they are products of transforms along the angle, one matrix product for each frequency: some
twenty times as fast as one product with the models in all rotations (tests/benchmarks/em_growth.py).
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from helpers.em.polar_grid import PolarGrid
from helpers.em.settings import EMSettings
from helpers.system import pick_device

CHUNK = 256  # patterns at a time: the memory of an E-step, and the order of all sums, so of every rounding error
SNAPSHOTS = (0, 1, 2, 4, 8, 16, 32)  # iterations after which the models are kept, to be looked at

# lowest expected count of a cell: a photon where a class never had one must not rule the class out by itself
_LEAST = 1e-4
_UNSEEN = 1e-5  # exposure, relative to the highest of a class, below which a cell has not been seen by the class
_NOISE = 0.01


@dataclass(frozen=True)
class PolarPatterns:
    """Patterns as EM needs them, transformed along the angle.

    Parameters
    ----------
    spectra
        One a chunk, complex (frequencies, patterns, rings).
    totals
        (N,) summed counts of each pattern; every pattern has some.
    exposure
        Transform of the cells' exposure, complex (rings, frequencies).
    angles, rotations
        Cells on a ring, and shifts to try.
    """

    spectra: list[torch.Tensor]
    totals: torch.Tensor
    exposure: torch.Tensor
    angles: int
    rotations: int

    @classmethod
    def from_counts(
        cls,
        blocks: Iterable[np.ndarray],
        grid: PolarGrid,
        settings: EMSettings,
        device: torch.device | None = None,
    ) -> "PolarPatterns":
        """Bring patterns to polar coordinates, block by block.

        Parameters
        ----------
        blocks
            Photon counts (n, rows, columns), n at most `CHUNK`.
        grid
            Polar grid of the detector.
        settings
            `intensity` (counts or their logarithm) and `precision` are used.
        device
            Device that computes; the GPU if there is one.
        """
        device = device or pick_device()
        kind = getattr(torch, settings.precision)
        spectra, totals = [], []
        for counts in blocks:
            cells = torch.as_tensor(grid.of_patterns(counts, intensity=settings.intensity))
            totals.append(cells.sum((1, 2)).clamp_min(_LEAST).to(device, kind))
            spectra.append(torch.fft.rfft(cells.to(device, kind)).permute(2, 0, 1).contiguous())
        exposure = torch.fft.rfft(torch.as_tensor(grid.exposure).to(device, kind))
        return cls(spectra, torch.cat(totals), exposure, grid.shape[1], grid.rotations)

    def digest(self) -> str:
        """Checksum of what tells one set of patterns from another: each pattern's total, and the exposure."""
        parts = [part.cpu().numpy().tobytes() for part in (self.totals, torch.view_as_real(self.exposure))]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """The chunks: which of the N patterns each holds, and their spectra."""
        start = 0
        for spectrum in self.spectra:
            yield slice(start, start + spectrum.shape[1]), spectrum
            start += spectrum.shape[1]


@dataclass(frozen=True)
class EMState:
    """State of a run after an iteration, for the next one and for those who look at it.

    `model` is (classes, rings, angles) expected counts, `scale` (N,) a factor on them for each pattern, `classes` and
    `rotations` (N,) are the most probable ones; `snapshots` maps iterations to the models after them. One value an
    iteration: `log_likelihood`, the mean over patterns of ln Σ_kj exp(L_kjd) / (classes × rotations), and `changed`,
    the number of patterns whose class changed.
    """

    model: torch.Tensor
    scale: torch.Tensor
    log_likelihood: tuple[float, ...]
    changed: tuple[int, ...]
    classes: torch.Tensor
    rotations: torch.Tensor
    snapshots: dict[int, torch.Tensor]

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return len(self.log_likelihood)


def noise(data: PolarPatterns, settings: EMSettings, *, seed: int, run: int) -> torch.Tensor:
    """First model of a run: 0.99 + 0.01 U with U uniform in 0 … 1, of a generator for this seed and run alone."""
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, run]).generate_state(1, np.uint64)[0]))
    shape = (settings.classes, data.exposure.shape[0], data.angles)
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (1 - _NOISE + _NOISE * uniform).to(data.totals)


def begin(data: PolarPatterns, settings: EMSettings, model: torch.Tensor) -> EMState:
    """State before the first iteration, from a model (classes, rings, angles).

    Each pattern is scaled to the first class as it lies, or with `scales` "fixed" in proportion to its total.
    """
    scale = data.totals / _expected_totals(data, model)[0, 0]
    if settings.scales == "fixed":
        scale = data.totals / data.totals.mean()
        model = model * (data.totals.mean() / _expected_totals(data, model).mean())
    nobody = torch.full(data.totals.shape, -1, dtype=torch.int64, device=data.totals.device)
    return EMState(model, scale, (), (), nobody, nobody, {0: model})


def iterate(data: PolarPatterns, state: EMState, settings: EMSettings) -> EMState:
    """One E-step and one M-step, then the scales for the next iteration; the state given is left as it is.

    New scales are the best for the P at hand, so the likelihood cannot fall (an ECM algorithm). In an M-step the scales
    have mean 1.
    """
    responsibilities, log_likelihood = expectation(data, state.model, state.scale)
    best = torch.cat([part.flatten(1).argmax(1) for part in responsibilities])
    classes = best // data.rotations
    model = maximisation(data, responsibilities, state.scale / state.scale.mean())
    scale = state.scale if settings.scales == "fixed" else fitting_scales(data, responsibilities, model)
    done = state.iteration + 1
    return EMState(
        model,
        scale,
        (*state.log_likelihood, log_likelihood),
        (*state.changed, int((classes != state.classes).sum())),
        classes,
        best % data.rotations,
        state.snapshots | ({done: model} if done in SNAPSHOTS else {}),
    )


def expectation(data: PolarPatterns, model: torch.Tensor, scale: torch.Tensor) -> tuple[list[torch.Tensor], float]:
    """E-step: responsibilities P_kjd (posterior probabilities), and the mean log-likelihood as in `EMState`.

    Responsibilities are one tensor a chunk, (patterns, classes, rotations); those of a pattern add up to 1.
    """
    # ln M along the angles as (frequencies, rings, classes), conjugated: a product of transforms is a correlation
    logarithm = torch.fft.rfft(model.log()).permute(2, 1, 0).conj().resolve_conj()
    expected = _expected_totals(data, model)
    responsibilities, total = [], 0.0
    for part, spectrum in data.chunks():
        # Σ_r K̂ conj(ln M)^ for each frequency: (frequencies, patterns, classes), then those that the rotations have
        matched = _at_rotations(torch.bmm(spectrum, logarithm), data).permute(1, 2, 0).conj()
        # back to angles: Σ K ln M(θ + φ_j) of each pattern, class and rotation
        likelihood = torch.fft.irfft(matched, n=data.rotations) * (data.rotations / data.angles)
        # − s_d Σ a M(θ + φ_j), and + ln s_d Σ K_d, which is the part of the scale in ln(s_d M)
        likelihood -= scale[part, None, None] * expected
        likelihood += (data.totals[part] * scale[part].log())[:, None, None]
        # softmax over classes and rotations; the highest is taken out first, so that exp cannot overflow
        highest = likelihood.amax((1, 2), keepdim=True)
        likelihood = likelihood.sub_(highest).exp_()
        evidence = likelihood.sum((1, 2), keepdim=True)
        total += float((highest + evidence.log()).double().sum())
        responsibilities.append(likelihood.div_(evidence))
    # each class and rotation is as probable as another before a pattern is looked at
    return responsibilities, total / len(data.totals) - math.log(len(model) * data.rotations)


def maximisation(data: PolarPatterns, responsibilities: list[torch.Tensor], scale: torch.Tensor) -> torch.Tensor:
    """M-step: the models of highest likelihood, given the responsibilities; at least 0.0001 in each cell.

    A cell that no pattern of a class has seen does not enter the likelihood; it takes the mean of its ring.
    """
    photons, weight = 0, 0
    for (part, spectrum), responsibility in zip(data.chunks(), responsibilities, strict=True):
        # numerator Σ_dj P_kjd K_d(r, θ − φ_j) as a product of transforms: (frequencies, classes, rings)
        turned = _at_angles(torch.fft.rfft(responsibility).permute(2, 1, 0), data)
        photons = photons + torch.bmm(turned, spectrum)
        # of the denominator what depends on the patterns: Σ_d s_d P_kjd, (classes, rotations)
        weight = weight + torch.einsum("d,dkj->kj", scale[part], responsibility)
    # denominator Σ_dj P_kjd s_d a(r, θ − φ_j): how much of each cell the patterns of a class have seen
    turned = _at_angles(torch.fft.rfft(weight).T, data)
    exposure = torch.einsum("fk,rf->krf", turned, data.exposure)
    seen = torch.fft.irfft(exposure, n=data.angles)
    photons = torch.fft.irfft(photons.permute(1, 2, 0), n=data.angles)
    # numerator by denominator where the class has seen the cell, else the mean of the ring
    enough = seen > _UNSEEN * seen.amax((1, 2), keepdim=True)
    ring = photons.sum(2, keepdim=True) / seen.sum(2, keepdim=True).clamp_min(_LEAST)
    return torch.where(enough, photons / seen.clamp_min(torch.finfo(seen.dtype).tiny), ring).clamp_min(_LEAST)


def fitting_scales(data: PolarPatterns, responsibilities: list[torch.Tensor], model: torch.Tensor) -> torch.Tensor:
    """Scales (N,) of highest likelihood, given the responsibilities: s_d = Σ K_d / Σ_kj P_kjd Σ a M_k(θ + φ_j)."""
    expected = _expected_totals(data, model).flatten()
    return data.totals / torch.cat([part.flatten(1) @ expected for part in responsibilities])


def _expected_totals(data: PolarPatterns, model: torch.Tensor) -> torch.Tensor:
    """Σ a M_k(θ + φ_j), what the good pixels would count at scale 1: (classes, rotations)."""
    product = (torch.fft.rfft(model) * data.exposure.conj()).sum(1).T
    return torch.fft.irfft(_at_rotations(product, data).T, n=data.rotations) * (data.rotations / data.angles)


def _at_rotations(spectrum: torch.Tensor, data: PolarPatterns) -> torch.Tensor:
    """Transform (frequencies, …) over the angles → over every n-th of them: frequencies that become one are added."""
    wanted = torch.arange(data.rotations // 2 + 1, device=spectrum.device)
    folded = 0
    for start in range(0, data.angles, data.rotations):
        folded = folded + _of_whole(spectrum, wanted + start, data.angles)
    return folded


def _at_angles(spectrum: torch.Tensor, data: PolarPatterns) -> torch.Tensor:
    """Transform (frequencies, …) over the rotations → over the angles, zero between two rotations: it repeats."""
    wanted = torch.arange(data.angles // 2 + 1, device=spectrum.device) % data.rotations
    return _of_whole(spectrum, wanted, data.rotations)


def _of_whole(half: torch.Tensor, frequencies: torch.Tensor, length: int) -> torch.Tensor:
    """Frequencies 0 … length − 1 of a real signal, of whose transform only the first half is kept."""
    mirrored = frequencies > length // 2
    chosen = half[torch.where(mirrored, length - frequencies, frequencies)]
    if not mirrored.any():
        return chosen
    return torch.where(mirrored.reshape(-1, *[1] * (half.ndim - 1)), chosen.conj(), chosen)
