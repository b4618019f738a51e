"""SIGINT and SIGTERM: the command ends within seconds, with one line, and nothing half written."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType

_GRACE_SECONDS = 3.0
_SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(SystemExit):
    """A signal asks the command to end; raised wherever it is.

    Parameters
    ----------
    number
        Of the signal; the exit code is 128 more, as in a shell.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.line = f"\nworkbook: {_SIGNALS[signal.Signals(number)]}; the same command goes on from here"


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """In this block SIGINT and SIGTERM raise `Stopped`; what does not let go within 3 s is left as after a kill."""
    # a signal that is ignored stays so: a shell's background jobs ignore SIGINT
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _stop(number: int, frame: FrameType | None) -> None:
    stopped = Stopped(number)
    last = Timer(_GRACE_SECONDS, _leave, [stopped])
    last.daemon = True
    last.start()
    raise stopped


def _leave(stopped: Stopped) -> None:
    print(stopped.line, file=sys.stderr, flush=True)
    os._exit(stopped.code)
