import threading
from contextlib import closing
from threading import Event

import pytest

from helpers.system import read_ahead


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_blocks_come_in_order_from_one_other_thread_that_ends():
    seen = set()

    def read(number):
        seen.add(threading.current_thread())
        return number * number

    assert list(read_ahead(read, range(100))) == [number * number for number in range(100)]
    assert len(seen) == 1
    assert threading.main_thread() not in seen
    assert readers() == []


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_few_blocks_are_complete(blocks):
    assert list(read_ahead(str, range(blocks), ahead=3)) == ["0", "1", "2"][:blocks]


@pytest.mark.parametrize("ahead", [1, 3])
def test_the_reader_is_ahead_by_so_many_blocks_and_no_more(ahead):
    begun, reached = [], Event()

    def read(number):
        begun.append(number)
        if len(begun) == 1 + ahead:
            reached.set()
        return number

    with closing(read_ahead(read, range(50), ahead=ahead)) as blocks:
        assert next(blocks) == 0
        assert reached.wait(60)  # while nobody asks for the next one
        assert not Event().wait(0.1)
        assert begun == list(range(1 + ahead))
        for number in range(1, 50):
            assert next(blocks) == number
            assert len(begun) <= number + 1 + ahead


def test_an_error_comes_at_its_block_and_ends_the_thread():
    begun = []

    def read(number):
        begun.append(number)
        if number == 3:
            raise OSError("damaged")
        return number

    blocks = read_ahead(read, range(100))
    assert [next(blocks) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="damaged"):
        next(blocks)
    assert readers() == []
    assert max(begun) <= 3 + 2
    assert list(blocks) == []


def test_an_iteration_that_is_given_up_ends_the_thread():
    with closing(read_ahead(str, range(100))) as blocks:
        next(blocks)
        assert len(readers()) == 1
    assert readers() == []
