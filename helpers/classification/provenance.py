"""Origin of scores: the pattern file and all that it refers to, how it is read, the family, and the code."""

import json
from functools import cache
from pathlib import Path

from helpers.patterns import PatternStack, ReadOptions, detector_beside
from helpers.system import code_digest, text_digest
from helpers.training import FamilyFolder


def origin_of(stack: PatternStack, model: Path, options: ReadOptions, *, batch: int) -> str:
    """All that the scores of a stack depend on, as one text: stored scores hold where it is the same.

    Files stand there with path, size and time of change, because they may be gigabytes.
    """
    content = {
        "files": [_state(path) for path in _files_of(stack, options)],
        "reading": str(options),
        "family": family_state(model),
        "batch": batch,
        "code": scoring_code(),
    }
    return json.dumps(content, sort_keys=True)


def family_state(model: Path) -> str:
    """Checksum of a family's description, and of path, size and time of change of each of its checkpoints."""
    artefacts = FamilyFolder(model)
    description = artefacts.description()
    checkpoints = [artefacts.checkpoint(iteration) for iteration in description.get("consensus", ())]
    return text_digest(json.dumps([description, *(_state(path) for path in checkpoints if path.exists())]))


@cache
def scoring_code() -> str:
    """Checksum of the code that scores patterns; the same in every process that may work on a selection."""
    return code_digest("helpers.classification.consensus")


def code_in(origin: str) -> str:
    """Checksum of the code in an origin."""
    return json.loads(origin)["code"]


def _state(path: Path) -> list[str | int]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]


def _files_of(stack: PatternStack, options: ReadOptions) -> list[Path]:
    """The file, those that its data sets are in, and the detector."""
    found = {stack.path, *stack.other_files}
    detectors = (detector_beside(stack.path), options.detector)
    found |= {path for path in detectors if isinstance(path, Path) and path.is_file()}
    return sorted({path.resolve() for path in found})
