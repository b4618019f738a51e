"""One simulated shot: what is in the focus, the photons that the detector counts, and what an expert would call it.

The model is that of AMOX34117 (section 2.1 of the paper), stated here in full; numbers that the paper does not give are
choices. Every number of a shot comes from the one generator that it is given.
"""

import math

import numpy as np

from helpers.experiment import Centre, Experiment
from helpers.particles import Particle, intensity

NON_SINGLE_SHARES = {"double": 0.32, "triple": 0.11, "aggregate": 0.19, "droplet": 0.09, "debris": 0.25, "empty": 0.04}
"""Species of the shots that are not single hits, and how often each occurs among them."""

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
"""Median size and spread of its logarithm."""
_AXIS_RATIO = (1.3, 2.4)
_AGGREGATE = (2, 4)
"""Fewest and most particles."""

_FOCUS_FWHM_NM = 1500.0
_SPREAD_NM = 200.0
"""Standard deviation, along each axis, of the positions of particles that share a pulse."""

_FLUENCE_SPREAD = 0.8
_CENTRE_JITTER = 0.8
_BACKGROUND_MEDIAN = 0.12
_BACKGROUND_SPREAD = 0.4
_BACKGROUND_DECAY = 22.0
_BACKGROUND_FLOOR = 0.002
"""Background: photons per pixel at the centre, spread of its logarithm, decay [pixels], photons in every pixel."""

_MASKED_RADIUS = 14.0

_EXPERT_PLATEAU = 0.93
_EXPERT_HALF = 2200.0
_EXPERT_WIDTH = 0.35


