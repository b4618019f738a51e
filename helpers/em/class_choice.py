"""Choice of the EM classes that hold the single hits: proposed from the known particle's rings, or ticked by a person.

In the paper an expert chose by eye. The proposal looks at no label: it keeps the classes whose mean radial profile is
that of an icosahedron of 60–75 nm, averaged over all orientations.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from helpers.em.settings import EMSettings
from helpers.errors import ClassChoiceError
from helpers.experiment import Centre, Experiment
from helpers.particles import Particle, icosahedron_amplitude
from helpers.preparation import radial_average
from helpers.system import in_short, read_json, write_text

SIZES_NM = tuple(range(60, 76))  # of the virus, compared with the classes (section 2.1)
_ORIENTATIONS = 24
# fixed on a simulated twin of another seed than those of the profiles, before these were looked at
_LEAST_LIKENESS = 0.999


def icosahedron_profiles(experiment: Experiment, settings: EMSettings) -> np.ndarray:
    """Radial profiles of icosahedra of 60–75 nm (diameter of the sphere of the same volume), mean of orientations.

    Returns
    -------
    ndarray (sizes, radii)
        At the whole radii of the band of q of the settings [nm⁶].
    """
    rng = np.random.default_rng(0)
    reach = settings.q_range[1] + 1
    rows, columns = np.arange(reach + 1), np.arange(-reach, reach + 1)
    frequencies = rows * experiment.frequency_step, columns * experiment.frequency_step
    images = [
        np.mean([_turned(size, rng, frequencies) ** 2 for _ in range(_ORIENTATIONS)], axis=0) for size in SIZES_NM
    ]
    everywhere = np.zeros((rows.size, columns.size), dtype=bool)
    profiles = radial_average(np.array(images), everywhere, np.tile((0.0, float(reach)), (len(images), 1)))
    return profiles[:, settings.q_range[0] : settings.q_range[1] + 1]


def _turned(size_nm: float, rng: np.random.Generator, frequencies: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Amplitude of an icosahedron in a random orientation."""
    quaternion = rng.normal(size=4)
    return icosahedron_amplitude(Particle(size_nm, None, tuple(quaternion / np.linalg.norm(quaternion))), *frequencies)


def pattern_profiles(
    blocks: Iterable[np.ndarray], mask: np.ndarray, centre: Centre, settings: EMSettings
) -> np.ndarray:
    """Radial profiles of patterns in the band of q of the settings: (N, radii) [photons per pixel].

    Parameters
    ----------
    blocks
        Photon counts (n, rows, columns).
    mask
        (rows, columns), True = bad pixel.
    centre
        Beam centre (row, column) [pixels].
    """
    profiles = [radial_average(counts, mask, np.tile(centre, (len(counts), 1))) for counts in blocks]
    return np.concatenate(profiles)[:, settings.q_range[0] : settings.q_range[1] + 1]


def class_profiles(profiles: np.ndarray, classes: np.ndarray, *, number: int) -> np.ndarray:
    """Mean profile (number, radii) of the patterns of each class, NaN for an empty class.

    Parameters
    ----------
    profiles
        (N, radii), from `pattern_profiles`.
    classes
        (N,) class of each pattern, from 0.
    """
    members = np.bincount(classes, minlength=number)[:, None]
    summed = np.zeros((number, profiles.shape[1]))
    np.add.at(summed, classes, profiles)
    return np.divide(summed, members, out=np.full_like(summed, np.nan), where=members > 0)


