"""One simulated shot: the particles in the focus, the photons that the detector counts, and the expert's label.

The model is that of AMOX34117 (section 2.1 of the paper), stated here in full; values that the paper does not give are
our choice. All random numbers of a shot come from the generator that is passed in.
"""

import math

import numpy as np

from helpers.experiment import Centre, Experiment
from helpers.particles import Particle, intensity

NON_SINGLE_SHARES = {"double": 0.32, "triple": 0.11, "aggregate": 0.19, "droplet": 0.09, "debris": 0.25, "empty": 0.04}
"""Species of the shots that are not single hits → fraction of each among them."""

PHOTONS = 4000.0
"""Mean number of photons that a virus of 68 nm scatters into the good pixels."""

_REFERENCE_NM = 68.0
_VIRUS_NM = (60.0, 68.0, 75.0)
"""Smallest, most frequent and largest size of an intact virus."""
_ODD_VIRUS_SHARE = 0.14
_ODD_VIRUS_NM = (42.0, 100.0)
"""Viruses that are broken, swollen or coated: 197 of the paper's 1393 manual single hits lie outside 55–84 nm."""
_DROPLET_NM = (70.0, 0.22)
_DEBRIS_NM = (68.0, 0.25)
"""Median size [nm] and standard deviation of its logarithm."""
_AXIS_RATIO = (1.3, 2.4)
"""Smallest and largest elongation of debris, or of its inverse."""
_AGGREGATE = (2, 4)
"""Fewest and most particles of an aggregate."""

_FOCUS_FWHM_NM = 1500.0
_SPREAD_NM = 200.0
"""Standard deviation, along each axis, of the positions of particles that share a pulse."""

_FLUENCE_SPREAD = 0.8
"""Standard deviation of the logarithm of a shot's fluence."""
_CENTRE_JITTER = 0.8
"""Standard deviation of the beam centre along each axis [pixels]."""
_BACKGROUND_MEDIAN = 0.12
_BACKGROUND_SPREAD = 0.4
_BACKGROUND_DECAY = 22.0
_BACKGROUND_FLOOR = 0.002
"""Background: photons per pixel at the centre, spread of its logarithm, decay [pixels], photons in every pixel."""

_MASKED_RADIUS = 14.0
"""Radius of the masked half disc about the beam [pixels]."""

_EXPERT_PLATEAU = 0.93
_EXPERT_HALF = 2200.0
_EXPERT_WIDTH = 0.35
"""The expert: share of very bright single hits that is labelled, photons at half of it, width in ln(photons)."""


