"""Files that are whole or absent: everything is written under a temporary name and moved."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

_BLOCK_BYTES = 1 << 20

_EXACT = {"float_precision": "round_trip"} if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1) else {}
"""Before version 3.1 pandas reads a third of all numbers wrong in the last digit; since then it has no such option."""


@contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and move it to `path` when the block ends without an error.

    Parameters
    ----------
    path
        The final name; its folder is made if needed.

    Yields
    ------
    Path
        A name in the same folder, so that the move is atomic. It is deleted if the block raises.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        yield partial
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path: str | os.PathLike, table: pd.DataFrame, *, index: bool = False) -> None:
    """Write a table as CSV, whole or not at all; floats keep every digit, so that `read_csv` gives the same numbers."""
    with written_whole(path) as partial:
        table.to_csv(partial, index=index, lineterminator="\n")


def read_csv(path: str | os.PathLike, **options: Any) -> pd.DataFrame:
    """Read a table that `write_csv` has written, to the last digit.

    Parameters
    ----------
    path
        The CSV file.
    **options
        Of `pandas.read_csv`.
    """
    return pd.read_csv(path, **_EXACT, **options)


def sha256(path: str | os.PathLike) -> str:
    """Checksum of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
