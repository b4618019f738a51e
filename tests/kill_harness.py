"""Kill a run again and again, at seeded moments spread over all its steps, and see what it comes to.

    python tests/kill_harness.py --kills 30 --seed 1          # with the notebooks as they are, on a tiny twin

Each time SIGKILL goes to the runner, to the kernel of a notebook, or to a worker process; then the same command goes on
at once. In the end everything that it leaves must be what a run leaves that nobody has killed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import yaml

from helpers import ROOT
from helpers.system import sha256
from helpers.workbook import load_profile
from helpers.workbook.record import read_record
from helpers.workbook.run import DATA, twin_path

_MARK = "WORKBOOK_KILL_HARNESS"
_SIMULATION = "00_simulation"
_SECONDS_TO_END = 120
_SECONDS_OF_ORPHANS = 10
_FEWEST_THAT_MEET = 0.8
_COMPARED = ("tables/*", "selections/*", "figures/*", "sets.csv", "box.json", "families/*/*.csv", "families/*/*.json",
             "families/*/checkpoints/*", "em/**/*")  # fmt: skip
_MEASURED = ("training.log", "figure_online_rates.png", "figure_online_rates.pdf")
"""Files that hold readings of the clock: no two runs have the same."""


@dataclass(frozen=True)
class Kill:
    """Whom to kill, and when: a share of a step's time after it has begun."""

    step: str
    share: float
    victim: str


@dataclass
class Outcome:
    """What came of the kills."""

    kills: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    longest_orphan: float = 0.0


