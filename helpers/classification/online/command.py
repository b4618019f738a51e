"""`workbook classify --follow`: an online classification until its end, and lines on what happens.

It ends when nothing has come for the time that was asked for, or by Ctrl-C or SIGTERM; the selection is written then.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
from tqdm.auto import tqdm

from helpers.classification.online.scoring import Batch, OnlineClassification, Tally
from helpers.errors import PatternFileError
from helpers.patterns import DEFAULTS, ReadOptions
from helpers.system import is_sparse

LOST_S = 10.0
"""Time without new patterns after which the writer counts as lost, and a problem with a file is worth a line [s]."""

BEHIND_S = 1.0
"""Delay above which the classification is behind, if a full batch or another file waits [s]."""

BETWEEN_LINES_S = 10.0
"""Time between lines on rates, where no terminal shows them all the time [s]."""

_NAMED = 20
_LOG_SUFFIX = ".scores.csv"


class Narrator:
    """Lines on what happens: events at once, rates now and then.

    Parameters
    ----------
    online
        The classification that runs.
    say
        Prints a line.
    """

    def __init__(self, online: OnlineClassification, say: Callable[[str], None]) -> None:
        self._online = online
        self._say = say
        self._last_new = self._last_line = online.clock()
        self._is_lost = self._is_behind = False
        self._problems: dict[tuple[str, str], float] = {}
        self._refused = 0

    def tell(self, batch: Batch | None) -> None:
        """Say what is new after a step."""
        now = self._online.clock()
        if batch is not None:
            if self._is_lost:
                self._is_lost = False
                self._say(f"patterns again, after {now - self._last_new:.0f} s without any")
            self._last_new = now
            self._tell_behind(batch)
            self._tell_refused(batch)
        elif not self._is_lost and now - self._last_new >= LOST_S:
            self._is_lost = True
            self._say(f"no new patterns for {LOST_S:g} s; still waiting")
        self.tell_problems(older_than=LOST_S)

    def is_due(self) -> bool:
        """True if it is time for a line on rates; none are due while the writer is lost."""
        now = self._online.clock()
        if self._is_lost or now - self._last_line < BETWEEN_LINES_S:
            return False
        self._last_line = now
        return True

    @property
    def silent_s(self) -> float:
        """Time without new patterns [s]."""
        return self._online.clock() - self._last_new

    def _tell_behind(self, batch: Batch) -> None:
        """Say when a full batch waits and the delay is long, and when that has passed."""
        is_behind = batch.is_full and (self._is_behind or batch.delays.max() > BEHIND_S)
        if is_behind != self._is_behind:
            self._is_behind = is_behind
            what = "falling behind" if is_behind else "caught up"
            self._say(f"{what}: {_backlog(self._online)} wait, delay {batch.delays.max():.1f} s")

    def _tell_refused(self, batch: Batch) -> None:
        for why in batch.refused.values():
            self._refused += 1
            if self._refused <= _NAMED:
                self._say(f"not scored: {batch.path}: {why}")
            if self._refused == _NAMED:
                self._say(f"{_NAMED} patterns are not scored; further ones are in {self._online.log.path}")

    def tell_problems(self, *, older_than: float) -> None:
        """Say once why a file cannot be read, when that has lasted for some time.

        Parameters
        ----------
        older_than
            The time [s].
        """
        now = self._online.clock()
        present = self._online.following.problems.items()
        self._problems = {problem: self._problems.get(problem, now) for problem in present}
        for (path, why), since in self._problems.items():
            if now - since >= older_than:
                self._problems[path, why] = np.inf  # said
                self._say(f"cannot be read now: {path}: {why}")


def rates(online: OnlineClassification) -> str:
    """Rates of the last seconds and in all, delay and backlog, on one line."""
    recent, delay = online.recent()
    line = f"{online.total.scored} patterns, {recent.scored / online.window:.0f}/s"
    if recent.scored:
        single = f"single hits {recent.selected_share:.1%} ({recent.selected / online.window:.1f}/s)"
        line += f"; hits {recent.hit_share:.1%}, {single}; median delay {1e3 * delay:.0f} ms"
    refused = f"; {online.total.refused} not scored" if online.total.refused else ""
    return f"{line}; {_backlog(online)} wait{refused}"


def _backlog(online: OnlineClassification) -> str:
    """What waits to be scored."""
    files = online.following.files_waiting
    return f"{online.following.waiting} patterns" + (f" and {files} files" if files else "")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, also where a shell has told the process to ignore Ctrl-C."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def steps(online: OnlineClassification, *, say: Callable[[str], None], stop_after: float | None) -> Iterator[Narrator]:
    """Step after step, until nothing has come for `stop_after` seconds [s]; without end if None.

    Yields
    ------
    Narrator
        After each step, also after one without patterns.
    """
    narrator = Narrator(online, say)
    while True:
        batch = online.step()
        narrator.tell(batch)
        yield narrator
        if batch is None:
            if stop_after is not None and narrator.silent_s >= stop_after:
                return narrator.tell_problems(older_than=0)
            time.sleep(online.following.pause)


def follow(
    where: Path,
    model: Path,
    *,
    output: Path | None = None,
    threshold: float | None = None,
    stop_after: float | None = None,
    options: ReadOptions = DEFAULTS,
) -> str:
    """Classify patterns as they are written, and write the selection at the end.

    Parameters
    ----------
    where
        A file that is still written, a folder, or a name with * or ?.
    model
        Folder of the family, `results/RUN/families/FAMILY`.
    output
        The selection (.csv); default: NAME.FAMILY.csv in the working directory. The log of scores lies beside it.
    threshold
        Score above which a checkpoint calls a pattern a single hit; default: the family's own.
    stop_after
        Time without new patterns after which it ends [s]; never if None.
    options
        How the files are read.

    Returns
    -------
    str
        One line: what was scored, and where the selection is.

    Raises
    ------
    PatternFileError
        If the selection is to be anything but CSV, or if nothing was scored because files could not be read.
    WorkbookError
        If the family or an earlier log cannot be used.
    """
    output = output or Path(f"{_name(where)}.{Path(model).name}.csv")
    if output.suffix.lower() != ".csv":
        raise PatternFileError(
            f"{output}: while patterns are followed a selection is a list (.csv); classify the whole file without "
            "--follow for other forms"
        )
    log = output.with_name(output.stem + _LOG_SUFFIX)
    given = {"threshold": threshold, "options": options}
    with ended_by_signals(), OnlineClassification(where, model, log=log, **given) as online:
        before = online.total.read
        reason = _run(online, stop_after)
        if not online.total.read and online.following.problems:
            path, why = next(iter(online.following.problems.items()))
            raise PatternFileError(f"{path}: {why}; {reason} without a pattern")
        return _summary(online, before, online.write_selection(output), reason, output)


def _run(online: OnlineClassification, stop_after: float | None) -> str:
    """Follow to the end; return why it ended."""
    bar = None if is_sparse() else tqdm(bar_format="{desc}", leave=False, file=sys.stderr)

    def say(line: str) -> None:
        if bar is None:
            print(line, flush=True)
        else:
            bar.write(line)

    if online.total.read:
        say(f"going on after {online.total.read} patterns in {online.log.path}")
    say(f"following {online.following.where} with {online.trained.family}")
    try:
        for narrator in steps(online, say=say, stop_after=stop_after):
            if bar is not None:
                bar.set_description_str(rates(online))
            elif narrator.is_due():
                say(rates(online))
    except KeyboardInterrupt as interrupted:
        return f"ended by {str(interrupted) or 'Ctrl-C'}"
    finally:
        if bar is not None:
            bar.close()
    return f"no new patterns for {stop_after:g} s"


def _summary(online: OnlineClassification, before: int, written: Tally, reason: str, output: Path) -> str:
    """The last line."""
    refused = f", {written.refused} not scored" if written.refused else ""
    shares = (
        f": {written.hit_share:.1%} hits, {written.selected} single hits ({written.selected_share:.1%})"
        if written.scored
        else ""
    )
    return (
        f"{reason}; {written.scored} patterns scored ({online.total.read - before} patterns in this run){refused}"
        f"{shares} under {online.trained.family} (score above {online.threshold:g} at each of "
        f"{len(online.trained.consensus)} checkpoints): {output}"
    )


def _name(where: Path) -> str:
    """The stem of a selection: the file without its suffix, the folder, or the folder of a name with * or ?."""
    if any(sign in where.name for sign in "*?["):
        where = where.absolute().parent
    return where.absolute().name if where.is_dir() else where.stem
