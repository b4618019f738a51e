"""Files of patterns to selections of single hits, chunk by chunk: in one process, in many, or on a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from helpers.classification.chunk_scoring import (
    Source,
    Task,
    compute_in_a_loop,
    compute_in_worker,
    load_once,
    tasks_left,
    tasks_stored,
)
from helpers.classification.chunks import Chunk, ChunkFolder, chunks_of
from helpers.classification.cluster import check_cluster, compute_on_cluster
from helpers.classification.consensus import TrainedFamily, as_table, check_shape, write_stable_selection
from helpers.classification.provenance import family_state, origin_of
from helpers.errors import ClusterError, PatternFileError
from helpers.evaluation import stable_selection
from helpers.patterns import (
    DEFAULTS,
    SUFFIXES,
    PatternStack,
    ReadOptions,
    check_output,
    doubts,
    open_stack,
    print_doubts,
    probe,
    selection_table,
    write_selections,
)
from helpers.training import patterns_a_batch


@dataclass(frozen=True)
class _Scored:
    """A pattern file on its way to a selection."""

    path: Path
    output: Path
    source: Source
    chunks: Sequence[Chunk]


def classify_file(path: Path, model: Path, **given: Any) -> str:
    """Classify every pattern of a file with a trained family and write the selection: `classify_files` of one file."""
    return classify_files([path], model, **given)


def classify_files(
    paths: Sequence[Path],
    model: Path,
    *,
    output: Path | None = None,
    threshold: float | None = None,
    cluster: str | None = None,
    share: tuple[int, int] | None = None,
    bin_side: int = 1,
    options: ReadOptions = DEFAULTS,
) -> str:
    """Classify every pattern of some files with a trained family and write selections.

    Until a selection is written, the scores of each chunk of patterns are kept beside it (`chunks`): the same call goes
    on with what is left.

    Parameters
    ----------
    paths
        Pattern files.
    model
        `results/RUN/families/FAMILY`.
    output
        The selection of one file, in the form that its suffix names: .csv, .cxi, .h5 or .emc. For several files, one
        list (.csv) of them all. A folder, or a name without suffix, gets FILE.FAMILY.csv for each; the working
        directory if None.
    threshold
        Score above which a checkpoint says single; the family's own if None.
    cluster
        Where to compute (`cluster.check_cluster`); in this process if None.
    share
        (K, N): only compute every N-th chunk, beginning with the K-th, and write no selection.
    bin_side
        Pixels along a side of the bins of an .emc, whose counts are summed.
    options
        How the files are read.

    Returns
    -------
    str
        One line: how many single hits among how many patterns, and where the selection is; or what the share was.

    Raises
    ------
    PatternFileError
        If a file cannot be read or does not fit the family, or if a selection cannot be written under its name.
    ClusterError
        If there is no such cluster, or it is lost.
    """
    if cluster is not None:
        check_cluster(cluster)
    if cluster is not None and share is not None:
        raise ClusterError("a share of the chunks is computed in this process; leave out --cluster or --chunks")
    _refuse_repeats(paths)
    trained = load_once(model)
    outputs = _outputs(paths, str(trained.family), output)
    files = [_probed(path, model, trained, to, bin_side, options) for path, to in zip(paths, outputs, strict=True)]
    tasks = [(file.source, chunk) for file in files for chunk in file.chunks]
    if share is not None:
        return _compute_share(tasks, trained, *share)
    threshold = trained.threshold if threshold is None else threshold
    selections = _Selections(files, trained, threshold, bin_side)
    _compute(tasks, trained, cluster, selections)
    selected = selections.finish()
    of_files = f" in {len(files)} files" if len(files) > 1 else ""
    written = files[0].output if len({file.output for file in files}) == 1 else output or Path()
    return (
        f"{selected.sum()} of {len(selected)} patterns{of_files} ({selected.mean():.1%}) are single hits under "
        f"{trained.family} (score above {threshold:g} at each of {len(trained.consensus)} checkpoints): {written}"
    )


def _refuse_repeats(paths: Sequence[Path]) -> None:
    known: set[Path] = set()
    for path in paths:
        if path.resolve() in known:
            raise PatternFileError(f"{path}: is given twice; its patterns would count twice")
        known.add(path.resolve())


def _outputs(paths: Sequence[Path], family: str, output: Path | None) -> list[Path]:
    """The selection that each file goes to."""
    if output is None or output.is_dir() or not output.suffix:
        outputs = [(output or Path()) / f"{path.stem}.{family}.csv" for path in paths]
        for number, one in enumerate(outputs):
            if one in outputs[:number]:
                first = paths[outputs.index(one)]
                raise PatternFileError(
                    f"{one}: would be the selection of {first} and of {paths[number]}; give --output LIST.csv"
                )
        return outputs
    if len(paths) > 1 and output.suffix.lower() in SUFFIXES[1:]:
        raise PatternFileError(
            f"{output}: holds the selection of one file, and {len(paths)} are given; give a list (.csv) or a folder"
        )
    return [output] * len(paths)


def _probed(
    path: Path, model: Path, trained: TrainedFamily, output: Path, bin_side: int, options: ReadOptions
) -> _Scored:
    """Check a file and its output in a child process, and divide its patterns into chunks."""
    batch = patterns_a_batch(trained.settings.size)
    if isinstance(options.detector, Path):
        options = replace(options, detector=options.detector.resolve())

    def look(stack: PatternStack) -> list:
        check_shape(stack, trained)
        check_output(output, stack, bin_side=bin_side)
        return [len(stack), origin_of(stack, model, options, batch=batch), doubts(stack)]

    patterns, origin, doubtful = probe(path, options, look=look)
    print_doubts(doubtful)
    folder = ChunkFolder.beside(output.resolve())
    source = Source(path.resolve(), options, model.resolve(), family_state(model), origin, folder)
    return _Scored(path, output, source, chunks_of(path, patterns, batch=batch))


def _compute(tasks: Sequence[Task], trained: TrainedFamily, cluster: str | None, selections: "_Selections") -> None:
    """Compute the chunks that are left."""
    left = _left(tasks)
    label = f"classifying, {trained.family}"
    if cluster is None:
        compute_in_a_loop(left, trained, label=label, then=selections.write)
    elif left:
        compute_on_cluster(cluster, compute_in_worker, lambda: tasks_left(left), label=label)


def _compute_share(tasks: Sequence[Task], trained: TrainedFamily, number: int, shares: int) -> str:
    mine = tasks[number - 1 :: shares]
    compute_in_a_loop(_left(mine), trained, label=f"classifying, {trained.family}, share {number} of {shares}")
    return (
        f"share {number} of {shares}: {len(mine)} of {len(tasks)} chunks are done; when all shares are, the same "
        "command without --chunks writes the selection"
    )


def _left(tasks: Sequence[Task]) -> list[Task]:
    """Tasks that are left; says so where it goes on with an earlier call."""
    stored, left = tasks_stored(tasks), tasks_left(tasks)
    done = len(tasks) - len(left)
    if len(stored) > done:
        print(f"{len(stored) - done} chunks are of other files, family or code: computed anew", flush=True)
    if done:
        print(f"{done} of {len(tasks)} chunks are there; going on with the others", flush=True)
    return left


class _Selections:
    """The selections of some files, each written while its file is open; of several with one output, one list."""

    def __init__(self, files: Sequence[_Scored], trained: TrainedFamily, threshold: float, bin_side: int) -> None:
        self._files = {file.source: file for file in files}
        self._trained = trained
        self._threshold = threshold
        self._bin_side = bin_side
        self._is_list = len(files) > 1 and files[0].output == files[1].output
        self._tables: dict[Source, pd.DataFrame] = {}
        self._selected: dict[Source, np.ndarray] = {}

    def write(self, source: Source, stack: PatternStack) -> None:
        """Write the selection of an open file, or its part of the list once all are there."""
        scores = _scores_of(self._files[source], stack)
        patterns = np.arange(len(stack))
        if not self._is_list:
            table, output = as_table(patterns, scores, self._trained), self._files[source].output
            given = {"threshold": self._threshold, "bin_side": self._bin_side}
            self._selected[source] = write_stable_selection(output, stack, table, **given)
            return
        self._selected[source] = stable_selection(scores, self._threshold)
        given = {"scores": scores.min(axis=1), "selected": self._selected[source]}
        self._tables[source] = selection_table(stack, patterns=patterns, **given)

    def finish(self) -> np.ndarray:
        """Write what is left, and delete the chunks that selections are made from: bool (patterns of all files,)."""
        for source, file in self._files.items():
            if source not in self._selected:
                with open_stack(file.path, source.options) as stack:
                    self.write(source, stack)
        if self._is_list:
            tables = [self._tables[source] for source in self._files]
            datasets = any(len(table["dataset"].unique()) > 1 for table in tables)
            write_selections(next(iter(self._files.values())).output, tables, datasets=datasets)
        for source in self._files:
            source.folder.remove()
        return np.concatenate([self._selected[source] for source in self._files])


def _scores_of(file: _Scored, stack: PatternStack) -> np.ndarray:
    """The scores (patterns, checkpoints) of all chunks of an open file."""
    source = file.source
    parts = [source.folder.read(chunk, source.origin) for chunk in file.chunks]
    origin = origin_of(stack, source.model, source.options, batch=file.chunks[0].batch)
    if origin != source.origin or any(part is None for part in parts):
        raise PatternFileError(
            f"{file.path}: it, the family or the scores changed meanwhile; run the same command again"
        )
    return np.concatenate(parts)
