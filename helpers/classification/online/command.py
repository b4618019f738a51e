"""`workbook classify --follow`: an online classification until its end, and lines on what happens.

It ends when nothing has come for the time that was asked for, or by Ctrl-C or SIGTERM; the selection is written then.
"""

import glob
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from helpers.classification.online.scoring import OnlineClassification, Tally
from helpers.errors import PatternFileError
from helpers.patterns import DEFAULTS, ReadOptions
from helpers.system import is_sparse

BETWEEN_LINES_S = 10.0
"""Time between lines on rates, where no terminal shows them all the time [s]."""

BETWEEN_PROBLEMS_S = 3.0
"""Time between looks for problems: a file that is half written for a moment is none [s]."""

_NAMED = 20
"""Patterns whose refusal is worth a line each; the log holds the reasons for all."""


def rates(online: OnlineClassification) -> str:
    """Rates of the last seconds and in all, delay and backlog, on one line."""
    recent, delay = online.recent()
    line = f"{online.total.scored} patterns, {recent.scored / online.window:.0f}/s"
    if recent.scored:
        single = f"single hits {recent.selected_share:.1%} ({recent.selected / online.window:.1f}/s)"
        line += f"; hits {recent.hit_share:.1%}, {single}; median delay {1e3 * delay:.0f} ms"
    files = f" and {online.following.files_waiting} files" if online.following.files_waiting else ""
    refused = f"; {online.total.refused} not scored" if online.total.refused else ""
    return f"{line}; {online.following.waiting} patterns{files} wait{refused}"


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


def steps(online: OnlineClassification, *, say: Callable[[str], None], stop_after: float | None) -> Iterator[bool]:
    """Step after step, until nothing has come for `stop_after` seconds [s]; without end if None.

    `say` prints a line: a pattern that is not scored, a file that cannot be read and why, once for each reason. Yields
    True when rates are due.
    """
    last_new = last_line = last_look = online.clock()
    known: set[tuple[str, str]] = set()
    is_over = False
    while not is_over:
        batch, now = online.step(), online.clock()
        if batch is not None:
            last_new = now
            for why in batch.refused.values() if online.total.refused <= _NAMED else ():
                say(f"not scored: {batch.path}: {why}")
        is_over = stop_after is not None and now - last_new >= stop_after
        is_due = now - last_line >= BETWEEN_LINES_S
        if now - last_look >= BETWEEN_PROBLEMS_S or is_over:
            last_look = now
            for path, why in sorted(online.following.problems.items()):
                reason = path, re.sub(r"\d+", "", why)  # of a file that arrives the bytes change
                if reason not in known:
                    say(f"cannot be read now: {path}: {why}")
                known.add(reason)
        if is_due or is_over:
            last_line = now
        yield is_due
        if batch is None and not is_over:
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
    log = output.with_name(f"{output.stem}.scores.csv")
    given = {"threshold": threshold, "options": options}
    with ended_by_signals(), OnlineClassification(where, model, log=log, **given) as online:
        before = online.total.read
        reason = _run(online, stop_after)
        if not online.total.read and online.following.problems:
            path, why = next(iter(online.following.problems.items()))
            raise PatternFileError(f"{path}: {why}; {reason} without a pattern")
        return f"{reason}; {_summary(online, before, online.write_selection(output))}: {output}"


def _run(online: OnlineClassification, stop_after: float | None) -> str:
    """Follow to the end; return why it ended."""
    with tqdm(bar_format="{desc}", leave=False, disable=is_sparse()) as bar:

        def say(line: str) -> None:
            bar.write(line)
            sys.stdout.flush()

        if online.total.read:
            say(f"going on after {online.total.read} patterns in {online.log.path}")
        say(f"following {online.following.where} with {online.trained.family}")
        try:
            for is_due in steps(online, say=say, stop_after=stop_after):
                bar.set_description_str(rates(online))
                if bar.disable and is_due:
                    say(rates(online))
        except KeyboardInterrupt as interrupted:
            return f"ended by {str(interrupted) or 'Ctrl-C'}"
    return f"no new patterns for {stop_after:g} s"


def _summary(online: OnlineClassification, before: int, written: Tally) -> str:
    """What is in a selection, and under which family."""
    refused = f", {written.refused} not scored" if written.refused else ""
    single = f"{written.selected} single hits ({written.selected_share:.1%})"
    shares = f": {written.hit_share:.1%} hits, {single}" if written.scored else ""
    return (
        f"{written.scored} patterns scored ({online.total.read - before} patterns in this run){refused}{shares} under "
        f"{online.trained.family} (score above {online.threshold:g} at each of {len(online.trained.consensus)} "
        "checkpoints)"
    )


def _name(where: Path) -> str:
    """The stem of a selection: the file without its suffix, the folder, or the folder of a name with * or ?."""
    if glob.has_magic(where.name):
        where = where.absolute().parent
    return where.absolute().name if where.is_dir() else where.stem
