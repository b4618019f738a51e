"""Stacks of one file that show the same shots, which are a choice and never come one after the other."""

from contextlib import suppress
from typing import NoReturn

import numpy as np

from helpers.errors import PatternFileError
from helpers.patterns.hdf5.entry import address
from helpers.patterns.layouts.base import Layout, listed
from helpers.patterns.layouts.columns import identifiers


def refuse_same_shots(stacks: list[Layout]) -> None:
    """Refuse stacks of several detectors of one instrument, and such as have the same events."""
    detectors = {stack.detector for stack in stacks if stack.detector}
    if len(detectors) > len({detector.rpartition("/")[0] for detector in detectors}):
        refuse_choice(stacks)
    known: set[tuple] = set()
    for stack in stacks if len(stacks) > 1 else ():
        with suppress(PatternFileError):  # of a damaged list the one learns who asks for the event ids
            found = _events(stack)
            if found & known:
                break
            known |= found
    else:
        return
    refuse_choice(stacks)


def _events(stack: Layout) -> set[tuple]:
    """What tells the events of a stack from others: where their list is, and the ids, if they do not just count up."""
    column = stack.event_column([stack])
    ids = None if column is None else identifiers(column.read())
    if ids is None or not ids.size:
        return set()
    counts_up = ids.dtype.kind in "iu" and ids[0] in (0, 1) and bool((np.diff(ids.astype(np.int64)) == 1).all())
    return {address(column.data)} | (set() if counts_up else {tuple(ids.tolist())})


def without_repeats(stacks: list[Layout]) -> list[Layout]:
    """Each data set once, however many links lead to it."""
    seen: dict[tuple[int, int], Layout] = {}
    for stack in stacks:
        seen.setdefault(address(stack.data), stack)
    return list(seen.values())


def refuse_choice(stacks: list[Layout]) -> NoReturn:
    """Refuse data sets that show the same shots."""
    raise PatternFileError(
        f"{listed([stack.path for stack in stacks])} show the same shots on several detectors, or in several forms; "
        "name one with dataset=... (--dataset)"
    )