def detector_mask(experiment: Experiment) -> np.ndarray:
    """Bad pixels of the simulated detector, always the same ones.

    A half disc about the beam (saturation and stray light), a dead column and a part of one, a shaded corner, and one
    pixel in 400 at random.

    Parameters
    ----------
    experiment
        Shape and centre.

    Returns
    -------
    ndarray (rows, columns)
        True = bad pixel.
    """
    rows, columns = experiment.shape
    mask = np.random.default_rng(experiment.shape).random(experiment.shape) < 1 / 400
    mask |= experiment.pixel_radius() < _MASKED_RADIUS
    mask[:, int(0.29 * columns)] = True
    mask[rows // 2 :, int(0.71 * columns)] = True
    mask[-rows // 8 :, : columns // 16] = True
    return mask


def draw_particles(species: str, rng: np.random.Generator) -> list[Particle]:
    """What is in the focus.

    Parameters
    ----------
    species
        "single", "double", "triple" (icosahedra in one pulse), "aggregate" (icosahedra that touch), "droplet" (a
        sphere), "debris" (a spheroid) or "empty".
    rng
        Generator.

    Returns
    -------
    list of Particle
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
    """Size of a virus [nm]."""
    return rng.uniform(*_ODD_VIRUS_NM) if rng.random() < _ODD_VIRUS_SHARE else rng.triangular(*_VIRUS_NM)


def _log_normal(rng: np.random.Generator, median: float, spread: float) -> float:
    """A positive number with a normal logarithm."""
    return float(median * math.exp(rng.normal(0, spread)))


def _orientation(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A unit quaternion, uniform over all orientations."""
    quaternion = rng.normal(size=4)
    return tuple((quaternion / np.linalg.norm(quaternion)).tolist())


def _in_focus(particle: Particle, position: np.ndarray) -> Particle:
    """The particle at a position [nm] of the Gaussian focus, lit as there."""
    brightness = math.exp(-4 * math.log(2) * float(position @ position) / _FOCUS_FWHM_NM**2)
    return Particle(particle.size_nm, particle.axis_ratio, particle.orientation, tuple(position.tolist()), brightness)


def _aggregate(rng: np.random.Generator, number: int) -> list[Particle]:
    """Viruses of which each touches an earlier one, in any direction."""
    sizes = [_virus_size(rng) for _ in range(number)]
    places = [np.zeros(3)]
    for latest in range(1, number):
        partner = int(rng.integers(latest))
        direction = rng.normal(size=3)
        reach = (sizes[latest] + sizes[partner]) / 2
        places.append(places[partner] + reach * direction / np.linalg.norm(direction))
    return [
        Particle(size, None, _orientation(rng), tuple(place[:2].tolist()))
        for size, place in zip(sizes, places, strict=True)
    ]


def frequencies(experiment: Experiment, centre: Centre) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequencies of the rows and of the columns.

    Parameters
    ----------
    experiment
        Geometry.
    centre
        Beam centre (row, column) [pixels].

    Returns
    -------
    row_frequency, column_frequency : ndarray (rows,), (columns,)
        [1/nm]
    """
    step = experiment.frequency_step
    return (np.arange(experiment.rows) - centre[0]) * step, (np.arange(experiment.columns) - centre[1]) * step


def scattered(particles: list[Particle], experiment: Experiment, centre: Centre) -> np.ndarray:
    """Intensity of the particles in every pixel (rows, columns) [nm⁶]: `particles.intensity` on the detector."""
    return intensity(particles, *frequencies(experiment, centre), frequency_step=experiment.frequency_step)


def photon_scale(experiment: Experiment, mask: np.ndarray, *, photons: float = PHOTONS) -> float:
    """Photons per nm⁶ at mean fluence, so that a 68 nm sphere scatters `photons` into the good pixels on average.

    Parameters
    ----------
    experiment
        Geometry.
    mask
        (rows, columns), True = bad pixel.
    photons
        Wanted mean [photons].

    Returns
    -------
    float
        [photons/nm⁶]
    """
    return photons / float(scattered([Particle(_REFERENCE_NM, 1.0)], experiment, experiment.centre)[~mask].sum())


def draw_fluence(rng: np.random.Generator) -> float:
    """Fluence of a shot over its mean: log-normal with mean 1."""
    return math.exp(rng.normal(-(_FLUENCE_SPREAD**2) / 2, _FLUENCE_SPREAD))


def draw_centre(rng: np.random.Generator, experiment: Experiment) -> Centre:
    """Beam centre of a shot (row, column) [pixels]: the nominal one with a jitter of 0.8 pixels along each axis."""
    row, column = rng.normal(experiment.centre, _CENTRE_JITTER)
    return float(row), float(column)


def draw_background(rng: np.random.Generator, experiment: Experiment, centre: Centre) -> np.ndarray:
    """Expected background of a shot (rows, columns) [photons]: an exponential fall from the centre on a flat floor."""
    level = _log_normal(rng, _BACKGROUND_MEDIAN, _BACKGROUND_SPREAD)
    return level * np.exp(-experiment.pixel_radius(centre) / _BACKGROUND_DECAY) + _BACKGROUND_FLOOR


def detect(expected: np.ndarray, mask: np.ndarray, experiment: Experiment, rng: np.random.Generator) -> np.ndarray:
    """Photons counted: Poisson, clipped at saturation, 0 in bad pixels.

    Parameters
    ----------
    expected
        (rows, columns) mean counts [photons].
    mask
        (rows, columns), True = bad pixel.
    experiment
        Saturation.
    rng
        Generator.

    Returns
    -------
    ndarray (rows, columns)
        uint16 [photons]
    """
    counts = np.zeros(expected.shape, np.uint16)
    counts[~mask] = np.minimum(rng.poisson(expected[~mask]), experiment.saturation)
    return counts


def expert_probability(single: bool, signal_photons: float) -> float:
    """Probability that the expert labels a shot a single hit.

    0 unless it is one ("visual inspection did not reveal any false positive", section 2.1). A single hit is found with
    0.93 / (1 + exp(−ln(signal / 2200) / 0.35)): weak ones are missed, and a few bright ones, too.

    Parameters
    ----------
    single
        The truth.
    signal_photons
        Expected scattered photons in the good pixels [photons].

    Returns
    -------
    float
    """
    if not single or signal_photons <= 0:
        return 0.0
    return _EXPERT_PLATEAU / (1 + (_EXPERT_HALF / signal_photons) ** (1 / _EXPERT_WIDTH))
