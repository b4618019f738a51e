"""Detector frames of the simulated twin: what the camera delivers, before anybody has looked for hits.

The shots are those of `shots`; many pulses miss the particles and leave background alone. A photon frees a
cloud of charge that may fall on up to four pixels; the camera adds read noise and clips at its largest value; its
pedestal is subtracted, so dark pixels scatter about 0. Numbers that the paper does not give are choices: the constants.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import h5py
import numpy as np
import pandas as pd
from scipy.special import ndtr

from helpers.errors import ProfileError
from helpers.experiment import AMOX34117, Experiment
from helpers.patterns import new_stack, write_table
from helpers.preparation import Crop
from helpers.simulation import shots
from helpers.system import progress

CAMERA = replace(AMOX34117, name="AMOX34117 camera", rows=136, columns=256, centre_row=6.3, centre_column=127.4)
"""The panel that is alive, one side of the beam: larger than the crop, the beam not where the crop wants it."""

CLOUD_PIXELS = 0.1
"""Standard deviation of the charge of one photon [pixels]: 7.5 µm."""

READ_NOISE_ADU = 3.0
"""Standard deviation of a dark pixel [ADU]."""

HIT_SHARE = 0.5
"""Share of the frames with particles in the focus: far more than in an experiment, to keep files small."""

SINGLE_SHARE = 0.4
"""Share of single hits among the frames with particles."""


@dataclass(frozen=True)
class Shot:
    """What happened in one pulse, before the camera counted anything."""

    species: str
    """"blank", or a species of `shots.draw_particles`."""

    size_nm: float
    """Of the first particle; 0 without one [nm]."""

    centre: tuple[float, float]
    """Where the beam met the camera (row, column) [pixels]."""

    signal: np.ndarray
    """Expected scattered photons (rows, columns)."""

    background: np.ndarray
    """Expected photons of the background (rows, columns)."""


def draw_shot(rng: np.random.Generator, experiment: Experiment, *, scale: float, hit_share: float = HIT_SHARE) -> Shot:
    """One pulse: particles or none, fluence, centre, background.

    Parameters
    ----------
    rng
        Generator.
    experiment
        The camera.
    scale
        From `shots.photon_scale` [photons/nm⁶].
    hit_share
        Probability of particles in the focus.

    Returns
    -------
    Shot
    """
    hit = rng.random() < hit_share
    species = _species(rng) if hit else "blank"
    particles = shots.draw_particles(species, rng) if hit else []
    centre = shots.draw_centre(rng, experiment)
    fluence = shots.draw_fluence(rng)
    signal = scale * fluence * shots.scattered(particles, experiment, centre)
    background = shots.draw_background(rng, experiment, centre)
    return Shot(species, particles[0].size_nm if particles else 0.0, centre, signal, background)


def _species(rng: np.random.Generator) -> str:
    """What kind of hit."""
    shares = {"single": SINGLE_SHARE} | {
        name: (1 - SINGLE_SHARE) * share for name, share in shots.NON_SINGLE_SHARES.items()
    }
    return str(rng.choice(list(shares), p=list(shares.values())))


def camera_values(
    photons: np.ndarray, experiment: Experiment, rng: np.random.Generator, *, read_noise: float = READ_NOISE_ADU
) -> np.ndarray:
    """Values that the camera delivers for photons that fell on it.

    Each photon falls anywhere in its pixel and shares a Gaussian cloud of charge with the neighbours; a pixel is
    clipped at the experiment's saturation, noise is added, and the result is rounded to whole ADU. Charge that leaves
    the detector is lost.

    Parameters
    ----------
    photons
        (rows, columns) whole photons.
    experiment
        ADU a photon makes, and saturation.
    rng
        Generator.
    read_noise
        [ADU]

    Returns
    -------
    ndarray (rows, columns)
        int16 [ADU]
    """
    rows, columns = photons.shape
    charge = np.zeros((rows + 2, columns + 2))
    place = np.repeat(np.arange(photons.size), photons.ravel())
    row, column = np.divmod(place, columns)
    down, right = _shares(rng.random(place.size)), _shares(rng.random(place.size))
    for row_step in range(3):
        for column_step in range(3):
            target = (row + row_step) * (columns + 2) + column + column_step
            charge += np.bincount(target, down[row_step] * right[column_step], charge.size).reshape(charge.shape)
    adu = np.minimum(charge[1:-1, 1:-1], experiment.saturation) * experiment.adu_per_photon
    return np.rint(adu + rng.normal(0, read_noise, adu.shape)).astype(np.int16)


def _shares(position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Charge in the pixel before, the own one, and the one after, for positions 0..1 in the own pixel."""
    before, after = ndtr(-position / CLOUD_PIXELS), ndtr((position - 1) / CLOUD_PIXELS)
    return before, 1 - before - after, after


