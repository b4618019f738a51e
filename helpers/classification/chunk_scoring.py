"""Chunks of patterns to files of scores: in a loop, in one of many processes, or as a task of a Dask worker."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from helpers.classification.chunks import Chunk, ChunkFolder
from helpers.classification.consensus import TrainedFamily, load_family, score_batches
from helpers.classification.provenance import code_in, family_state, scoring_code
from helpers.errors import ClusterError
from helpers.patterns import PatternStack, ReadOptions, open_stack
from helpers.system import progress


@dataclass(frozen=True)
class Source:
    """What a process needs to know to score any chunk of a file; paths are absolute.

    `family` (`provenance.family_state`) lets a worker that lives long load a family again when it has changed; `origin`
    is of `provenance.origin_of`; the scores go to `folder`.
    """

    path: Path
    options: ReadOptions
    model: Path
    family: str
    origin: str
    folder: ChunkFolder


Task = tuple[Source, Chunk]


def tasks_stored(tasks: Sequence[Task]) -> list[Task]:
    """Tasks whose scores have a file, of whatever origin."""
    names = {folder: folder.names() for folder in {source.folder for source, _ in tasks}}
    return [(source, chunk) for source, chunk in tasks if chunk.name in names[source.folder]]


def tasks_left(tasks: Sequence[Task]) -> list[Task]:
    """Tasks whose scores are not there; files with scores of another origin, or damaged ones, do not count."""
    done = {
        (source.folder, chunk)
        for source, chunk in tasks_stored(tasks)
        if source.folder.read(chunk, source.origin) is not None
    }
    return [(source, chunk) for source, chunk in tasks if (source.folder, chunk) not in done]


def compute_in_a_loop(
    tasks: Sequence[Task],
    trained: TrainedFamily,
    *,
    label: str,
    then: Callable[[Source, PatternStack], None] | None = None,
) -> None:
    """Score chunks (those of a file in a row) in this process, and store each when it is complete.

    `then` is called with each file while it is open, when its chunks are scored.
    """
    batches = sum(len(chunk.batches()) for _, chunk in tasks)
    done = (
        batch
        for source, group in groupby(tasks, lambda task: task[0])
        for batch in _scored(source, group, trained, then)
    )
    with closing(done):
        for _ in progress(done, label=label, total=batches):
            pass


def compute_in_worker(source: Source, chunk: Chunk) -> None:
    """Score one chunk in a worker process, which keeps the family; a ClusterError if the worker has other code."""
    if code_in(source.origin) != scoring_code():
        raise ClusterError(
            "a worker has another version of this workbook than the machine that asks; install the same on both, and "
            "start the workers anew"
        )
    if source.folder.read(chunk, source.origin) is None:  # a task is done again where a worker was lost after it
        for _ in _scored(source, [(source, chunk)], family_of_process(source.model, source.family)):
            pass


@lru_cache(maxsize=1)
def family_of_process(model: Path, _state: str) -> TrainedFamily:
    """The family in `model`; loaded once a process, and again when its state has changed."""
    return load_family(model)


def load_once(model: Path) -> TrainedFamily:
    """The family in `model` as it is now."""
    return family_of_process(model, family_state(model))


def _scored(
    source: Source,
    tasks: Iterable[Task],
    trained: TrainedFamily,
    then: Callable[[Source, PatternStack], None] | None = None,
) -> Iterator[int]:
    """Score chunks of one file and store them; gives the number of patterns of each batch, when it is scored."""
    chunks = [chunk for _, chunk in tasks]
    batches = [batch for chunk in chunks for batch in chunk.batches()]
    with open_stack(source.path, source.options) as stack, closing(score_batches(stack, trained, batches)) as scores:
        for chunk in chunks:
            parts = []
            for _ in chunk.batches():
                parts.append(next(scores))
                if len(parts) == len(chunk.batches()):
                    source.folder.write(chunk, np.concatenate(parts), source.origin)
                yield len(parts[-1])
        if then is not None:
            then(source, stack)
