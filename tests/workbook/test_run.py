import json

import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers import ROOT
from helpers.errors import LabelsError, PatternFileError, WorkbookError
from helpers.system import read_exact_csv, sha256
from helpers.workbook import open_run
from helpers.workbook import run as module


@pytest.fixture
def simulated(tmp_path, write_patterns):
    return open_run("demo", tmp_path / "run", write_patterns(tmp_path / "twin.cxi", "simulated twin"))


@pytest.fixture
def measured(tmp_path, write_patterns):
    return open_run("demo", tmp_path / "run", write_patterns(tmp_path / "run_17.cxi", "AMOX34117, run 17"))


TABLE = pd.DataFrame({"family": ["yolov2-jet-linear"], "f1": [0.1 + 0.2]})


def test_folders_are_those_of_the_design(simulated):
    assert simulated.family_folder("yolov2-jet-log") == simulated.folder / "families" / "yolov2-jet-log"
    assert simulated.tables == simulated.folder / "tables"
    assert simulated.figures == simulated.folder / "figures"
    assert simulated.selections == simulated.folder / "selections"
    assert simulated.weights == ROOT / "data" / "weights"


def test_a_table_comes_back_with_every_digit(simulated):
    simulated.save_table(TABLE, "table_4", caption="Comparison.", percent=["f1"])
    pd.testing.assert_frame_equal(read_exact_csv(simulated.tables / "table_4.csv"), TABLE, check_exact=True)
    assert sorted(path.suffix for path in simulated.tables.iterdir()) == [".csv", ".html", ".tex"]


def test_simulated_data_are_labelled_in_every_caption(simulated):
    simulated.save_table(TABLE, "table_4", caption="Comparison.")
    simulated.save_figure(Figure(), "figure_3", caption="A pattern.")
    assert "Comparison. Simulated data." in (simulated.tables / "table_4.html").read_text()
    assert "Comparison. Simulated data." in (simulated.tables / "table_4.tex").read_text()
    caption = json.loads((simulated.figures / "figure_3.json").read_text())["caption"]
    assert caption == "A pattern. Simulated data."


def test_a_drawing_that_shows_no_data_is_not_called_simulated(simulated):
    simulated.save_figure(Figure(), "figure_1", caption="The experiment.", of_data=False)
    assert json.loads((simulated.figures / "figure_1.json").read_text())["caption"] == "The experiment."


def test_measured_data_are_not(measured):
    measured.save_table(TABLE, "table_4", caption="Comparison.")
    assert "imulated" not in (measured.tables / "table_4.html").read_text()


def test_a_figure_is_written_twice_with_the_same_bytes(simulated):
    checksums = []
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([1, 2])
        simulated.save_figure(figure, "figure_3", caption="A line.")
        checksums.append([sha256(simulated.figures / f"figure_3.{suffix}") for suffix in ("png", "pdf")])
    assert checksums[0] == checksums[1]


def test_missing_files_are_named(tmp_path, write_patterns):
    with pytest.raises(PatternFileError, match=r"none.cxi: no such file"):
        open_run("demo", tmp_path / "run", tmp_path / "none.cxi")
    with pytest.raises(LabelsError, match=r"none.csv: no such file"):
        open_run("demo", tmp_path / "run", write_patterns(tmp_path / "a.cxi"), tmp_path / "none.csv")


def test_a_folder_of_other_things_is_left_alone(tmp_path, write_patterns):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(WorkbookError, match="holds other files than a run's"):
        open_run("demo", tmp_path, write_patterns(tmp_path / "a.cxi"))
    assert not (tmp_path / "run.json").exists()


def test_without_data_the_twin_is_simulated_once(tmp_path, monkeypatch, write_patterns):
    calls = []

    def simulate(path, **given):
        calls.append(given)
        write_patterns(path, "simulated twin")

    monkeypatch.setattr(module, "DATA", tmp_path / "data")
    monkeypatch.setattr("helpers.simulation.simulate", simulate)
    runs = [open_run("demo", tmp_path / "run") for _ in range(2)]
    sizes = runs[0].profile.simulation
    assert calls == [
        {
            "patterns": sizes.patterns,
            "manual_fraction": sizes.manual_fraction,
            "outside": sizes.outside,
            "seed": runs[0].profile.seed,
        }
    ]
    assert runs[0].data == runs[1].data
    assert runs[0].data.name.startswith("twin_demo_")
    assert runs[0].is_simulated


def test_another_seed_is_another_twin(tmp_path):
    import yaml

    content = yaml.safe_load((ROOT / "helpers" / "profiles" / "demo.yaml").read_text())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**content, "seed": content["seed"] + 1}))
    names = {module.twin_path(module.load_profile(profile)) for profile in ("demo", tmp_path / "other.yaml")}
    assert len(names) == 2
