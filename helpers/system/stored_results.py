"""A promise that nothing is trained: `workbook verify` runs notebooks on what a run has stored."""

import os

from helpers.errors import StaleResultError

STORED_ONLY = "WORKBOOK_STORED_ONLY"
"""Environment variable that forbids long computations in this process and in those that it starts."""


def begin_long_computation(what: str) -> None:
    """Announce a computation whose result is kept in files, such as the training of the family `what`.

    Raises
    ------
    StaleResultError
        If only stored results may be used.
    """
    if os.environ.get(STORED_ONLY):
        raise StaleResultError(
            f"{what} is stale: its settings, patterns or code have changed since; run the workbook again, then verify"
        )
