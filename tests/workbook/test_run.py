import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from helpers import ROOT
from helpers.errors import LabelsError, MissingStepError, PatternFileError, ProfileError, WorkbookError
from helpers.experiment import AMOX34117
from helpers.patterns.writing import write_stack
from helpers.system import read_exact_csv, sha256
from helpers.training import Examples
from helpers.workbook import load_profile, open_run
from helpers.workbook import run as module


@pytest.fixture
def simulated(tmp_path, write_patterns):
    return open_run("demo", tmp_path / "run", write_patterns(tmp_path / "twin.cxi", "simulated twin"))


@pytest.fixture
def measured(tmp_path, write_patterns):
    return open_run("demo", tmp_path / "run", write_patterns(tmp_path / "run_17.cxi", "AMOX34117, run 17"))


TABLE = pd.DataFrame({"family": ["yolov2-jet-linear"], "f1": [0.1 + 0.2]})


def test_folders_are_those_of_the_design(simulated):
    assert simulated.family("yolov2-jet-log").path == simulated.folder / "families" / "yolov2-jet-log"
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


def test_a_run_on_other_data_has_a_folder_of_its_own(tmp_path, monkeypatch, write_patterns):
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    demo = load_profile("demo")
    (tmp_path / "again").mkdir()
    mine, other = write_patterns(tmp_path / "mine.cxi"), write_patterns(tmp_path / "again" / "mine.cxi")
    assert open_run("demo", data=mine).folder == tmp_path / "results" / "demo_mine"
    assert open_run("demo", data=mine).folder == tmp_path / "results" / "demo_mine"
    with pytest.raises(WorkbookError, match=r"demo_mine holds the run on .*; .*again/mine.cxi go with --results"):
        open_run("demo", data=other)
    assert module.run_folder(demo, None) == module.run_folder(demo, module.twin_path(demo))
    assert module.run_folder(demo, None) == tmp_path / "results" / "demo"


def test_a_copy_of_a_profile_that_is_another_does_not_write_over_the_results_of_the_first(tmp_path):
    content = yaml.safe_load((ROOT / "helpers" / "profiles" / "demo.yaml").read_text())
    for name, seed, refused in (("demo", 0, False), ("demo", 1, True), ("mine", 1, False)):
        changed = {**content, "name": name, "seed": content["seed"] + seed}
        (tmp_path / "copy.yaml").write_text(yaml.safe_dump(changed))
        profile = load_profile(tmp_path / "copy.yaml")
        if refused:
            with pytest.raises(WorkbookError, match=r"calls itself demo.*change its name"):
                module.run_folder(profile, None)
        else:
            assert module.run_folder(profile, None).name == name


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
    content = yaml.safe_load((ROOT / "helpers" / "profiles" / "demo.yaml").read_text())
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**content, "seed": content["seed"] + 1}))
    names = {module.twin_path(load_profile(profile)) for profile in ("demo", tmp_path / "other.yaml")}
    assert len(names) == 2


OTHER = replace(AMOX34117, name="", wavelength_nm=0.2, distance_m=0.5, pixel_m=1e-4)


def written(path, centre=(2.0, 3.5), *, without=()):
    """A run with a file of another experiment, some of whose numbers are missing."""
    counts = np.ones((2, 8, 10), np.uint16)
    given = {"mask": np.zeros((8, 10), bool), "centre": centre, "experiment": OTHER}
    write_stack(path / "other.cxi", counts, table=pd.DataFrame({"event_id": [1, 2]}), **given)
    with h5py.File(path / "other.cxi", "r+") as file:
        for name in without:
            del file[name]
    return open_run("demo", path / "run", path / "other.cxi")


def test_the_experiment_is_that_of_the_file(tmp_path, capsys):
    found = written(tmp_path).experiment
    assert (found.wavelength_nm, found.distance_m, found.pixel_m) == pytest.approx((0.2, 0.5, 1e-4))
    assert (found.shape, found.centre) == ((8, 10), (2.0, 3.5))
    assert capsys.readouterr().out == ""


def test_a_file_that_tells_too_little_gets_the_papers_experiment_and_a_sentence(tmp_path, capsys):
    run = written(tmp_path, without=["entry_1/instrument_1/source_1"])
    found = run.experiment
    assert found.q_step == AMOX34117.q_step
    assert (found.shape, found.centre) == ((8, 10), (2.0, 3.5))
    said = capsys.readouterr().out
    assert "other.cxi does not tell source_1/energy" in said
    assert "AMOX34117; beam centre (2, 3.5), the file's" in said
    assert run.experiment is found
    assert capsys.readouterr().out == ""


def test_a_file_without_a_centre_gets_one_and_it_is_named(tmp_path, capsys):
    found = written(tmp_path, without=["entry_1/image_1/image_center"]).experiment
    assert found.centre == (1.5, 4.5)
    assert "beam centre (1.5, 4.5), assumed" in capsys.readouterr().out


def test_settings_and_thresholds_are_those_of_the_network(simulated):
    settings = simulated.settings("yolov3")
    assert settings.seed == simulated.profile.seed
    assert settings.size == simulated.profile.networks["yolov3"]["size"]
    assert simulated.threshold("yolov2-jet-log") == simulated.profile.thresholds["yolov2"] == 0.24
    assert simulated.threshold("yolov3-gray-linear") == 0.5


def test_a_plan_holds_what_the_profile_says_of_a_family(simulated):
    empty = np.zeros((0, 4, 6))
    examples = Examples(empty, np.zeros((0, 4)), empty, np.zeros(0, int))
    plan = simulated.plan("yolov3-gray-linear", examples)
    assert str(plan.family) == "yolov3-gray-linear"
    assert plan.examples is examples
    assert plan.settings == simulated.settings("yolov3")
    assert (list(plan.consensus), plan.threshold) == (list(simulated.profile.consensus), 0.5)
    assert plan.weights == simulated.weights
    with pytest.raises(ProfileError, match="network-colour-scale"):
        simulated.plan("yolov3", examples)


def test_a_caption_names_all_first_weights(simulated):
    starts = ["random weights", "darknet19"] + ["random weights"] * 20
    for name, start in zip(simulated.profile.families, starts, strict=False):
        simulated.family(name).claim({"start": start})
    assert simulated.first_weights == "darknet19 and random weights"


def test_one_set_or_all_can_be_read(simulated):
    assert not simulated.has_sets
    with pytest.raises(MissingStepError, match="run notebook 01"):
        simulated.read_sets()
    names = ["test", "training", "test", "unused"]
    sets = pd.DataFrame({"pattern": range(4), "label": True, "in_size_range": True, "set": names})
    simulated.write_sets(sets)
    assert simulated.has_sets
    assert list(simulated.read_sets()["set"]) == names
    assert simulated.read_sets("test")["pattern"].to_dict() == {0: 0, 1: 2}


def test_what_is_saved_comes_back_for_the_end_of_a_cell(simulated):
    shown = simulated.save_table(TABLE, "table_4", caption="Comparison.", percent=["f1"])
    assert shown.to_dict("list") == {"family": ["YOLOv2 color, linear"], "F₁ (%)": ["30.0"]}
    figure = Figure()
    assert simulated.save_figure(figure, "figure_3", caption="A pattern.") is figure
