"""Scores of many patterns in many small files, so that the end of a process costs no more than one of them.

A chunk is a range of patterns of one file; `SELECTION.chunks/` beside the selection holds the scores of each as
`STEM-CHECKSUM-FIRST-STOP.npz`, with the checksum of the pattern file's path. A file there is whole, and it names the
origin of its scores: scores of another origin are computed anew.
"""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.system import text_digest, written_whole

PATTERNS_A_CHUNK = 1024
"""Patterns of a chunk, at most, or one batch."""

_CHUNKS_A_FILE = 32
"""Chunks of a file, at least, where a batch is not longer: otherwise a small file would keep few processes busy."""


@dataclass(frozen=True)
class Chunk:
    """Patterns `start` … `stop` - 1 of a file, scored `batch` at a time; `name` is the file with their scores."""

    name: str
    start: int
    stop: int
    batch: int

    def __len__(self) -> int:
        return self.stop - self.start

    def batches(self) -> list[slice]:
        """Batches of the chunk: those of a pass over the whole file, because a chunk begins where a batch begins."""
        return [slice(first, min(first + self.batch, self.stop)) for first in range(self.start, self.stop, self.batch)]


def chunks_of(path: Path, patterns: int, *, batch: int) -> list[Chunk]:
    """The chunks of a file of so many patterns, scored `batch` at a time, the same wherever they are computed."""
    length = batch * max(1, min(PATTERNS_A_CHUNK, patterns // _CHUNKS_A_FILE) // batch)
    stem = f"{path.stem}-{text_digest(str(path.resolve()))[:8]}"
    bounds = [(start, min(start + length, patterns)) for start in range(0, patterns, length)]
    return [Chunk(f"{stem}-{start:08d}-{stop:08d}.npz", start, stop, batch) for start, stop in bounds]


@dataclass(frozen=True)
class ChunkFolder:
    """Folder of files with the scores of chunks; it is made with the first one."""

    path: Path

    @classmethod
    def beside(cls, selection: Path) -> "ChunkFolder":
        """The folder that belongs to a selection."""
        return cls(selection.with_name(f"{selection.name}.chunks"))

    def write(self, chunk: Chunk, scores: np.ndarray, origin: str) -> None:
        """Store the scores (patterns, checkpoints) of a chunk and their `provenance.origin_of`, whole or not at all."""
        with written_whole(self.path / chunk.name) as partial, open(partial, "wb") as stream:
            np.savez(stream, scores=scores, origin=np.array(origin))

    def read(self, chunk: Chunk, origin: str) -> np.ndarray | None:
        """Scores (patterns, checkpoints), or None where there are none of this origin."""
        try:
            with open(self.path / chunk.name, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                scores, stored_origin = stored["scores"], str(stored["origin"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):  # not there, or damaged since
            return None
        return scores if stored_origin == origin and len(scores) == len(chunk) else None

    def names(self) -> set[str]:
        """Names of the files of any origin; a network file system brings a list up to date sooner than one name."""
        try:
            return {path.name for path in self.path.iterdir()}
        except FileNotFoundError:
            return set()

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
