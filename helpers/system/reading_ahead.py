"""Reading while something else computes: the next blocks are read by a thread, a few and no more."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Wanted = TypeVar("Wanted")
Block = TypeVar("Block")

BLOCKS_AHEAD = 2


def read_ahead(
    read: Callable[[Wanted], Block], wanted: Iterable[Wanted], *, ahead: int = BLOCKS_AHEAD
) -> Iterator[Block]:
    """Blocks in the order in which they are wanted, the next ones read in a thread while the caller works on one.

    One thread reads all, because HDF5 lets in one at a time anyway, and at most `ahead` blocks wait for the caller:
    memory does not depend on their number. The thread ends with the iteration, also with one that is given up
    (`contextlib.closing`) or broken off by an error; a block that it is reading then is read to its end. What `read`
    raises is raised at its block.
    """
    waiting: deque[Future[Block]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        try:
            for one in wanted:
                waiting.append(reader.submit(read, one))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for block in waiting:
                block.cancel()
