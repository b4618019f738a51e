"""Simulated twin of the experiment: a CXI file of labelled patterns with exact truth.

Candidate k is drawn from `default_rng([seed, k])` alone. Candidates are accepted in order until each quota (inside or
outside the size range, labelled single or not) is full, so that the sets have the sizes of Table 1. The file depends
neither on time, nor on the number of processes and the order in which they finish.
"""

import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count

import numpy as np
import pandas as pd

from helpers.errors import ProfileError
from helpers.experiment import AMOX34117
from helpers.patterns import new_stack, write_table
from helpers.preparation import SIZE_RANGE_NM, particle_sizes
from helpers.simulation import shots
from helpers.system import cores, one_thread_processes, progress

PATTERNS = 18_213
MANUAL_FRACTION = 1196 / 18_213
OUTSIDE = (17, 593)
"""Table 1: patterns in the size range, fraction labelled single, and patterns from outside in the training and
validation sets (labelled single, not single)."""

_SINGLES_PER_LABEL = 2.1
"""True single hits in the mixture for each one that the expert labels."""
_CHUNK = 64
"""Candidates that a worker draws at a time."""
_CANDIDATES_PER_PATTERN = 50
_CANDIDATES_AT_LEAST = 50_000
"""Candidates after which unfilled quotas are an error: so many for each wanted pattern, and at least so many."""
_QUATERNION = ("quaternion_w", "quaternion_x", "quaternion_y", "quaternion_z")


@dataclass(frozen=True)
class _Plan:
    """Settings that a worker process needs to draw candidates."""

    seed: int
    shares: dict[str, float]
    photons: float


def simulate(
    path: str | os.PathLike,
    *,
    patterns: int = PATTERNS,
    manual_fraction: float = MANUAL_FRACTION,
    outside: tuple[int, int] | None = None,
    seed: int = 34117,
    photons: float = shots.PHOTONS,
    processes: int | None = None,
) -> None:
    """Write a simulated twin of the experiment (sections 2.1 and 2.6 of the paper; the model is in `shots`).

    The per-pattern table of the file holds the truth (`species`, `truth` with 1 = single hit, sizes, orientation,
    fluence, centre), measured values (`photons`, `size_nm`) and the expert's `label` (1 = single hit). `event_id` is
    the k of `default_rng([seed, k])`.

    Parameters
    ----------
    path
        CXI file to write; it appears under this name when it is complete.
    patterns
        Number of patterns with a measured size of 55–84 nm.
    manual_fraction
        Fraction of these that the expert labels single. The mixture holds about 2.1 true single hits for each label.
    outside
        Number of further patterns with a size outside this range (labelled single, not single); None scales the
        paper's 17 and 593.
    seed
        Seed of all draws; the same seed gives the same file, byte for byte.
    photons
        Mean number of photons that a virus of 68 nm scatters into the good pixels.
    processes
        Number of worker processes; None takes one for each core, and small twins take fewer. It does not change the
        file.

    Raises
    ------
    ProfileError
        If a number is out of its range, or if the expert recognises so few shots (at low `photons`) that a quota
        cannot be filled.
    """
    if outside is None:
        outside = tuple(math.ceil(number * patterns / PATTERNS) for number in OUTSIDE)
    if patterns < 1 or not 0 <= manual_fraction <= 1 or not photons > 0 or min(outside) < 0:
        raise ProfileError(
            f"cannot simulate {patterns} patterns, {manual_fraction} of them labelled, {outside} outside, of {photons} "
            f"photons; patterns must be at least 1, the fraction 0 to 1, the others positive"
        )
    labelled = round(manual_fraction * patterns)
    quotas = np.array([[outside[1], outside[0]], [patterns - labelled, labelled]])
    plan = _Plan(seed, _shares(labelled / patterns), photons)
    title = f"simulated twin of {AMOX34117.name}, seed {seed}"
    given = {"mask": shots.detector_mask(AMOX34117), "centre": AMOX34117.centre, "experiment": AMOX34117}
    records = []
    workers = min(processes or cores(), math.ceil(quotas.sum() / _CHUNK))
    with (
        new_stack(path, patterns=int(quotas.sum()), dtype=np.uint16, title=title, **given) as image,
        one_thread_processes(workers) as pool,
    ):
        accepted = _accepted(_chunks(pool, plan, waiting=2 * workers), quotas)
        for pattern, (counts, record) in enumerate(progress(accepted, label="simulating", total=int(quotas.sum()))):
            image["data"][pattern] = counts
            records.append(record)
        write_table(image, _table(records))


