"""A process that damages and reads one file after the other: a job on a line of stdin, what came of it on stdout.

It may die of what it reads; `harness` sees that and starts another.
"""

import json
import os
import resource
import shutil
import sys
import time
import warnings
import zlib
from pathlib import Path

_SPARE = 3 << 30
_WARNED = 400


def main(folder: Path) -> None:
    """Work until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    sys.stdin.reconfigure(encoding="utf-8")
    from tests.fuzzing.readers import READERS

    warnings.simplefilter("error")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _SPARE, used + _SPARE))
    print(json.dumps({"ready": True}), file=answers)
    templates: dict[str, Path] = {}
    for line in sys.stdin:
        name, family, number = json.loads(line)
        if name not in templates:
            templates[name] = _template(READERS[name], folder / f"template_{len(templates)}_{name[-1]}")
        answer = one(READERS[name], name, family, number, templates[name], folder / "file")
        print(json.dumps(answer), file=answers)


def _template(reader: object, folder: Path) -> Path:
    """A folder with whole files; gives back the one to damage."""
    folder.mkdir(parents=True)
    path = reader.write(folder)
    reader.read(path)
    return path


def one(reader: object, name: str, family: int, number: int, template: Path, folder: Path) -> dict:
    """Damage one file, read it, and tell what came of it, in what time, and with how much memory."""
    import numpy as np

    rng = np.random.default_rng([zlib.crc32(f"{name} {family}".encode()), number])
    shutil.rmtree(folder, ignore_errors=True)
    root = template.parent
    while root.parent != folder.parent:
        root = root.parent
    shutil.copytree(root, folder, copy_function=shutil.copyfile)
    path = folder / template.relative_to(root)
    mutations = reader.mutations[family][0]
    mutation = mutations[number % len(mutations)]
    answer = {"mutation": getattr(mutation, "__name__", "?")}
    try:
        mutation(path, rng)
    except Exception as error:
        return answer | {"verdict": "not made", "told": f"{type(error).__name__}: {error}"[:_WARNED]}
    return answer | _read(reader, path) | ({"verdict": "code ran"} if (folder / "pwned").exists() else {})


def _read(reader: object, path: Path) -> dict:
    """Read a file under measurement."""
    from helpers.errors import WorkbookError

    before = _memory("VmRSS", reset=True)
    began = time.process_time()
    try:
        reader.read(path)
        verdict, told = "read", ""
    except WorkbookError as error:
        verdict, told = "refused", str(error)
        if len(told) > 2000 or "\n" in told:
            verdict = "long message"
    except AssertionError as error:
        verdict, told = "wrong result", str(error)
    except Exception as error:
        verdict, told = "library", f"{type(error).__name__}: {error} {_where(error)}"
    seconds = time.process_time() - began
    mebibytes = (_memory("VmHWM") - before) / 1024
    return {"verdict": verdict, "told": told[:_WARNED], "seconds": seconds, "mebibytes": mebibytes}


def _where(error: BaseException) -> str:
    """The last of our lines in a traceback."""
    import traceback

    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/helpers/" in frame.filename]
    return f"({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""


def _memory(name: str, *, reset: bool = False) -> int:
    """A line of /proc/self/status [KiB]; the peak starts anew with `reset`."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
