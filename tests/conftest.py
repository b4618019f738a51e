"""What holds for every test: pictures without a screen, random examples from one seed, no traces in the home folder."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from helpers.cxi import write_stack
from helpers.experiment import AMOX34117

matplotlib.use("Agg")

settings.register_profile("workbook", deadline=None, derandomize=True)
settings.load_profile("workbook")

os.environ.setdefault("IPYTHONDIR", tempfile.mkdtemp(prefix="ipython-"))


@pytest.fixture(scope="session")
def write_patterns() -> Callable[..., Path]:
    """Write a file of three patterns of 4 × 6 pixels with a title, and give back its path."""

    def write(path: Path, title: str = "") -> Path:
        counts = np.arange(3 * 4 * 6, dtype=np.uint16).reshape(3, 4, 6)
        given = {"mask": np.zeros((4, 6), bool), "centre": (0, 3), "experiment": AMOX34117, "title": title}
        write_stack(path, counts, table=pd.DataFrame({"event_id": [1, 2, 3]}), **given)
        return path

    return write