def _shares(manual_fraction: float) -> dict[str, float]:
    """Probability of each species."""
    single = min(max(_SINGLES_PER_LABEL * manual_fraction, 0.02), 0.9)
    return {"single": single} | {name: (1 - single) * share for name, share in shots.NON_SINGLE_SHARES.items()}


def _accepted(chunks: Iterator[tuple[np.ndarray, list[dict]]], quotas: np.ndarray) -> Iterator[tuple[np.ndarray, dict]]:
    """Candidates in order whose quota (in size range, label) is not full yet, until all quotas are."""
    left = quotas.copy()
    most = max(_CANDIDATES_PER_PATTERN * int(quotas.sum()), _CANDIDATES_AT_LEAST)
    for counts, records in chunks:
        if records[0]["event_id"] > most:
            raise ProfileError(
                f"after {most} simulated shots {left[:, 1].sum()} labelled and {left[:, 0].sum()} other patterns are "
                f"still missing; ask for fewer patterns, or for more photons"
            )
        for candidate, record in zip(counts, records, strict=True):
            quota = int(SIZE_RANGE_NM[0] <= record["size_nm"] <= SIZE_RANGE_NM[1]), record["label"]
            if left[quota]:
                left[quota] -= 1
                yield candidate, record
        if not left.any():
            return


def _chunks(pool: ProcessPoolExecutor, plan: _Plan, *, waiting: int) -> Iterator[tuple[np.ndarray, list[dict]]]:
    """Endless chunks of candidates in order; only `waiting` chunks are ahead, so that memory stays small."""
    starts = count(step=_CHUNK)
    futures: deque[Future] = deque(pool.submit(_chunk, plan, next(starts)) for _ in range(waiting))
    while True:
        yield futures.popleft().result()
        futures.append(pool.submit(_chunk, plan, next(starts)))


def _chunk(plan: _Plan, start: int) -> tuple[np.ndarray, list[dict]]:
    """Counts and records of the candidates from `start` on, with their measured sizes."""
    mask = shots.detector_mask(AMOX34117)
    scale = shots.photon_scale(AMOX34117, mask, photons=plan.photons)
    candidates = [_candidate(plan, number, mask, scale) for number in range(start, start + _CHUNK)]
    counts = np.stack([pattern for pattern, _ in candidates])
    records = [record for _, record in candidates]
    # as in the experiment, the size is measured about the nominal centre: the jitter is unknown
    sizes, scores = particle_sizes(counts, mask, np.tile(AMOX34117.centre, (_CHUNK, 1)), AMOX34117)
    for record, size, score in zip(records, sizes, scores, strict=True):
        record |= {"size_nm": size, "size_score": score}
    return counts, records


def _candidate(plan: _Plan, number: int, mask: np.ndarray, scale: float) -> tuple[np.ndarray, dict]:
    """Photon counts of one shot, and its row of the per-pattern table."""
    # the order of the draws is part of the file format: another order is another twin
    rng = np.random.default_rng([plan.seed, number])
    species = str(rng.choice(list(plan.shares), p=list(plan.shares.values())))
    particles = shots.draw_particles(species, rng)
    fluence = shots.draw_fluence(rng)
    centre = shots.draw_centre(rng, AMOX34117)
    signal = scale * fluence * shots.scattered(particles, AMOX34117, centre)
    counts = shots.detect(signal + shots.draw_background(rng, AMOX34117, centre), mask, AMOX34117, rng)
    signal_photons = float(signal[~mask].sum())
    truth = species == "single"
    label = rng.random() < shots.expert_probability(truth, signal_photons)
    positions = np.array([particle.position_nm for particle in particles]).reshape(-1, 2)
    first = particles[0] if particles else None
    return counts, {
        "event_id": number,
        "species": species,
        "truth": int(truth),
        "label": int(label),
        "particles": len(particles),
        "photons": int(counts.sum()),
        "signal_photons": signal_photons,
        "fluence": fluence,
        "centre_row": centre[0],
        "centre_column": centre[1],
        "true_size_nm": first.size_nm if first else 0.0,
        "axis_ratio": (first.axis_ratio or 1.0) if first else 1.0,
        "separation_nm": float(np.hypot(*(positions[:, None] - positions[None]).T).max(initial=0.0)),
        **dict(zip(_QUATERNION, first.orientation if first else (1.0, 0.0, 0.0, 0.0), strict=True)),
    }


def _table(records: list[dict]) -> pd.DataFrame:
    """Per-pattern table of the records; measured and drawn numbers are float32."""
    table = pd.DataFrame(records)
    kinds = {"event_id": np.int64, "photons": np.int64} | dict.fromkeys(("truth", "label", "particles"), np.uint8)
    numbers = dict.fromkeys(table.select_dtypes("float"), np.float32)
    return table.astype(kinds | numbers)
