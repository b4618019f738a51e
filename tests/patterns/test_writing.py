import signal
import sys
import threading
import time

import h5py
import numpy as np
import pytest

from helpers.patterns.hdf5.writing import _CALLED_BY_HDF5, hdf5_to_write


class Told(BaseException):
    """What a handler raises."""


@pytest.fixture
def handlers():
    """A handler that raises, for both signals; gives the list of the frames' functions that it was called in."""
    seen = []

    def handle(number, frame):
        seen.append(frame and frame.f_code.co_name)
        raise Told(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def while_it_writes():
    """Send a signal the next time that the library writes to its file."""

    def arm(number):
        def profile(frame, event, _):
            if event == "call" and frame.f_code in _CALLED_BY_HDF5:
                sys.setprofile(None)
                signal.raise_signal(number)

        sys.setprofile(profile)

    yield arm
    sys.setprofile(None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_library_writes_is_raised_soon_after_and_never_in_its_callback(
    tmp_path, handlers, while_it_writes, number
):
    path = tmp_path / "a.h5"

    def interrupted():
        with hdf5_to_write(path, "w") as file:
            file["first"] = np.arange(1000)
            while_it_writes(number)
            file.flush()
            time.sleep(10)

    with pytest.raises(Told):
        interrupted()
    assert len(handlers) == 1
    assert handlers[0] not in ("write", "truncate", "profile")
    with h5py.File(path) as file:
        assert file["first"][-1] == 999


def test_a_signal_while_the_file_is_closed_is_raised_at_the_end(tmp_path, handlers, while_it_writes):
    def interrupted():
        with hdf5_to_write(tmp_path / "a.h5", "w") as file:
            file["first"] = np.arange(1000)
            while_it_writes(signal.SIGTERM)

    with pytest.raises(Told):
        interrupted()
    time.sleep(0.1)
    assert len(handlers) == 1
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["first"][-1] == 999


def test_an_error_after_a_signal_that_waits_does_not_hide_it(tmp_path, handlers, while_it_writes):
    def interrupted():
        with hdf5_to_write(tmp_path / "a.h5", "w") as file:
            while_it_writes(signal.SIGTERM)
            file.flush()
            raise OSError("what the same signal has done elsewhere")

    with pytest.raises(Told):
        interrupted()


def test_handlers_are_as_before_and_other_threads_write_as_well(tmp_path, handlers):
    before = signal.getsignal(signal.SIGTERM)
    with hdf5_to_write(tmp_path / "a.h5", "w") as file:
        file["first"] = 1
        with pytest.raises(Told):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before

    def write():
        with hdf5_to_write(tmp_path / "b.h5", "w") as file:
            file["first"] = 1

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["first"][()] == 1