def simulate_frames(
    path: str | os.PathLike,
    *,
    frames: int,
    seed: int = 34117,
    experiment: Experiment = CAMERA,
    crop: Crop | None = None,
    hit_share: float = HIT_SHARE,
    photons: float = shots.PHOTONS,
) -> None:
    """Write simulated detector frames in ADU, with exact truth, before any preparation.

    Frame k is drawn from `default_rng([seed, k])` alone. The columns of the file's table are the truth: `species`
    ("blank" without particles), `truth` (single or not), `true_size_nm`, `true_centre_row` and `true_centre_column` in
    the frame [pixels], and what is expected and was counted in the good pixels of the crop about the nominal centre:
    `signal_photons` and `background_mean` (means), `counted_photons` (both, as they fell).

    Parameters
    ----------
    path
        The CXI file; it appears when it is whole.
    frames
        How many.
    seed
        The same seed gives the same bytes.
    experiment
        The camera.
    crop
        Where photons of the truth are summed; None is the paper's.
    hit_share
        Share of the frames with particles in the focus, 0..1.
    photons
        Mean number of photons that a virus of 68 nm scatters into the good pixels.

    Raises
    ------
    ProfileError
        If a number is impossible.
    """
    if frames < 1 or not 0 <= hit_share <= 1 or not photons > 0:
        raise ProfileError(
            f"cannot simulate {frames} frames, {hit_share} of them hits, of {photons} photons; frames must be at least "
            f"1, the share 0 to 1, photons positive"
        )
    mask = shots.detector_mask(experiment)
    title = f"simulated detector frames of {experiment.name}, seed {seed}"
    given = {"mask": mask, "centre": experiment.centre, "experiment": experiment}
    records = []
    with new_stack(path, patterns=frames, dtype=np.int16, title=title, **given) as image:
        _describe_unit(image, experiment)
        drawn = _frames(frames, seed, experiment, mask, crop or Crop(), hit_share, photons)
        for place, (adu, record) in enumerate(progress(drawn, label="simulating frames", total=frames)):
            image["data"][place] = adu
            records.append(record)
        write_table(image, pd.DataFrame(records))


def _describe_unit(image: h5py.Group, experiment: Experiment) -> None:
    """Say in the file that its values are ADU."""
    image["data"].attrs["units"] = "ADU"
    image["data"].attrs["adu_per_photon"] = experiment.adu_per_photon


def _frames(
    number: int,
    seed: int,
    experiment: Experiment,
    mask: np.ndarray,
    crop: Crop,
    hit_share: float,
    photons: float,
) -> Iterator[tuple[np.ndarray, dict]]:
    """Frames in order, and what is true of them."""
    scale = shots.photon_scale(experiment, mask, photons=photons)
    corner = crop.corner(experiment.shape, experiment.centre)
    seen = ~crop.cut(mask, corner, outside=True)
    for frame in range(number):
        rng = np.random.default_rng([seed, frame])
        shot = draw_shot(rng, experiment, scale=scale, hit_share=hit_share)
        counted = rng.poisson(shot.signal + shot.background)
        adu = camera_values(counted, experiment, rng)
        adu[mask] = 0
        signal, background, fallen = (
            float(crop.cut(image, corner)[seen].sum()) for image in (shot.signal, shot.background, counted)
        )
        yield (
            adu,
            {
                "event_id": frame,
                "species": shot.species,
                "truth": int(shot.species == "single"),
                "true_size_nm": shot.size_nm,
                "true_centre_row": shot.centre[0],
                "true_centre_column": shot.centre[1],
                "signal_photons": signal,
                "background_mean": background,
                "counted_photons": fallen,
            },
        )