def likeness(profiles: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Highest Pearson correlation of ln(1 + profile) of each class with a reference: (classes,), −1 … 1.

    Parameters
    ----------
    profiles
        (classes, radii) [photons per pixel]; NaN and dark ones give 0.
    references
        (references, radii), any scale: each is scaled to the photons of the class first.
    """
    found = np.zeros(len(profiles))
    for place, profile in enumerate(profiles):
        if np.nansum(profile) > 0:
            scaled = references * (profile.sum() / references.sum(axis=1, keepdims=True))
            found[place] = max(np.corrcoef(np.log1p(profile), np.log1p(one))[0, 1] for one in scaled)
    return found


def class_titles(classes: np.ndarray, like: np.ndarray) -> list[str]:
    """Titles of the classes (classes,) of a run: how many of the patterns (N,) are in each, and its `likeness`."""
    members = np.bincount(classes, minlength=len(like))
    return [f"{k}: {n} patterns, {one:.4f}" for k, (n, one) in enumerate(zip(members, like, strict=True))]


def proposed_classes(like: np.ndarray) -> list[int]:
    """Classes that are like enough; the one most alike if none is."""
    chosen = np.flatnonzero(like >= _LEAST_LIKENESS)
    return [int(k) for k in (chosen if chosen.size else [like.argmax()])]


def votes(classes: np.ndarray, choice: Sequence[Sequence[int]]) -> np.ndarray:
    """Share of the runs in which a pattern lies in a chosen class, (N,); it is selected where that is more than half.

    Parameters
    ----------
    classes
        (runs, N) class of each pattern.
    choice
        Chosen classes of each run.
    """
    return np.mean([np.isin(one, chosen) for one, chosen in zip(classes, choice, strict=True)], axis=0)


def runs_key(classes: np.ndarray) -> str:
    """Checksum of the classes (runs, N), so that a choice is not taken for one of other runs."""
    return hashlib.sha256(np.ascontiguousarray(classes, dtype=np.int64).tobytes()).hexdigest()[:16]


def write_choice(path: str | os.PathLike, choice: Sequence[Sequence[int]], *, key: str, source: str) -> None:
    """Write the chosen classes of each run as JSON, whole or not at all; `source` is "proposed" or "user"."""
    fields = {"source": source, "key": key, "runs": [sorted(int(k) for k in chosen) for chosen in choice]}
    write_text(path, json.dumps(fields, indent=2) + "\n")


def read_choice(path: str | os.PathLike, *, key: str, classes: int) -> tuple[list[list[int]], str]:
    """Chosen classes of each run, and who chose: "proposed" or "user".

    The file is `settled_choice`'s or `ClassPicker`'s; `key` is the `runs_key` of the runs, `classes` their number of
    classes. Raises ClassChoiceError if it holds no choice, one of other runs, or a class that there is not.
    """
    fields = read_json(Path(path), "choice of classes", error=ClassChoiceError, advice="delete it and choose again")
    try:
        choice = [[_whole(k) for k in chosen] for chosen in fields["runs"]]
        found, source = fields["key"], fields["source"]
        if source not in ("proposed", "user"):
            raise ValueError(f"chosen by {source!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise ClassChoiceError(
            f"{path} holds no choice of classes ({in_short(error)}); delete it and choose again"
        ) from error
    if found != key:
        raise ClassChoiceError(
            f"{path} was made for other runs of EM (other patterns or settings); delete it, or move "
            "it away, and choose again"
        )
    if wrong := [k for chosen in choice for k in chosen if not 0 <= k < classes]:
        raise ClassChoiceError(f"{path} names a class {wrong[0]}, but there are 0 to {classes - 1}; correct it")
    return choice, source


def _whole(number: object) -> int:
    if type(number) is not int:
        raise ValueError(f"class {number!r}")
    return number


def settled_choice(
    path: str | os.PathLike, proposal: Sequence[Sequence[int]], *, key: str, classes: int
) -> tuple[list[list[int]], str]:
    """Chosen classes of each run, and who chose, "user" or "proposed"; if not the user, the proposal is written.

    Parameters
    ----------
    path
        JSON file of the choice.
    proposal
        Proposed classes of each run.
    key, classes
        Checksum of the runs, from `runs_key`, and number of classes of a run.

    Raises
    ------
    ClassChoiceError
        If the user has chosen classes of other runs.
    """
    if _source(path) != "user":
        write_choice(path, proposal, key=key, source="proposed")
    return read_choice(path, key=key, classes=classes)


def _source(path: str | os.PathLike) -> str | None:
    """Who made the choice in a file; a file that cannot be read counts as a person's, so it is not overwritten."""
    if not Path(path).is_file():
        return None
    try:
        return read_json(Path(path), "choice of classes", error=ClassChoiceError, advice="delete it")["source"]
    except (KeyError, ClassChoiceError):
        return "user"
