"""Provenance of a run: `run.json` holds versions, seeds, data checksum, profile, hardware and timings.

At its top stands what the last step was made with; `steps` holds the same of each step, and the checksum of each file
that it read and wrote. Every table and figure so leads back to the step, the code and the files that it comes from.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import helpers
from helpers.errors import RunFileError
from helpers.system import in_short, read_json, write_text
from helpers.workbook.run import RECORD, Run

_SECTIONS = ("profile", "steps", "data", "software", "versions", "hardware")

_PACKAGES = (
    "torch",
    "torchvision",
    "ultralytics",
    "numpy",
    "scipy",
    "pandas",
    "h5py",
    "hdf5plugin",
    "pillow",
    "scikit-learn",
    "matplotlib",
    "papermill",
)


def read_record(folder: Path) -> dict[str, Any]:
    """Read the `run.json` of a run's folder: empty if there is none, `RunFileError` if it is damaged."""
    path = folder / RECORD
    if not path.is_file():
        return {}
    advice = "delete it, or restore it from a copy"
    record = read_json(path, "record of a run", error=RunFileError, advice=advice)
    for name in _SECTIONS:
        if not isinstance(record.get(name, {}), dict):
            raise RunFileError(f"{path} holds no section {name}, but {in_short(repr(record[name]))}; {advice}")
    steps = record.get("steps", {})
    times = {name: step.get("seconds") if isinstance(step, dict) else None for name, step in steps.items()}
    if wrong := [name for name, seconds in times.items() if not _is_time(seconds)]:
        raise RunFileError(f"{path} holds no time of the step {in_short(wrong[0])}; {advice}")
    return record


def _is_time(seconds: object) -> bool:
    return type(seconds) in (int, float) and 0 <= seconds < 1e9


def describe(run: Run, data_checksum: str) -> dict[str, Any]:
    """Versions of the software, hardware, profile, seed, data and labels of a run, as plain values for `add_step`."""
    return {
        "software": {"single-hit-workbook": helpers.__version__, **git_state(helpers.ROOT)},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "hardware": hardware(),
        "profile": run.profile.sections(),
        "seed": run.profile.seed,
        "data": {"file": run.data.name, "sha256": data_checksum, "simulated": run.is_simulated},
        "labels": None if run.labels is None else run.labels.name,
    }


def add_step(
    folder: Path, description: Mapping[str, Any], step: str, seconds: float, **files: Mapping[str, str]
) -> None:
    """Add a finished step, made with what `describe` gives, to `run.json`; the entries of other steps stay.

    `files` are `reads` and `writes`: name → checksum of what it depended on and left (`staleness.inputs`, `outputs`).
    """
    record = read_record(folder)
    entry = {"seconds": round(seconds, 1), **description, **files}
    steps = {**record.get("steps", {}), step: entry}
    record = {**record, **description, "steps": dict(sorted(steps.items()))}
    write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")


def written_by(record: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Step that wrote a file and the file's checksum, for each file of a run, in the order of the steps."""
    steps = record.get("steps", {}).items()
    return {file: (name, checksum) for name, step in steps for file, checksum in step.get("writes", {}).items()}


def git_state(root: Path) -> dict[str, Any]:
    """Commit of the project, and whether files differ from it; None if git or its history is missing.

    Files in `results/` do not count: each step of the demo changes some that are in git.
    """
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--", ".", ":(exclude)results")
    if not commit or Path(_git(root, "rev-parse", "--show-toplevel") or "").resolve() != root.resolve():
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(status)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def hardware() -> dict[str, Any]:
    """Processor, cores, threads, memory and GPU."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    """Name of the processor, if the system gives it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
