"""Runs the corpus in a few processes that live on, and puts together what came of each file."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from helpers import ROOT
from helpers.system import progress

LONGEST = 2.0
"""Processor time that a file may take [s]."""

LARGEST = 500.0
"""Memory that a file may take [MiB]."""

_STUCK = 6.0
"""Processor time after which a process is given up [s]."""

_ASLEEP = 10
"""Seconds after which a process that only waits is given up."""

_STARTS = 120.0

Job = tuple[str, int, int]
"""Name of the reader, family of mutations, number of the file."""


@dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Parameters
    ----------
    job
        Which file.
    mutation
        What was done to it.
    verdict
        "refused" (with an error of ours), "read", "library" (an error of somebody else's), "wrong result", "crash",
        "stuck", "code ran", "long message" or "not made".
    told
        The message.
    seconds, mebibytes
        What it took.
    """

    job: Job
    mutation: str
    verdict: str
    told: str = ""
    seconds: float = 0.0
    mebibytes: float = 0.0

    @property
    def failure(self) -> str | None:
        """What is wrong, or None."""
        if self.verdict not in ("refused", "read"):
            return self.verdict
        if self.seconds > LONGEST:
            return "slow"
        return "big" if self.mebibytes > LARGEST else None


class _Worker:
    """A process that is started anew when it has died or is stuck."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen | None = None

    def run(self, job: Job) -> Outcome:
        """Have a file damaged and read."""
        if self._process is None:
            self._start()
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._answer_or_stuck()
        if answer is not None:
            return Outcome(job, **answer)
        stuck = self._process.poll() is None
        signal = self.stop()
        return Outcome(job, "?", "stuck" if stuck else "crash", f"the process ended with {signal}")

    def stop(self) -> int | None:
        """End the process and give back how it ended."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.stdin.close()
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()
        return process.wait()

    def _start(self) -> None:
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzzing.worker", tempfile.mkdtemp(dir=self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        if self._answer(_STARTS) is None:
            raise RuntimeError("a worker does not start; run python -m tests.fuzzing.worker FOLDER by hand")

    def _answer_or_stuck(self) -> dict | None:
        """The answer, unless the process works too long or sleeps; on a busy machine it may have to wait for a core."""
        began, asleep = _used(self._process.pid)[0], 0
        while asleep < _ASLEEP:
            if select.select([self._process.stdout], [], [], 1.0)[0]:
                return self._answer(_STARTS)
            used, sleeps = _used(self._process.pid)
            asleep = asleep + 1 if sleeps else 0
            if used - began > _STUCK:
                break
        return None

    def _answer(self, seconds: float) -> dict | None:
        """A line, or None if the process ended or says nothing in time."""
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(_STARTS)
        return json.loads(line) if line else None


def _used(process: int) -> tuple[float, bool]:
    """Processor time of a process [s], and whether it waits for something else than a core."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK"), fields[0] == "S"


def corpus(readers: Iterable[str] | None = None) -> list[Job]:
    """All files, reader after reader."""
    from tests.fuzzing.readers import READERS

    return [
        (name, family, number)
        for name in (readers or READERS)
        for family, (_, files) in enumerate(READERS[name].mutations)
        for number in range(files)
    ]


def run(jobs: list[Job], *, processes: int = 2) -> list[Outcome]:
    """Damage and read files; the same jobs are the same files."""
    waiting: SimpleQueue[Job] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    done: SimpleQueue[Outcome | None] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder, ThreadPoolExecutor(processes) as pool:
        working = [pool.submit(_work, _Worker(Path(folder)), waiting, done) for _ in range(processes)]
        found = list(progress(_received(done, len(jobs), working), label="damaged files", total=len(jobs)))
    return found


def _received(done: SimpleQueue, number: int, working: list) -> Iterator[Outcome]:
    for _ in range(number):
        while True:
            try:
                yield done.get(timeout=5)
                break
            except Empty:
                for one in working:
                    if one.done():
                        one.result()


def _work(worker: _Worker, waiting: SimpleQueue, done: SimpleQueue) -> None:
    try:
        while True:
            done.put(worker.run(waiting.get_nowait()))
    except Empty:
        pass
    finally:
        worker.stop()


COLUMNS = ("refused", "read", "library", "wrong result", "crash", "stuck", "code ran", "long message", "slow", "big")


def table(outcomes: Iterable[Outcome]) -> str:
    """One line a reader: how many files were tried, and what came of them."""
    counts: dict[str, Counter] = {}
    for outcome in outcomes:
        counts.setdefault(outcome.job[0], Counter())[outcome.failure or outcome.verdict] += 1
    total = sum(counts.values(), Counter())
    width = max(map(len, [*counts, "all"]))
    lines = [f"{'reader':{width}} {'tried':>6} " + " ".join(f"{name:>12}" for name in COLUMNS)]
    for name, found in [*sorted(counts.items()), ("all", total)]:
        lines.append(f"{name:{width}} {found.total():6} " + " ".join(f"{found[column]:12}" for column in COLUMNS))
    return "\n".join(lines)
