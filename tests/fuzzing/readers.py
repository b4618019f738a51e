"""Every reader of the project: a whole file for it, the call that reads it, and what a right result must fulfil."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch

from helpers import darknet
from helpers.annotation import Box, LabelsFile, read_box, write_box
from helpers.annotation.labels import read_labels
from helpers.classification import load_family, stored_selection
from helpers.em import settled_choice
from helpers.em.class_choice import read_choice, write_choice
from helpers.em.expectation_maximisation import EMState
from helpers.em.runs import read_state, write_state
from helpers.experiment import AMOX34117
from helpers.patterns import ReadOptions, describe, open_stack, probe
from helpers.patterns.dragonfly.detector import write_detector
from helpers.patterns.writing import write_stack
from helpers.system import save_tensors
from helpers.training import FamilyFolder, TrainingSettings, load_network, load_ultralytics
from helpers.training.ultralytics_networks import ultralytics
from helpers.workbook import Run, fetch, load_profile, staleness
from helpers.workbook.profile import PROFILES
from helpers.workbook.record import read_record
from helpers.workbook.report import write_report
from tests.fuzzing.byte_mutations import BYTES, Mutation
from tests.fuzzing.checkpoint_mutations import CHECKPOINTS
from tests.fuzzing.hdf5_mutations import HDF5
from tests.fuzzing.text_mutations import JSON, TEXT, YAML
from tests.patterns.test_layouts import COUNTS, LAYOUTS
from tests.selection_lists import write_selection

CPU = torch.device("cpu")
_PROBE_S = 6.0
"""Less than a worker may sleep in `harness`."""


@dataclass(frozen=True)
class Reader:
    """A reader and its corpus.

    Parameters
    ----------
    write
        Writes whole files into a folder and gives back the one to damage.
    read
        Reads the damaged one; an AssertionError is a result that is not right.
    mutations
        Families of mutations with the number of files of each.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], None]
    mutations: tuple[tuple[tuple[Mutation, ...], int], ...]

    @property
    def files(self) -> int:
        """How many damaged files there are."""
        return sum(number for _, number in self.mutations)


def _stack_of(name: str) -> Reader:
    """A layout of pattern files."""
    write, file_name, _, _ = LAYOUTS[name]
    options: dict[str, object] = {}

    def write_it(folder: Path) -> Path:
        options.update(write(folder / file_name))
        return folder / file_name

    def read_it(path: Path) -> None:
        given = {key: path.parent / value.name if isinstance(value, Path) else value for key, value in options.items()}
        _read_stack(path, given)

    hdf5 = () if file_name.endswith(".emc") else ((HDF5, 92),)
    return Reader(write_it, read_it, ((BYTES, 80), *hdf5))


def _read_stack(path: Path, options: dict) -> None:
    """Probe a stack as every command does, read everything of it, and check that it can be photons."""
    read_options = ReadOptions(**options)
    probe(path, read_options, limit_s=_PROBE_S)
    text = describe(path, read_options, pictures=True)
    assert text.encode(), "no description"
    with open_stack(path, read_options) as stack:
        counts = stack.read(slice(0, 16))
        assert counts.shape == (min(len(stack), 16), *stack.shape[1:]), "another shape than was told"
        assert np.isfinite(counts).all(), "not finite"
        assert counts.min() >= 0, "negative"
        assert stack.mask.shape == stack.shape[1:], "the mask has another shape"
        if stack.event_ids is not None:
            assert stack.event_ids.shape == (len(stack),), "event ids of other patterns"
        assert stack.centre is None or np.isfinite(stack.centre).all(), "no centre"
        if stack.experiment is not None:
            assert np.isfinite(stack.experiment.q_step), "no q"
            assert stack.experiment.shape == stack.shape[1:], "an experiment of other patterns"
        if len(stack) < 10_000:
            assert len(stack.table()) == len(stack), "a table of other patterns"
            assert len(stack.origins()) == len(stack), "origins of other patterns"


