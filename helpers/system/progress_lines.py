"""Progress that fits the reader: a bar for a person, a line now and then for a log."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

SPARSE = "WORKBOOK_SPARSE_PROGRESS"
"""Environment variable that the runner sets: under papermill a bar freezes at 0 %, so lines are printed instead."""

_SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")


def is_sparse() -> bool:
    """True if lines are wanted instead of a bar: the runner says so, or nobody watches a terminal or a notebook."""
    asked = os.environ.get(SPARSE)
    if asked is not None:
        return asked not in ("", "0")
    return not (sys.stderr.isatty() or "ipykernel" in sys.modules)


def progress(items: Iterable[Item], *, label: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over `items` and show how far it is.

    Parameters
    ----------
    items
        Iterable of any length.
    label
        Name of the work, shown before the numbers: "simulating".
    total
        Number of items, where `len(items)` does not tell.
    """
    if not is_sparse():
        yield from tqdm(items, desc=label, total=total, leave=False)
        return
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    last_line = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last_line >= _SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            print(f"{label}: {done}" + (f" of {total}" if total else ""), flush=True)
