"""Detector frames of the simulated twin: the camera's output before hit finding.

The shots are those of `shots`; many pulses miss all particles and hold background alone. A photon frees a cloud of
charge that may spread over up to four pixels; the camera clips it at its largest value and adds read noise; its
pedestal is subtracted, so dark pixels scatter about 0. Values that the paper does not give are our choice.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
"""The panel on one side of the beam: larger than the crop of the paper, with the beam off the crop's centre."""

CLOUD_PIXELS = 0.1
"""Standard deviation of the charge cloud of one photon: 7.5 µm [pixels]."""

READ_NOISE_ADU = 3.0
"""Standard deviation of a dark pixel [ADU]."""

HIT_SHARE = 0.5
"""Fraction of frames with particles in the focus: far more than in an experiment, to keep files small."""

SINGLE_SHARE = 0.4
"""Fraction of single hits among the frames with particles."""


@dataclass(frozen=True)
class Shot:
    """Truth of one pulse, before the camera counts anything."""

    species: str  # "blank" for no particle, or a species of `shots.draw_particles`
    size_nm: float  # true size of the first particle; 0 for a blank [nm]
    centre: tuple[float, float]  # position of the beam on the camera (row, column) [pixels]
    signal: np.ndarray  # (rows, columns) expected scattered photons per pixel
    background: np.ndarray  # (rows, columns) expected background photons per pixel


def draw_shot(rng: np.random.Generator, experiment: Experiment, *, scale: float) -> Shot:
    """Draw one pulse: particles or none, fluence, centre and background; `scale` is that of `shots.photon_scale`."""
    hit = rng.random() < HIT_SHARE
    species = _species(rng) if hit else "blank"
    particles = shots.draw_particles(species, rng) if hit else []
    centre = shots.draw_centre(rng, experiment)
    fluence = shots.draw_fluence(rng)
    signal = scale * fluence * shots.scattered(particles, experiment, centre)
    background = shots.draw_background(rng, experiment, centre)
    return Shot(species, particles[0].size_nm if particles else 0.0, centre, signal, background)


def _species(rng: np.random.Generator) -> str:
    """Draw the species of a frame with particles."""
    shares = {"single": SINGLE_SHARE} | {
        name: (1 - SINGLE_SHARE) * share for name, share in shots.NON_SINGLE_SHARES.items()
    }
    return str(rng.choice(list(shares), p=list(shares.values())))


def camera_values(
    photons: np.ndarray, experiment: Experiment, rng: np.random.Generator, *, read_noise: float = READ_NOISE_ADU
) -> np.ndarray:
    """Camera output (rows, columns, int16) [ADU] for the whole photons that fell on its pixels.

    Each photon lands at a random point of its pixel, and its Gaussian cloud of charge spreads over the neighbours. A
    pixel is clipped at the experiment's saturation, read noise [ADU] is added, and the result is rounded to whole ADU.
    Charge that leaves the detector is lost.
    """
    rows, columns = photons.shape
    # one more pixel on each side takes the charge that leaves the detector
    charge = np.zeros((rows + 2, columns + 2))
    # one entry a photon: the pixel in which it lands, then a random point in this pixel along both axes
    pixel = np.repeat(np.arange(photons.size), photons.ravel())
    row, column = np.divmod(pixel, columns)
    down, right = _shares(rng.random(pixel.size)), _shares(rng.random(pixel.size))
    # a Gaussian cloud is separable: the charge in each of 3 × 3 pixels is a product of the shares along both axes
    for row_step in range(3):
        for column_step in range(3):
            target = (row + row_step) * (columns + 2) + column + column_step
            charge += np.bincount(target, down[row_step] * right[column_step], charge.size).reshape(charge.shape)
    adu = np.minimum(charge[1:-1, 1:-1], experiment.saturation) * experiment.adu_per_photon
    return np.rint(adu + rng.normal(0, read_noise, adu.shape)).astype(np.int16)


def _shares(position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fractions of a photon's charge in the previous pixel, its own and the next, for landing points 0..1."""
    before, after = ndtr(-position / CLOUD_PIXELS), ndtr((position - 1) / CLOUD_PIXELS)
    return before, 1 - before - after, after


def simulate_frames(path: str | os.PathLike, *, frames: int, seed: int = 34117) -> None:
    """Write simulated, unprepared detector frames in ADU with their exact truth.

    Frame k is drawn from `default_rng([seed, k])` alone. The per-pattern table of the file is the truth: `species`
    ("blank" without particles), `truth` (1 = single hit), `true_size_nm`, and `true_centre_row` and
    `true_centre_column` in the frame [pixels]. Three columns are photons in the good pixels of the crop about the
    nominal centre: the expected `signal_photons` and `background_mean`, and `counted_photons`, both as counted.

    Parameters
    ----------
    path
        CXI file to write; it appears under this name when it is complete.
    frames
        Number of frames, at least 1.
    seed
        Seed of all draws; the same seed gives the same file, byte for byte.

    Raises
    ------
    ProfileError
        If no frame is wanted.
    """
    if frames < 1:
        raise ProfileError(f"cannot simulate {frames} frames; at least 1 is needed")
    mask = shots.detector_mask(CAMERA)
    title = f"simulated detector frames of {CAMERA.name}, seed {seed}"
    given = {"mask": mask, "centre": CAMERA.centre, "experiment": CAMERA}
    records = []
    with new_stack(path, patterns=frames, dtype=np.int16, title=title, **given) as image:
        image["data"].attrs["units"] = "ADU"
        image["data"].attrs["adu_per_photon"] = CAMERA.adu_per_photon
        drawn = progress(_frames(frames, seed, mask), label="simulating frames", total=frames)
        for pattern, (adu, record) in enumerate(drawn):
            image["data"][pattern] = adu
            records.append(record)
        write_table(image, pd.DataFrame(records))


def _frames(number: int, seed: int, mask: np.ndarray) -> Iterator[tuple[np.ndarray, dict]]:
    """Frames (ADU) in order, each with its row of the truth table."""
    scale = shots.photon_scale(CAMERA, mask)
    crop = Crop()
    corner = crop.corner(CAMERA.shape, CAMERA.centre)
    good = ~crop.cut(mask, corner, outside=True)
    for frame in range(number):
        rng = np.random.default_rng([seed, frame])
        shot = draw_shot(rng, CAMERA, scale=scale)
        # photons as they fall, then as the camera shows them
        counted = rng.poisson(shot.signal + shot.background)
        adu = camera_values(counted, CAMERA, rng)
        adu[mask] = 0
        # the truth in the region that preparation keeps
        signal, background, fallen = (
            float(crop.cut(image, corner)[good].sum()) for image in (shot.signal, shot.background, counted)
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
