"""SIGINT and SIGTERM: the command ends within seconds, with one line, and nothing half written."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Timer, main_thread
from types import FrameType
from typing import Any

_GRACE_SECONDS = 3.0
_AGAIN_SECONDS = 0.01
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
        self.number = number
        self.line = f"\nworkbook: {_SIGNALS[signal.Signals(number)]}; the same command goes on from here"


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """In this block SIGINT and SIGTERM raise `Stopped`; what does not let go within 3 s is left as after a kill.

    An error that follows a signal is of its making: processes of the same group have heard it, too.
    """
    # a signal that is ignored stays so: a shell's background jobs ignore SIGINT
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    asked: list[Stopped] = []
    for number in heard:
        signal.signal(number, partial(_stop, asked))
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_raise_again, hook)
    try:
        yield
    except Exception:
        if asked:
            raise asked[0] from None
        raise
    finally:
        sys.unraisablehook = hook
        for number in heard:
            signal.signal(number, before[number])


def _stop(asked: list[Stopped], number: int, _: FrameType | None) -> None:
    stopped = Stopped(number)
    asked.append(stopped)
    _later(_GRACE_SECONDS, _leave, stopped)
    raise stopped


def _raise_again(hook: Callable[[Any], object], unraisable: Any) -> None:
    """Where Python ignores errors, as in the callback of a weak reference, the signal must come again."""
    if isinstance(unraisable.exc_value, Stopped):
        _later(_AGAIN_SECONDS, signal.pthread_kill, main_thread().ident, unraisable.exc_value.number)
    else:
        hook(unraisable)


def _later(seconds: float, work: Callable[..., object], *given: object) -> None:
    timer = Timer(seconds, work, given)
    timer.daemon = True
    timer.start()


def _leave(stopped: Stopped) -> None:
    print(stopped.line, file=sys.stderr, flush=True)
    os._exit(stopped.code)