def detector_mask(experiment: Experiment) -> np.ndarray:
    """Bad pixels (rows, columns; True = bad) of the simulated detector, the same for every shot.

    A half disc about the beam (saturation and stray light), one dead column and half of another, a shaded corner, and
    one pixel in 400 at random.
    """
    rows, columns = experiment.shape
    mask = np.random.default_rng(experiment.shape).random(experiment.shape) < 1 / 400
    mask |= experiment.pixel_radius() < _MASKED_RADIUS
    mask[:, int(0.29 * columns)] = True
    mask[rows // 2 :, int(0.71 * columns)] = True
    mask[-rows // 8 :, : columns // 16] = True
    return mask


def draw_particles(species: str, rng: np.random.Generator) -> list[Particle]:
    """Draw the particles in the focus; none for the species "empty".

    Other species are "single", "double", "triple" (icosahedra in one pulse), "aggregate" (icosahedra that touch),
    "droplet" (a sphere) and "debris" (a spheroid).
    """
    if species == "droplet":
        return [Particle(_log_normal(rng, *_DROPLET_NM), 1.0)]
    if species == "debris":
        elongation = rng.uniform(*_AXIS_RATIO)
        ratio = elongation if rng.random() < 0.6 else 1 / elongation
        return [Particle(_log_normal(rng, *_DEBRIS_NM), ratio, _orientation(rng))]
    if species == "aggregate":
        return _aggregate(rng, int(rng.integers(_AGGREGATE[0], _AGGREGATE[1] + 1)))
    number = {"empty": 0, "single": 1, "double": 2, "triple": 3}[species]
    sizes = [_virus_size(rng) for _ in range(number)]
    if number < 2:
        return [Particle(size, None, _orientation(rng)) for size in sizes]
    return [_in_focus(Particle(size, None, _orientation(rng)), rng.normal(0, _SPREAD_NM, 2)) for size in sizes]


def _virus_size(rng: np.random.Generator) -> float:
    """Draw the size of a virus [nm]."""
    return rng.uniform(*_ODD_VIRUS_NM) if rng.random() < _ODD_VIRUS_SHARE else rng.triangular(*_VIRUS_NM)


def _log_normal(rng: np.random.Generator, median: float, spread: float) -> float:
    """Draw from a log-normal distribution of this median; `spread` is the standard deviation of the logarithm."""
    return float(median * math.exp(rng.normal(0, spread)))


def _orientation(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw a unit quaternion (w, x, y, z), uniform over all orientations."""
    quaternion = rng.normal(size=4)
    return tuple((quaternion / np.linalg.norm(quaternion)).tolist())


def _in_focus(particle: Particle, position: np.ndarray) -> Particle:
    """The particle moved to a position [nm] in the Gaussian focus, with the relative fluence there."""
    brightness = math.exp(-4 * math.log(2) * float(position @ position) / _FOCUS_FWHM_NM**2)
    return Particle(particle.size_nm, particle.axis_ratio, particle.orientation, tuple(position.tolist()), brightness)


def _aggregate(rng: np.random.Generator, number: int) -> list[Particle]:
    """Draw a cluster of viruses, each of which touches an earlier one in a random direction."""
    sizes = [_virus_size(rng) for _ in range(number)]
    positions = [np.zeros(3)]
    for latest in range(1, number):
        partner = int(rng.integers(latest))
        direction = rng.normal(size=3)
        distance = (sizes[latest] + sizes[partner]) / 2
        positions.append(positions[partner] + distance * direction / np.linalg.norm(direction))
    # only the position across the beam changes the pattern
    return [
        Particle(size, None, _orientation(rng), tuple(position[:2].tolist()))
        for size, position in zip(sizes, positions, strict=True)
    ]


def frequencies(experiment: Experiment, centre: Centre) -> tuple[np.ndarray, np.ndarray]:
    """Signed spatial frequencies (rows,) and (columns,) at the middles of the pixels, 0 at the beam [1/nm]."""
    step = experiment.frequency_step
    return (np.arange(experiment.rows) - centre[0]) * step, (np.arange(experiment.columns) - centre[1]) * step


def scattered(particles: list[Particle], experiment: Experiment, centre: Centre) -> np.ndarray:
    """Intensity (rows, columns) of the particles at every pixel [nm⁶]: `particles.intensity` on the detector."""
    return intensity(particles, *frequencies(experiment, centre), frequency_step=experiment.frequency_step)


def photon_scale(experiment: Experiment, mask: np.ndarray, *, photons: float = PHOTONS) -> float:
    """Photons per unit of intensity at mean fluence [photons/nm⁶].

    `photons` is the mean number that a sphere of 68 nm shall scatter into the good pixels.
    """
    return photons / float(scattered([Particle(_REFERENCE_NM, 1.0)], experiment, experiment.centre)[~mask].sum())


def draw_fluence(rng: np.random.Generator) -> float:
    """Draw the fluence of a shot relative to the mean: log-normal with mean 1."""
    return math.exp(rng.normal(-(_FLUENCE_SPREAD**2) / 2, _FLUENCE_SPREAD))


def draw_centre(rng: np.random.Generator, experiment: Experiment) -> Centre:
    """Draw the beam centre of a shot (row, column) [pixels]: the nominal one with a jitter of 0.8 along each axis."""
    row, column = rng.normal(experiment.centre, _CENTRE_JITTER)
    return float(row), float(column)


def draw_background(rng: np.random.Generator, experiment: Experiment, centre: Centre) -> np.ndarray:
    """Draw the expected background (rows, columns) of a shot [photons]: exponential decay to a flat floor."""
    level = _log_normal(rng, _BACKGROUND_MEDIAN, _BACKGROUND_SPREAD)
    return level * np.exp(-experiment.pixel_radius(centre) / _BACKGROUND_DECAY) + _BACKGROUND_FLOOR


def detect(expected: np.ndarray, mask: np.ndarray, experiment: Experiment, rng: np.random.Generator) -> np.ndarray:
    """Draw the counted photons (rows, columns; uint16): Poisson, clipped at saturation, 0 in bad pixels."""
    counts = np.zeros(expected.shape, np.uint16)
    counts[~mask] = np.minimum(rng.poisson(expected[~mask]), experiment.saturation)
    return counts


def expert_probability(truth: bool, signal_photons: float) -> float:
    """Probability, 0 to 0.93, that the expert labels a shot as a single hit.

    It is 0 unless the shot is one ("visual inspection did not reveal any false positive", section 2.1). A single hit
    is recognised with 0.93 / (1 + exp(−ln(signal / 2200) / 0.35)): weak ones are missed, and so are a few bright ones.
    `signal_photons` are the scattered photons expected in the good pixels.
    """
    if not truth or signal_photons <= 0:
        return 0.0
    return _EXPERT_PLATEAU / (1 + (_EXPERT_HALF / signal_photons) ** (1 / _EXPERT_WIDTH))
