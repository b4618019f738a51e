"""SIGINT and SIGTERM as one exception: the command ends within seconds, with one line and no half-written file."""

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
    """Raised by a signal wherever the command is at that moment; the exit code is 128 more than the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number
        self.line = f"\nworkbook: {_SIGNALS[signal.Signals(number)]}; the same command goes on from here"


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `Stopped` in this block; whatever does not end within 3 s is ended by force.

    An error that follows a signal is replaced by it: worker processes have heard the signal, too, and break off.
    """
    # a signal that is ignored stays so: a shell's background jobs ignore SIGINT
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    caught: list[Stopped] = []
    for number in handled:
        signal.signal(number, partial(_stop, caught))
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_raise_again, hook)
    try:
        yield
    except Exception:
        if caught:
            raise caught[0] from None
        raise
    finally:
        sys.unraisablehook = hook
        for number in handled:
            signal.signal(number, before[number])


def _stop(caught: list[Stopped], number: int, _: FrameType | None) -> None:
    """Handle a signal: raise, and see to it that the process ends."""
    stopped = Stopped(number)
    caught.append(stopped)
    _later(_GRACE_SECONDS, _leave, stopped)
    raise stopped


def _raise_again(hook: Callable[[Any], object], unraisable: Any) -> None:
    """Send the signal again if it came where Python ignores exceptions, as in the callback of a weak reference."""
    if isinstance(unraisable.exc_value, Stopped):
        _later(_AGAIN_SECONDS, signal.pthread_kill, main_thread().ident, unraisable.exc_value.number)
    else:
        hook(unraisable)


def _later(seconds: float, work: Callable[..., object], *given: object) -> None:
    timer = Timer(seconds, work, given)
    timer.daemon = True
    timer.start()


def _leave(stopped: Stopped) -> None:
    """End the process at once."""
    print(stopped.line, file=sys.stderr, flush=True)
    os._exit(stopped.code)
