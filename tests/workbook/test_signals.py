import signal
import subprocess
import sys
import time

import pytest

from helpers.workbook import signals
from helpers.workbook.signals import Stopped, stopped_by_signals

STUBBORN = """
import time
from helpers.workbook.signals import stopped_by_signals
with stopped_by_signals():
    while True:
        try:
            print("begun", flush=True)
            time.sleep(60)
        except SystemExit:
            pass
"""


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_is_an_exception_with_exit_code_and_line_and_only_in_the_block(monkeypatch, number, code, said):
    monkeypatch.setattr(signals, "_leave", lambda stopped: None)  # the tests go on
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as caught, stopped_by_signals():
        signal.raise_signal(number)
    assert caught.value.code == code
    assert caught.value.line == f"\nworkbook: {said}; the same command goes on from here"
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopped_by_signals():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_does_not_let_go_is_ended():
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert time.monotonic() - began < 5
        assert process.stderr.read() == "\nworkbook: terminated; the same command goes on from here\n"


def test_a_signal_that_comes_where_python_ignores_errors_comes_again(monkeypatch):
    monkeypatch.setattr(signals, "_leave", lambda stopped: None)

    class Deleted:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def interrupted():
        with stopped_by_signals():
            Deleted()
            time.sleep(10)

    with pytest.raises(Stopped) as caught:
        interrupted()
    assert caught.value.code == 143


def test_other_ignored_errors_are_told_as_ever(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Deleted:
        def __del__(self):
            raise ValueError("as ever")

    with stopped_by_signals():
        Deleted()
        hook = sys.unraisablehook
    assert hook != told.append
    assert sys.unraisablehook == told.append
    assert [str(one.exc_value) for one in told] == ["as ever"]


def test_an_error_that_follows_a_signal_is_of_its_making(monkeypatch):
    monkeypatch.setattr(signals, "_leave", lambda stopped: None)

    def interrupted():
        with stopped_by_signals():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                raise ValueError("a worker was killed")

    with pytest.raises(Stopped):
        interrupted()
    with pytest.raises(ValueError, match="its own"), stopped_by_signals():
        raise ValueError("its own")
