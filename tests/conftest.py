"""What holds for every test: pictures without a screen, random examples from one seed, no traces in the home folder."""

import atexit
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings

from helpers.annotation import Box
from helpers.classification.files import classify_file
from helpers.experiment import AMOX34117
from helpers.family import Family
from helpers.patterns import PatternStack, open_stack
from helpers.patterns.writing import write_stack
from helpers.simulation import simulate
from helpers.training import Examples, Plan, TrainingSettings
from helpers.training.darknet_training import train
from tests.file_server import Served, serving

matplotlib.use("Agg")

# small networks gain nothing from more threads, and lose much where several processes share the cores
torch.set_num_threads(1)

settings.register_profile("workbook", deadline=None, derandomize=True)
settings.load_profile("workbook")

_ipython = tempfile.TemporaryDirectory(prefix="ipython-")
atexit.register(_ipython.cleanup)
os.environ["IPYTHONDIR"] = _ipython.name

_dask = tempfile.TemporaryDirectory(prefix="dask-")  # Dask writes its defaults there when it is imported
atexit.register(_dask.cleanup)
os.environ["DASK_CONFIG"] = _dask.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests of whole programs, which take longest: so no process waits for another at the end."""
    items.sort(key=lambda item: len(item.path.relative_to(Path(__file__).parent).parts))


@pytest.fixture(scope="session")
def write_patterns() -> Callable[..., Path]:
    """Write a file of three patterns of 4 × 6 pixels with a title, and give back its path."""

    def write(path: Path, title: str = "") -> Path:
        counts = np.arange(3 * 4 * 6, dtype=np.uint16).reshape(3, 4, 6)
        given = {"mask": np.zeros((4, 6), bool), "centre": (0, 3), "experiment": AMOX34117, "title": title}
        write_stack(path, counts, table=pd.DataFrame({"event_id": [1, 2, 3]}), **given)
        return path

    return write


@pytest.fixture
def to_label(tmp_path: Path) -> Iterator[PatternStack]:
    """Open twelve patterns of 6 × 8 pixels: n + 1 photons on the left of pattern n, 2 on the right."""
    counts = np.zeros((12, 6, 8), np.uint16)
    counts[:, 2, 3] = np.arange(12) + 1
    counts[:, 4, 6] = 2
    table = pd.DataFrame({"event_id": np.arange(12) * 10, "size_nm": np.where(np.arange(12) == 3, np.nan, 60.5)})
    given = {"mask": np.zeros((6, 8), bool), "centre": (0, 4), "experiment": AMOX34117}
    write_stack(tmp_path / "to_label.cxi", counts, table=table, **given)
    with open_stack(tmp_path / "to_label.cxi") as stack:
        yield stack


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small simulated twin of the experiment."""
    path = tmp_path_factory.mktemp("twin") / "twin.cxi"
    simulate(path, patterns=40, manual_fraction=0.25, seed=11, outside=(1, 3), processes=1)
    return path


@pytest.fixture(scope="session")
def model(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a family for a few iterations on the twin."""
    family = Family.from_name("yolov2-jet-log")
    folder = tmp_path_factory.mktemp("families") / str(family)
    settings = TrainingSettings(size=64, width=0.125, iterations=6, checkpoint_every=2, batch=4, learning_rate=0.01)
    with open_stack(twin) as stack:
        table = stack.table()
        sets = pd.DataFrame({"pattern": range(16), "label": table["label"][:16] != 0, "set": "training"})
        sets.loc[12:, "set"] = "validation"
        found = Examples.from_stack(stack, sets, Box(0, 80, 60, 180))
    train(Plan(family, found, settings, consensus=[4, 6], threshold=0.24, device=torch.device("cpu")), folder)
    return folder


@pytest.fixture(scope="session")
def many(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a virtual file of 8 chunks of patterns: those of the twin again and again."""
    path = tmp_path_factory.mktemp("many") / "many.cxi"
    with h5py.File(twin) as file:
        source = file["entry_1/image_1/data"]
        patterns, *frame = source.shape
        layout = h5py.VirtualLayout((8 * 256, *frame), source.dtype)
        for start in range(0, layout.shape[0], patterns):
            length = min(patterns, layout.shape[0] - start)
            layout[start : start + length] = h5py.VirtualSource(source)[:length]
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry_1/data_1/data", layout)
    return path


@pytest.fixture(scope="session")
def plain(many: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Classify `many` in the plain loop of one process."""
    output = tmp_path_factory.mktemp("plain") / "plain.csv"
    classify_file(many, model, output=output)
    return pd.read_csv(output)


@pytest.fixture
def this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name but that of this machine can be resolved, and no proxy is set."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    resolve = socket.getaddrinfo

    def refuse_others(host: str, *given: object, **named: object) -> list:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", refuse_others)


@pytest.fixture
def served(this_machine_only: None) -> Iterator[Served]:
    """Files served over HTTP by this machine."""
    with serving() as files:
        yield files