def _own_stack(folder: Path) -> Path:
    """The file that the workbook itself writes."""
    table = pd.DataFrame({"event_id": [5, 6, 7, 8, 9, 10, 11], "label": [0, 1] * 3 + [0], "size_nm": 60.5})
    given = {"mask": np.zeros((5, 6), bool), "centre": (1.5, 2.5), "experiment": AMOX34117, "title": "simulated"}
    write_stack(folder / "own.cxi", COUNTS.astype(np.uint16), table=table, **given)
    return folder / "own.cxi"


def _panels(folder: Path) -> None:
    """Patterns of two panels without a geometry."""
    with h5py.File(folder / "panels.cxi", "w") as file:
        file["entry_1/data_1/data"] = np.stack([COUNTS[:, :, :3], COUNTS[:, :, 3:]], axis=1).astype("u2")


def _geometry_map(folder: Path) -> Path:
    _panels(folder)
    y, x = np.meshgrid(np.arange(5.0), np.arange(6.0), indexing="ij")
    places = np.stack([(5 - x) * 1e-4, (4 - y) * 1e-4, 0 * x])
    with h5py.File(folder / "geometry.h5", "w") as file:
        file["xyz_map"] = np.stack([places[:, :, :3], places[:, :, 3:]], axis=1)
    return folder / "geometry.h5"


def _geometry_corners(folder: Path) -> Path:
    _panels(folder)
    with h5py.File(folder / "geometry.h5", "w") as file:
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["x_pixel_size"] = detector["y_pixel_size"] = 2e-4
        detector["basis_vectors"] = np.tile([[[0, -2e-4, 0], [-2e-4, 0, 0]]], (2, 1, 1))
        detector["corner_position"] = np.array([[6e-4, 4e-4, 0.7], [0, 4e-4, 0.7]])
    return folder / "geometry.h5"


def _geometry_dragonfly(folder: Path) -> Path:
    LAYOUTS["Dragonfly .emc"][0](folder / "photons.emc")
    known = {
        "name": "x",
        "wavelength_nm": 0.7,
        "distance_m": 0.1,
        "pixel_m": 75e-6,
        "adu_per_photon": 1.0,
        "saturation": 9,
    }
    write_detector(
        folder / "photons_detector.h5",
        mask=np.zeros((5, 6), bool),
        centre=(1.5, 2.5),
        distance=1733.3,
        experiment=known,
    )
    return folder / "photons_detector.h5"


def _read_geometry(path: Path) -> None:
    panels, photons = path.parent / "panels.cxi", path.parent / "photons.emc"
    _read_stack(panels, {"detector": path}) if panels.exists() else _read_stack(photons, {})


def _network() -> darknet.Network:
    """A network that nobody has read anything into."""
    return darknet.Network(darknet.yolov2(width=0.03125, size=64).sections, generator=torch.Generator().manual_seed(1))


def _weights(folder: Path) -> Path:
    darknet.write_weights(_network(), folder / "net.weights", seen=640)
    return folder / "net.weights"


def _read_weights(path: Path) -> None:
    network = _network()
    seen = darknet.read_weights(network, path)
    assert seen >= 0, "fewer than no images"
    _check_network(network)


def _backbone(folder: Path) -> Path:
    counts = darknet.float_counts(_network())
    (folder / "net.conv").write_bytes(bytes(16) + np.full(sum(counts[:6]), 0.5, "<f4").tobytes())
    return folder / "net.conv"


def _read_backbone(path: Path) -> None:
    network = _network()
    filled, seen = darknet.read_backbone(network, path)
    assert 0 < filled <= len(network.convolutions), "an impossible number of convolutions"
    assert seen >= 0, "fewer than no images"
    _check_network(network)


def _check_network(network: torch.nn.Module) -> None:
    for name, tensor in network.state_dict().items():
        assert torch.isfinite(tensor).all(), f"{name} is not finite"


