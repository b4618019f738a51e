import sys

import pytest

from helpers.system import SPARSE, is_sparse, progress
from helpers.system import progress_lines as module


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is six seconds after the one before."""
    times = iter(range(0, 10_000, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))


def test_a_person_sees_a_bar_and_a_log_does_not(monkeypatch, capsys):
    monkeypatch.delenv(SPARSE, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress([1, 2, 3], label="counting")) == [1, 2, 3]
    shown = capsys.readouterr()
    assert "counting" in shown.err
    assert shown.out == ""


def test_a_log_gets_a_line_at_most_every_ten_seconds(monkeypatch, capsys, clock):
    monkeypatch.setenv(SPARSE, "1")
    assert list(progress(range(5), label="training")) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().out == "training: 2 of 5\ntraining: 4 of 5\n"


def test_items_without_a_length_are_counted(monkeypatch, capsys, clock):
    monkeypatch.setenv(SPARSE, "1")
    assert sum(progress((item for item in range(3)), label="reading")) == 3
    assert capsys.readouterr().out == "reading: 2\n"


@pytest.mark.parametrize(("value", "sparse"), [("1", True), ("0", False), ("", False)])
def test_the_environment_decides(monkeypatch, value, sparse):
    monkeypatch.setenv(SPARSE, value)
    assert is_sparse() is sparse


def test_without_a_terminal_or_a_notebook_nobody_sees_a_bar(monkeypatch):
    monkeypatch.delenv(SPARSE, raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert is_sparse()
    monkeypatch.setitem(sys.modules, "ipykernel", module)
    assert not is_sparse()
