"""`workbook classify --follow`: run an online classification to its end, and say what happens.

It ends when nothing has come for the time that was asked for, or by Ctrl-C or SIGTERM; the selection is written then.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tqdm.auto import tqdm

from helpers.classification.online.scoring import Batch, OnlineClassification, Tally
from helpers.errors import PatternFileError
from helpers.patterns import DEFAULTS, ReadOptions
from helpers.system import is_sparse

LOST_S = 10.0
"""After so long without new patterns the writer counts as lost, and that is said [s]."""

BEHIND_S = 1.0
"""With a longer delay, and a full batch that waits, the classification is behind [s]."""

BETWEEN_LINES_S = 10.0
"""Between lines on rates, where no terminal shows them all the time [s]."""

_NAMED = 20
_LOG_SUFFIX = ".scores.csv"


class Narrator:
    """Lines on what happens: events at once, rates now and then.

    Parameters
    ----------
    online
        What runs.
    say
        Prints a line.
    """

    def __init__(self, online: OnlineClassification, say: Callable[[str], None]) -> None:
        self._online = online
        self._say = say
        self._last_new = self._last_line = online.clock()
        self._is_lost = self._is_behind = False
        self._left_out: set[str] = set()
        self._refused = 0

    def tell(self, batch: Batch | None) -> None:
        """Say what is new after a step."""
        now = self._online.clock()
        if batch is not None:
            self._tell_returned(now)
            self._last_new = now
            self._tell_behind(batch)
            self._tell_refused(batch)
        elif not self._is_lost and now - self._last_new >= LOST_S:
            self._is_lost = True
            self._say(f"no new patterns for {LOST_S:g} s{self._why()}; still waiting")
        self._tell_misfits()

    def is_due(self) -> bool:
        """Whether it is time for a line on rates; none are due while the writer is lost."""
        now = self._online.clock()
        if self._is_lost or now - self._last_line < BETWEEN_LINES_S:
            return False
        self._last_line = now
        return True

    @property
    def silent_s(self) -> float:
        """How long nothing has come [s]."""
        return self._online.clock() - self._last_new

    def _tell_returned(self, now: float) -> None:
        if self._is_lost:
            self._is_lost = False
            self._say(f"patterns again, after {now - self._last_new:.0f} s without any")

    def _tell_behind(self, batch: Batch) -> None:
        """Say when a full batch waits and the delay is long, and when that has passed."""
        delay = batch.delays.max()
        if not self._is_behind and delay > BEHIND_S and batch.waiting > self._online.most:
            self._is_behind = True
            self._say(f"falling behind: {batch.waiting} patterns wait, delay {delay:.1f} s")
        elif self._is_behind and batch.waiting <= self._online.most // 2:
            self._is_behind = False
            self._say(f"caught up: {batch.waiting} patterns wait, delay {delay:.1f} s")

    def _tell_refused(self, batch: Batch) -> None:
        for (path, _), why in batch.refused.items():
            self._refused += 1
            if self._refused <= _NAMED:
                self._say(f"not scored: {path}: {why}")
            if self._refused == _NAMED:
                self._say(f"{_NAMED} patterns are not scored; further ones are in {self._online.log.path}")

    def _tell_misfits(self) -> None:
        """Name files of another shape, once."""
        for path, why in self._online.following.misfits.items():
            if path not in self._left_out:
                self._left_out.add(path)
                self._say(f"left out: {path}: {why}")

    def _why(self) -> str:
        """What is the matter with files that cannot be read, in a few words."""
        problems = self._online.following.problems
        if not problems:
            return ""
        path, why = next(iter(problems.items()))
        more = f", and {len(problems) - 1} more files" if len(problems) > 1 else ""
        return f" ({path}: {why}{more})"


def rates(online: OnlineClassification) -> str:
    """Rates of the last seconds and in all, backlog and delay, on one line."""
    recent, delay = online.recent()
    line = f"{online.total.scored} patterns, {recent.scored / online.window:.0f}/s"
    if recent.scored:
        single = f"single hits {recent.single_share:.1%} ({recent.single / online.window:.1f}/s)"
        line += f"; hits {recent.hit_share:.1%}, {single}; median delay {1e3 * delay:.0f} ms"
    behind = online.following.waiting
    refused = f"; {online.total.refused} not scored" if online.total.refused else ""
    return f"{line}; {behind} behind{refused}"


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
    """Step after step, until nothing has come for `stop_after` seconds; without end if None.

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
                return
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
        Folder of the family.
    output
        The selection (.csv); NAME.FAMILY.csv in the working directory if None. The log of scores lies beside it.
    threshold
        Score above which a checkpoint says single; the family's own if None.
    stop_after
        End when there was no new pattern for so long [s]; never if None.
    options
        How the files are read.

    Returns
    -------
    str
        One line: what was scored, and where the selection is.

    Raises
    ------
    PatternFileError
        If the selection is to be anything but CSV, or the only file has patterns of another shape.
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
    with (
        ended_by_signals(),
        OnlineClassification(where, model, log=log, threshold=threshold, options=options) as online,
    ):
        began = online.total
        reason = _run(online, stop_after)
        written = online.write_selection(output)
        return _summary(online, began, written, reason, output)


def _run(online: OnlineClassification, stop_after: float | None) -> str:
    """Follow to the end; return why it ended."""
    bar = None if is_sparse() else tqdm(bar_format="{desc}", leave=False, file=sys.stderr)

    def say(line: str) -> None:
        if bar is None:
            print(line, flush=True)
        else:
            bar.write(line)

    if online.total.scored + online.total.refused:
        say(f"going on after {online.total.scored + online.total.refused} patterns in {online.log.path}")
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


def _summary(online: OnlineClassification, began: Tally, written: Tally, reason: str, output: Path) -> str:
    """The last line."""
    now = online.total.scored + online.total.refused - began.scored - began.refused
    refused = f", {written.refused} not scored" if written.refused else ""
    shares = (
        f": {written.hit_share:.1%} hits, {written.single} single hits ({written.single_share:.1%})"
        if written.scored
        else ""
    )
    return (
        f"{reason}; {written.scored} patterns scored ({now} patterns in this run){refused}{shares} under "
        f"{online.trained.family} (score above {online.threshold:g} at each of {len(online.trained.iterations)} "
        f"checkpoints): {output}"
    )


def _name(where: Path) -> str:
    """What a selection is called after: the file without its suffix, the folder, the folder of a name with * or ?."""
    if any(sign in where.name for sign in "*?["):
        where = where.absolute().parent
    return where.absolute().name if where.is_dir() else where.stem