def _cfg(folder: Path) -> Path:
    build = darknet.yolov3 if folder.name.endswith("3") else darknet.yolov2
    darknet.write_cfg(build(width=0.03125, size=64), folder / "net.cfg")
    return folder / "net.cfg"


def _read_cfg(path: Path) -> None:
    with warnings.catch_warnings():
        # a name that was damaged is no option of Darknet, and said to be none
        warnings.filterwarnings("ignore", r".*(is no option of Darknet|has no \[region\])", UserWarning)
        network = darknet.read_cfg(path)
    assert network.size > 0, "no image size"
    _check_network(network)
    for head in network.heads:
        assert torch.isfinite(head.anchors).all(), "anchors are not finite"


def _checkpoint(folder: Path) -> Path:
    sections = [(one.name, dict(one.options)) for one in _network().sections]
    content = {"family": "yolov2-jet-log", "iteration": 4, "sections": sections, "weights": _network().state_dict()}
    save_tensors(folder / "iteration_000004.safetensors", content)
    return folder / "iteration_000004.safetensors"


def _read_checkpoint(path: Path) -> None:
    network = load_network(path, CPU)
    _check_network(network)
    with torch.inference_mode():
        scores = darknet.scores(network, torch.zeros(1, 3, 64, 64))
    assert torch.isfinite(scores).all(), "scores are not finite"


@cache
def _ultralytics_weights() -> dict:
    ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(1)
    return DetectionModel("yolo11n.yaml", nc=1, verbose=False).state_dict()


def _ultralytics(folder: Path) -> Path:
    content = {"family": "yolo11n-jet-log", "model": "yolo11n.yaml", "iteration": 4, "weights": _ultralytics_weights()}
    save_tensors(folder / "iteration_000004.safetensors", content)
    return folder / "iteration_000004.safetensors"


def _read_ultralytics(path: Path) -> None:
    scores = load_ultralytics(path, CPU)(torch.zeros(1, 3, 64, 64))
    assert torch.isfinite(scores).all(), "scores are not finite"