class Watched:
    """A command that runs: its lines as they come, and the processes that belong to it."""

    def __init__(self, command: Sequence[object], cwd: Path) -> None:
        self.mark = str(uuid.uuid4())
        environment = {**os.environ, _MARK: self.mark}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([str(part) for part in command], cwd=cwd, env=environment, **pipes)
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            Thread(target=self._read, args=given, daemon=True)
            for given in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def wait_for(self, steps: Sequence[str]) -> str | None:
        """Wait until one of the steps begins, and say which; None if the command ends first."""
        while self.process.poll() is None:
            if begun := self.begun(steps):
                return begun[0]
            time.sleep(0.02)
        return None

    def begun(self, steps: Sequence[str]) -> list[str]:
        """Those of the steps that it has begun, in order."""
        begins = {step: "simulating " if step == _SIMULATION else f"{step}: running" for step in steps}
        return [step for line in list(self.lines) for step, begin in begins.items() if begin in line]

    def survives(self, step: str) -> bool:
        """Whether it comes to the end of a step."""
        end = "simulated " if step == _SIMULATION else f"{step}: done in"
        while self.process.poll() is None:
            if any(line.startswith(end) or f"] {end}" in line for line in list(self.lines)):
                return True
            time.sleep(0.02)
        return False

    def family(self) -> dict[int, str]:
        """Processes that carry the mark → command line, without those that wait to be buried."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if f"{_MARK}={self.mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
        return {process: line for process, line in found.items() if line}

    def kill(self, victim: str) -> str:
        """Kill one of its processes; says which, because not every step has a kernel and workers at all times."""
        parts = {"kernel": "ipykernel_launcher", "worker": "spawn_main"}
        order = [victim, *(name for name in ("kernel", "runner") if name != victim)]
        for name in order:
            chosen = [self.process.pid] if name == "runner" else [
                process for process, line in self.family().items() if parts[name] in line
            ]  # fmt: skip
            if chosen:
                try:
                    os.kill(chosen[0], signal.SIGKILL)
                except ProcessLookupError:
                    continue
                return name
        return "nobody"

    def end(self) -> int | None:
        """Wait for its end; None if it hangs."""
        try:
            code = self.process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        return code

    def close(self) -> None:
        """Read its last lines, after its end."""
        for reader in self._readers:
            reader.join(_SECONDS_OF_ORPHANS)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()

    def seconds_of_orphans(self) -> float:
        """Seconds until no process of it is left."""
        began = time.monotonic()
        while self.family() and time.monotonic() - began < _SECONDS_OF_ORPHANS:
            time.sleep(0.05)
        return time.monotonic() - began


def planned(seconds: Mapping[str, float], kills: int, seed: int) -> list[Kill]:
    """Kills in the order of the steps, spread evenly over them.

    Parameters
    ----------
    seconds
        Step → how long it takes [s].
    kills
        How many.
    seed
        Of moments and victims.
    """
    rng = random.Random(seed)
    steps = list(seconds)
    return [
        Kill(steps[place * len(steps) // kills], rng.random(), rng.choice(["runner", "kernel", "worker"]))
        for place in range(kills)
    ]


def attack(command: Sequence[object], seconds: Mapping[str, float], kills: Sequence[Kill], cwd: Path) -> Outcome:
    """Run a command, kill it as planned, go on with it each time, and let it end.

    Parameters
    ----------
    command
        Of `workbook run`.
    seconds
        Step → how long it takes [s].
    kills
        From `planned`.
    cwd
        Working directory.

    Returns
    -------
    Outcome
    """
    outcome = Outcome()
    running = Watched(command, cwd)
    for number, kill in enumerate(kills, start=1):
        # a step that is done already, because the kill before came late, is not begun again: the next one that begins
        steps = list(seconds)
        if step := running.wait_for(steps[steps.index(kill.step) :]):
            deadline = time.monotonic() + kill.share * seconds[step]
            while time.monotonic() < deadline and running.process.poll() is None:
                time.sleep(0.01)
            step = running.begun(steps)[-1]  # it may have gone on to the next
        killed = running.kill(kill.victim) if running.process.poll() is None else "nobody"
        title = f"kill {number}, {step}, {killed}"
        if killed in ("kernel", "worker") and running.survives(step):
            outcome.kills.append(f"{title}: it had done its work, and the step went on")
            print(outcome.kills[-1], flush=True)
            continue
        code = running.end()
        # at once, whatever is left of the killed one
        ended, running = running, Watched(command, cwd)
        _judge(outcome, title, killed, code, ended)
    _judge(outcome, "the last run", "", running.process.wait(), running)
    return outcome


def _judge(outcome: Outcome, title: str, killed: str, code: int | None, running: Watched) -> None:
    """Note what a run that has ended did wrong."""
    orphans = running.seconds_of_orphans()
    outcome.longest_orphan = max(outcome.longest_orphan, orphans)
    running.close()
    last_error = next((line for line in reversed(running.errors) if line), "")
    outcome.kills.append(f"{title}: code {code}, orphans {orphans:.1f} s; {last_error}")
    print(outcome.kills[-1], flush=True)
    if code is None:
        outcome.failures.append(f"{title}: hangs")
    expected = {"runner": (-signal.SIGKILL,), "kernel": (1, 2), "worker": (0, 1, 2), "nobody": (0,), "": (0,)}[killed]
    if code is not None and code not in expected:
        outcome.failures.append(f"{title}: ended with {code}: {last_error}")
    if any("Traceback" in line for line in running.errors):
        outcome.failures.append(f"{title}: a traceback: {last_error}")
    if orphans >= _SECONDS_OF_ORPHANS:
        outcome.failures.append(f"{title}: orphans: {running.family()}")
    began = {line.split()[1].rstrip(":") for line in running.lines if ": running (" in line}
    if again := began & outcome.done:
        outcome.failures.append(f"{title}: done again: {sorted(again)}")
    outcome.done |= {
        line.split()[1].rstrip(":") for line in running.lines if line.startswith("[") and ": done in" in line
    }


def differences(folder: Path, expected: Path) -> list[str]:
    """What differs between the tables, figures, scores, checkpoints of two runs; what is left over."""
    names = {
        str(path.relative_to(root))
        for root in (folder, expected)
        for pattern in _COMPARED
        for path in root.glob(pattern)
        if path.is_file() and path.name not in _MEASURED
    }
    found = []
    for name in sorted(names):
        if not (folder / name).is_file() or not (expected / name).is_file():
            found.append(f"{name} is missing in one of both")
        elif sha256(folder / name) != sha256(expected / name):
            found.append(f"{name} differs")
    return found


def leftovers(*folders: Path) -> list[str]:
    """Temporary files and locks."""
    paths = [path for folder in folders for path in folder.rglob(".*")]
    return [str(path) for path in paths if ".partial" in path.name or ".lock" in path.name]


def _profile(folder: Path) -> Path:
    """The tiny profile under another name, so that its twin is nobody else's."""
    content = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text(encoding="utf-8"))
    path = folder / "killed.yaml"
    path.write_text(yaml.safe_dump({**content, "name": f"killed{os.getpid()}"}, sort_keys=False), encoding="utf-8")
    return path


def main() -> int:
    """Attack the workbook's own notebooks; 0 if nothing is lost."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        profile = _profile(root)
        twin = twin_path(load_profile(profile))
        command = [sys.executable, "-m", "helpers", "run", "--profile", profile, "--results"]
        try:
            expected = root / "expected"
            subprocess.run([*command, expected], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            twin.unlink()
            seconds = {name: step["seconds"] for name, step in read_record(expected)["steps"].items()}
            print("uninterrupted: " + ", ".join(f"{name} {value} s" for name, value in seconds.items()), flush=True)
            kills = planned(seconds, given.kills, given.seed)
            outcome = attack([*command, root / "killed"], seconds, kills, ROOT)
            failures = outcome.failures + differences(root / "killed", expected) + leftovers(root / "killed")
            failures += [name for name in leftovers(DATA) if twin.name in name]
        finally:
            twin.unlink(missing_ok=True)
    killed = sum(", nobody" not in line for line in outcome.kills) - 1
    if killed < _FEWEST_THAT_MEET * given.kills:
        failures.append(f"only {killed} of {given.kills} kills met a process: this says little")
    print(f"{killed} kills; orphans lived for {outcome.longest_orphan:.1f} s at most; {len(failures)} failures")
    print(*failures, sep="\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