def _em_state(folder: Path) -> Path:
    model = torch.rand(3, 4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    state = EMState(
        model,
        torch.ones(8, dtype=torch.float64),
        (-5.0, -4.0),
        (8, 2),
        torch.arange(8) % 3,
        torch.arange(8),
        {1: model},
    )
    write_state(folder / "state.safetensors", state)
    return folder / "state.safetensors"


def _read_em_state(path: Path) -> None:
    state = read_state(path, CPU)
    assert state.iteration == len(state.changed), "iterations that do not agree"
    assert all(isinstance(value, float) and np.isfinite(value) for value in state.log_likelihood), "no likelihood"
    for tensor in (state.model, state.scale, *state.snapshots.values()):
        assert tensor.is_floating_point(), "no numbers"
        assert torch.isfinite(tensor).all(), "not finite"
    assert state.model.ndim == 3, "no models"
    assert state.classes.shape == state.rotations.shape == state.scale.shape, "of other patterns"
    assert 0 <= int(state.classes.min()) <= int(state.classes.max()) < len(state.model), "a class that there is not"


def _family(folder: Path) -> Path:
    artefacts = FamilyFolder(folder / "yolov2-jet-log")
    settings = TrainingSettings(size=64, width=0.03125, steps=(2, 3), scales=(0.1, 0.1)).to_mapping()
    described = {"family": "yolov2-jet-log", "settings": settings, "threshold": 0.24, "consensus": [4], "shape": [5, 6]}
    artefacts.claim(described)
    (artefacts.path / "checkpoints").mkdir()
    _checkpoint(artefacts.path / "checkpoints")
    return artefacts.path / "family.json"


def _read_family(path: Path) -> None:
    trained = load_family(path.parent, CPU)
    assert 0 < trained.threshold < 1, "a threshold that is none"
    assert trained.settings.size > 0, "no size"
    assert list(trained.consensus) == [4], "another consensus"
    assert len(trained.shape) == 2, "no shape"


def _scores(folder: Path) -> Path:
    scores = np.random.default_rng(1).random((12, 2)).astype("f4")
    artefacts = FamilyFolder(folder)
    for column, iteration in enumerate((100, 200)):
        artefacts.add_scores("test", np.arange(12), iteration, scores[:, column])
    return folder / "scores_test.csv"


def _read_scores(path: Path) -> None:
    table = FamilyFolder(path.parent).scores("test")
    assert table["pattern"].is_unique, "a pattern twice"
    assert table["pattern"].dtype.kind == "i", "no pattern numbers"
    values = table.drop(columns="pattern").to_numpy()
    assert values.dtype.kind == "f", "no scores"
    assert ((values >= 0) & (values <= 1)).all(), "scores out of range"


def _loss(folder: Path) -> Path:
    row = {"loss": 3.5, "average_loss": 3.6, "learning_rate": 1e-3, "images_seen": 64.0, "seconds": 0.1}
    FamilyFolder(folder).write_history([{"iteration": float(number), **row} for number in range(1, 9)])
    return folder / "loss.csv"


def _read_loss(path: Path) -> None:
    table = FamilyFolder(path.parent).loss()
    assert all(table[name].dtype.kind in "if" for name in table), "no numbers"
    assert np.isfinite(table.to_numpy(float)).all(), "not finite"


def _sets(folder: Path) -> Path:
    Run.write_sets(
        _run(folder),
        pd.DataFrame(
            {"pattern": range(9), "label": [True] * 9, "in_size_range": True, "set": ["training"] * 8 + ["test"]}
        ),
    )
    return folder / "sets.csv"


def _run(folder: Path) -> Run:
    return Run(load_profile("demo"), folder, folder / "own.cxi", None)


def _read_sets(path: Path) -> None:
    sets = _run(path.parent).read_sets()
    assert sets["pattern"].is_unique, "a pattern twice"
    assert (sets["pattern"] >= 0).all(), "negative patterns"
    assert sets["label"].dtype == bool, "labels that are none"
    assert sets["in_size_range"].dtype == bool, "no range"
    assert sets["set"].isin(["training", "validation", "test", "unused"]).all(), "unknown sets"


def _selection(folder: Path) -> Path:
    given = {"patterns": np.arange(9), "event_ids": None, "scores": np.linspace(0, 1, 9), "selected": np.arange(9) > 4}
    write_selection(folder / "em.csv", file="own.cxi", **given)
    return folder / "em.csv"


def _read_selection(path: Path) -> None:
    single = stored_selection(path, np.arange(9))
    assert single is not None, "no selection"
    assert single.dtype == bool, "no selection"
    assert single.shape == (9,), "of other patterns"


def _labels_csv(folder: Path) -> Path:
    _own_stack(folder)
    (folder / "labels.csv").write_text("index,event_id,single\n0,5,1\n1,6,0\n2,7,1\n6,11,0\n")
    return folder / "labels.csv"


def _labels_by_event(folder: Path) -> Path:
    _own_stack(folder)
    (folder / "labels.csv").write_text("event_id,single\n5,1\n6,0\n7,1\n11,0\n")
    return folder / "labels.csv"


def _labels_json(folder: Path) -> Path:
    with open_stack(_own_stack(folder)) as stack:
        labels = LabelsFile(folder / "labels.json", stack)
        labels.draw(Box(0, 4, 1, 5), share=0.9)
        for pattern, label in ((3, "single"), (1, "not single"), (5, "unsure")):
            labels.give(pattern, label, labeller="anna")
        labels.give(3, "single", labeller="ben", repeat=True)
    return folder / "labels.json"


def _read_labels(path: Path) -> None:
    with open_stack(path.parent / "own.cxi") as stack:
        labels = read_labels(path, stack)
        assert labels["pattern"].between(0, 6).all(), "patterns that there are not"
        assert labels["pattern"].is_unique, "a pattern twice"
        assert labels["label"].dtype == bool, "labels that are none"
        if path.suffix == ".json":
            box = LabelsFile(path, stack).box
            assert box is None or box.check_inside((5, 6)) is None, "a box outside"


def _box(folder: Path) -> Path:
    write_box(folder / "box.json", Box(1, 60, 20, 90), shape=(123, 240), source="user", share=0.9)
    return folder / "box.json"


def _read_box(path: Path) -> None:
    box = read_box(path, shape=(123, 240))
    box.check_inside((123, 240))


def _choice(folder: Path) -> Path:
    write_choice(folder / "classes.json", [[0, 2], [1, 3]], key="a" * 16, source="user")
    return folder / "classes.json"


def _read_choice(path: Path) -> None:
    for read in (read_choice, lambda path, **given: settled_choice(path, [[0], [1]], **given)):
        choice, source = read(path, key="a" * 16, classes=4)
        assert source in ("user", "proposed"), "chosen by nobody"
        assert all(type(one) is int and 0 <= one < 4 for chosen in choice for one in chosen), "classes that are none"


def _profile(folder: Path) -> Path:
    (folder / "own.yaml").write_text((PROFILES / "demo.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return folder / "own.yaml"


def _read_profile(path: Path) -> None:
    profile = load_profile(path)
    sections = json.dumps(profile.sections())
    assert len(sections) < 100_000, "a profile without end"
    assert profile.seed >= 0, "a negative seed"
    for settings in profile.networks.values():
        TrainingSettings.from_mapping(settings)


def _published(folder: Path) -> Path:
    (folder / "published.yaml").write_text(fetch.PUBLISHED.read_text(encoding="utf-8"))
    return folder / "published.yaml"


def _read_published(path: Path) -> None:
    kept, fetch.PUBLISHED = fetch.PUBLISHED, path
    try:
        for name in ("cxidb-156", "darknet19", "darknet53"):
            file = fetch.published_file(name)
            assert all(isinstance(one, str) for one in (*file.addresses, file.page, file.content)), "no text"
            assert file.path.resolve().is_relative_to(fetch.DATA.resolve()), "outside data/"
            assert file.size is None or file.size > 0, "no size"
            file.by_hand()
    finally:
        fetch.PUBLISHED = kept


def _record(folder: Path) -> Path:
    steps = {"01_data_exploration": {"seconds": 3.5}, "04_training": {"seconds": 93.0}}
    content = {
        "profile": load_profile("demo").sections(),
        "steps": steps,
        "data": {"file": "own.cxi", "sha256": "a" * 64, "simulated": True},
        "software": {"single-hit-workbook": "1", "commit": None, "dirty": None},
        "versions": {"python": "3.11"},
        "hardware": {"processor": "one", "cores": 2, "threads": 1, "memory_gib": 8, "gpu": None, "system": "Linux"},
        "seed": 1,
        "labels": None,
    }
    (folder / "run.json").write_text(json.dumps(content, indent=1))
    return folder / "run.json"


def _read_record(path: Path) -> None:
    record = read_record(path.parent)
    assert isinstance(record, dict), "no record"
    write_report(path.parent)


def _stamp(folder: Path) -> Path:
    checksums = staleness.Checksums(folder)
    (folder / "table.csv").write_text("a\n1\n")
    staleness.write_stamp(folder / ".01.done", {"code cells": "a"}, {"table.csv": checksums.of(folder / "table.csv")})
    return folder / ".01.done"


def _checksums(folder: Path) -> Path:
    _stamp(folder)
    return folder / ".checksums.json"


def _read_stamp(path: Path) -> None:
    folder = path.parent
    checksums = staleness.Checksums(folder)
    staleness.why_stale(folder / ".01.done", {"code cells": "a"}, folder, checksums)
    assert len(checksums.of(folder / "table.csv")) == 64, "no checksum"
    staleness.delete_tables_and_figures(folder / ".01.done", folder)


def _notebook(folder: Path) -> Path:
    cells = [
        {"cell_type": "markdown", "source": ["# Look\n", "text"], "metadata": {}},
        {"cell_type": "code", "source": ["a = 1\n"], "metadata": {"tags": ["parameters"]}, "outputs": []},
    ]
    needs = {"profile": ["seed"], "reads": ["box.json"], "writes": ["tables/table_1.csv"]}
    content = {"cells": cells, "metadata": {"workbook": needs}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "01_look.ipynb").write_text(json.dumps(content))
    return folder / "01_look.ipynb"


def _read_notebook(path: Path) -> None:
    needs = staleness.read_needs(path)
    assert all(isinstance(text, str) for text in (*needs.code, *needs.reads, *needs.writes)), "no text"
    write_report(path.parent)


def _table(folder: Path) -> Path:
    (folder / "tables").mkdir()
    text = "set,patterns,positive,negative,in_size_range\nsize range,9,3,6,9\ntraining,4,2,2,3\ntest,3,1,2,3\n"
    (folder / "tables" / "table_1.csv").write_text(text)
    return folder / "tables" / "table_1.csv"


def _read_table(path: Path) -> None:
    write_report(path.parent.parent)


_OF_GEOMETRY = ((BYTES, 50), (HDF5, 69))
_OF_JSON = ((BYTES, 20), (TEXT, 30), (JSON, 30))
_OF_CSV = ((BYTES, 20), (TEXT, 50))
_OF_CHECKPOINT = ((BYTES, 40), (CHECKPOINTS, 56))

READERS: dict[str, Reader] = {
    **{f"stack: {name}": _stack_of(name) for name in LAYOUTS},
    "stack: ours": Reader(_own_stack, lambda path: _read_stack(path, {}), ((BYTES, 80), (HDF5, 92))),
    "geometry: pixel map": Reader(_geometry_map, _read_geometry, _OF_GEOMETRY),
    "geometry: corners": Reader(_geometry_corners, _read_geometry, _OF_GEOMETRY),
    "geometry: Dragonfly detector": Reader(_geometry_dragonfly, _read_geometry, _OF_GEOMETRY),
    "Darknet .weights": Reader(_weights, _read_weights, ((BYTES, 60),)),
    "Darknet backbone": Reader(_backbone, _read_backbone, ((BYTES, 40),)),
    "Darknet .cfg": Reader(_cfg, _read_cfg, ((BYTES, 40), (TEXT, 100))),
    "checkpoint": Reader(_checkpoint, _read_checkpoint, _OF_CHECKPOINT),
    "checkpoint, ultralytics": Reader(_ultralytics, _read_ultralytics, ((BYTES, 12), (CHECKPOINTS, 28))),
    "EM state": Reader(_em_state, _read_em_state, _OF_CHECKPOINT),
    "family.json": Reader(_family, _read_family, _OF_JSON),
    "scores": Reader(_scores, _read_scores, _OF_CSV),
    "loss": Reader(_loss, _read_loss, _OF_CSV),
    "sets": Reader(_sets, _read_sets, _OF_CSV),
    "table": Reader(_table, _read_table, _OF_CSV),
    "selection": Reader(_selection, _read_selection, _OF_CSV),
    "labels, CSV by index": Reader(_labels_csv, _read_labels, _OF_CSV),
    "labels, CSV by event id": Reader(_labels_by_event, _read_labels, _OF_CSV),
    "labels, JSON": Reader(_labels_json, _read_labels, _OF_JSON),
    "box": Reader(_box, _read_box, _OF_JSON),
    "class choice": Reader(_choice, _read_choice, _OF_JSON),
    "profile": Reader(_profile, _read_profile, ((BYTES, 30), (TEXT, 70), (YAML, 30))),
    "addresses": Reader(_published, _read_published, ((BYTES, 15), (TEXT, 40), (YAML, 15))),
    "run.json": Reader(_record, _read_record, _OF_JSON),
    "stamp of a step": Reader(_stamp, _read_stamp, _OF_JSON),
    "checksums": Reader(_checksums, _read_stamp, _OF_JSON),
    "notebook": Reader(_notebook, _read_notebook, _OF_JSON),
}
