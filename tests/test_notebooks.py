"""All notebooks, run by the runner on a tiny profile in real kernels; and what every notebook must be."""

import json
import re
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from helpers import ROOT
from helpers.annotation import Box, LabelsFile
from helpers.annotation.queue import disputed_first
from helpers.classification import load_family, score_stack
from helpers.evaluation import Confusion, stable_selection
from helpers.patterns import open_stack
from helpers.system import load_tensors, sha256
from helpers.workbook import load_profile
from helpers.workbook.execution import StepFailedError, execute
from helpers.workbook.run import twin_path
from helpers.workbook.verification import verify_run

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
TINY = ROOT / "tests" / "tiny.yaml"
PROFILE = load_profile(TINY)
NAMES = [path.stem for path in NOTEBOOKS]


def run_all(folder, *more):
    command = [sys.executable, "-m", "helpers", "run", "--profile", TINY, "--results", folder, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a whole run, and what was printed."""
    folder = tmp_path_factory.mktemp("results") / "tiny"
    done = run_all(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder, done.stdout + done.stderr


def table(run, name):
    return pd.read_csv(run[0] / "tables" / f"{name}.csv")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_a_lesson(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for wanted in (
        "**What you'll do.**",
        "**What you'll learn.**",
        "**What you need.**",
        "## On your own",
        "## Further reading",
    ):
        assert wanted in prose
    assert notebook.cells[0].source.startswith("# ")
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(parameters) == 1
    lines = parameters[0].source.splitlines()
    assert [line.split(" = ")[0] for line in lines[:4]] == ["profile", "results", "data", "labels"]
    assert all(re.fullmatch(r"[a-z_]+ = .+  # .{10,}", line) for line in lines)
    assert len(notebook.cells) <= 55
    assert {"profile", "reads", "writes"} == set(notebook.metadata["workbook"]) - {"may_write"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_cells_are_short_enough_to_read_at_a_glance(path):
    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    lengths = [len(source.splitlines()) for source in sources]
    assert np.median(lengths) <= 5
    assert max(lengths) <= 20
    lines = [line for source in sources for line in source.splitlines()]
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if line.rstrip().endswith(";") or "; " in line.split("#")[0].split('"')[0]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_no_notebook_takes_the_papers_experiment_for_that_of_the_file(path):
    assert "AMOX34117" not in "".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


def test_every_notebook_ran_without_an_error_or_a_warning_and_left_its_page(run):
    for name in NAMES:
        executed = nbformat.read(run[0] / f"{name}.ipynb", as_version=4)
        outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.output_type == "error"]
        shown = "".join(output.get("text", "") for output in outputs)
        assert "Warning" not in shown
        assert (run[0] / f"{name}.html").stat().st_size > 10_000
    assert "Warning" not in run[1]


def test_table_1_holds_the_sets_of_the_profile(run):
    sets = table(run, "table_1").set_index("set")
    assert list(sets.columns) == ["patterns", "positive", "negative", "in_size_range"]
    assert tuple(sets.loc["training", ["positive", "negative"]]) == PROFILE.dataset.training
    assert tuple(sets.loc["validation", ["positive", "negative"]]) == PROFILE.dataset.validation
    used = sets.loc["training", "in_size_range"] + sets.loc["validation", "in_size_range"]
    assert (
        sets.loc["test", "patterns"] == sets.loc["size range", "patterns"] - used == PROFILE.simulation.patterns - used
    )


def test_both_routes_to_the_network_agree_to_rounding(run):
    assert table(run, "table_rendering")["largest_difference"].max() <= 1e-5


def test_table_2_has_a_row_a_family_and_means_within_their_bounds(run):
    means = table(run, "table_2")
    assert list(means["family"]) == list(PROFILE.families)
    assert means["accuracy_mean"].between(0, 1).all()
    assert (means.filter(like="_std") >= 0).to_numpy()[means.filter(like="_std").notna()].all()


def test_tables_3_and_4_follow_from_the_stored_scores(run):
    sets = pd.read_csv(run[0] / "sets.csv").set_index("pattern")
    stability, comparison = (
        table(run, "table_3").set_index("family"),
        table(run, "table_4").set_index(["family", "reference"]),
    )
    for name in PROFILE.families:
        scores = pd.read_csv(run[0] / "families" / name / "scores_test.csv")
        threshold = PROFILE.thresholds[name.split("-")[0]]
        checkpoints = scores.drop(columns="pattern").to_numpy()
        counts = (checkpoints > threshold).sum(axis=0)
        assert list(stability.loc[name].filter(like="iteration_")) == list(counts)
        assert stability.loc[name, "std"] == pytest.approx(counts.std())
        selected = stable_selection(checkpoints, threshold)
        assert stability.loc[name, "stable"] == selected.sum()
        for reference, column in (("manual", "label"), ("truth", "truth")):
            expected = Confusion.from_selection(selected, sets.loc[scores["pattern"], column])
            row = comparison.loc[(name, reference)]
            assert (row["selected"], row["intersection"]) == (expected.selected, expected.true_positive)
            np.testing.assert_allclose(
                row[["accuracy", "recall", "f1", "mcc"]].astype(float),
                [expected.accuracy, expected.recall, expected.f1, expected.mcc],
            )
    never = comparison.loc["never-single"]
    assert (never[["selected", "f1", "mcc"]] == 0).all(axis=None)


def test_the_row_of_em_follows_from_the_choice_of_classes(run):
    folder = run[0]
    sets = pd.read_csv(folder / "sets.csv")
    classified = sets[sets["in_size_range"]].reset_index(drop=True)
    states = [load_tensors(path, torch.device("cpu")) for path in sorted(folder.glob("em/run_*/state.safetensors"))]
    choice = json.loads((folder / "em" / "choice.json").read_text())
    assert choice["source"] == "proposed"
    assert len(states) == len(choice["runs"]) == PROFILE.em.runs
    chosen = [np.isin(state["classes"], kept) for state, kept in zip(states, choice["runs"], strict=True)]
    score = np.mean(chosen, axis=0)
    test = (classified["set"] == "test").to_numpy()
    selection = pd.read_csv(folder / "selections" / "em.csv")
    np.testing.assert_array_equal(selection["index"], classified.loc[test, "pattern"])
    np.testing.assert_allclose(selection["score"], score[test])
    np.testing.assert_array_equal(selection["single"], (score[test] > 0.5).astype(int))
    comparison = table(run, "table_4").set_index(["family", "reference"])
    stored = table(run, "table_em").set_index(["patterns", "reference"])
    for reference, column in (("manual", "label"), ("truth", "truth")):
        expected = Confusion.from_selection(score > 0.5, classified[column])
        row = stored.loc[("size range", reference)]
        assert (row["selected"], row["intersection"]) == (expected.selected, expected.true_positive)
        of_test = Confusion.from_selection(score[test] > 0.5, classified.loc[test, column])
        for row in (stored.loc[("test set", reference)], comparison.loc[("em", reference)]):
            assert (row["selected"], row["intersection"]) == (of_test.selected, of_test.true_positive)
    assert stored.loc[("size range, paper", "manual"), "iou"] == pytest.approx(0.34, abs=0.005)


@pytest.mark.whole
def test_without_em_table_4_has_no_such_row_and_the_notebook_says_so(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "without")
    (folder / "selections" / "em.csv").unlink()
    done = run_all(folder, "--only", "07")
    assert done.returncode == 0, done.stderr
    assert "no row of EM: notebook 06 has not run" in done.stdout
    assert list(pd.read_csv(folder / "tables" / "table_4.csv")["family"].unique()) == [
        *PROFILE.families,
        "never-single",
    ]


def test_the_selection_lists_name_every_test_pattern(run):
    sets = pd.read_csv(run[0] / "sets.csv")
    wanted = list(sets.loc[sets["set"] == "test", "pattern"])
    for name in (*PROFILE.families, "em"):
        selection = pd.read_csv(run[0] / "selections" / f"{name}.csv")
        assert list(selection["index"]) == wanted
        assert list(selection.columns) == ["file", "index", "event_id", "score", "single"]


def test_the_page_shows_every_table_and_figure_of_the_paper_and_says_that_they_are_simulated(run):
    page = (run[0] / "index.html").read_text(encoding="utf-8")
    for number in range(1, 8):
        assert f"figures/figure_{number}.png" in page
        assert (run[0] / "figures" / f"figure_{number}.pdf").stat().st_size > 1000
    for number in range(1, 5):
        assert (run[0] / "tables" / f"table_{number}.tex").exists()
        assert f"table_{number}" in page
    assert "imulated" in page
    record = json.loads((run[0] / "run.json").read_text())
    assert record["profile"]["seed"] == PROFILE.seed


def test_every_shot_of_the_simulated_beamline_is_scored_once(run):
    selection = pd.read_csv(run[0] / "online" / "simulated" / f"{PROFILE.families[0]}.csv")
    assert list(selection["index"]) == list(selection["event_id"]) == list(range(240))
    assert selection["score"].between(0, 1).all()
    caption = json.loads((run[0] / "figures" / "figure_online_rates.json").read_text())["caption"]
    assert "simulated beamline" in caption
    assert caption.endswith("Simulated data.")


def test_every_table_and_figure_leads_back_to_one_step_that_says_what_it_read(run):
    steps = json.loads((run[0] / "run.json").read_text())["steps"]
    shown = {f"{part}/{path.name}" for part in ("tables", "figures") for path in (run[0] / part).iterdir()}
    authors = {file: [name for name in NAMES if file in steps[name]["writes"]] for file in shown}
    assert {file: names for file, names in authors.items() if len(names) != 1} == {}
    page = (run[0] / "index.html").read_text(encoding="utf-8")
    for file, (author,) in authors.items():
        assert steps[author]["writes"][file] == sha256(run[0] / file)
        if file.endswith((".csv", ".png")):
            assert f'<td>{file}</td><td><a href="#step_{author}">{author}</a></td>' in page
    for name in NAMES:
        assert {"software", "versions", "hardware", "profile", "seed", "data", "labels"} < set(steps[name])
        assert steps[name]["reads"]["the data file"] == sha256(twin_path(PROFILE))
    test_step, training = (steps[name] for name in ("07_test_and_comparison", "04_training"))
    checkpoints = {file: checksum for file, checksum in training["writes"].items() if file.endswith(".safetensors")}
    assert checkpoints.items() <= test_step["reads"].items()


def shown_by_the_widget(folder):
    """The picture that stands in the executed notebook 03 where the widget would be, as base64."""
    executed = nbformat.read(folder / "03_annotation.ipynb", as_version=4)
    views = "application/vnd.jupyter.widget-view+json"
    outputs = [output["data"] for cell in executed.cells for output in cell.get("outputs", []) if "data" in output]
    (shown,) = [data for data in outputs if views in data]
    return shown["image/png"].replace("\n", "")


def test_the_page_of_the_annotation_shows_the_box_without_a_network(run):
    page = (run[0] / "03_annotation.html").read_text(encoding="utf-8")
    assert f"data:image/png;base64,{shown_by_the_widget(run[0])}" in page.replace("\n", "")
    assert not re.findall(r"""(?:src|href)=["']https?:""", page)
    assert "<script" not in page
    assert not (run[0] / "annotation.json").exists()  # nobody has labelled anything
    assert json.loads((run[0] / "box.json").read_text())["source"] == "proposed"


@pytest.mark.whole
def test_labels_and_box_of_a_person_are_what_the_next_run_takes(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "tiny")
    sets = pd.read_csv(folder / "sets.csv")
    with open_stack(twin_path(PROFILE)) as stack:
        file = LabelsFile(folder / "annotation.json", stack)
        file.draw(Box(3, 60, 70, 171))
        pattern = int(sets.loc[sets["set"] == "training", "pattern"].iloc[0])
        for repeat in (False, True):
            file.give(pattern, "single", labeller="anna", repeat=repeat)
    done = run_all(folder, "--only", "03")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "03_annotation: running (annotation.json is new)" in done.stdout
    box = json.loads((folder / "box.json").read_text())
    assert (box["rows"], box["columns"], box["source"]) == ([3, 60], [70, 171], "user")
    assert shown_by_the_widget(folder) != shown_by_the_widget(run[0])
    consistency = pd.read_csv(folder / "tables" / "table_consistency.csv").set_index("judgements")
    assert consistency.loc["a labeller with themselves", ["patterns", "agreement"]].tolist() == [1, 1]
    assert sorted(path.name for path in (folder / "darknet").glob("*.txt")) == ["training.txt", "validation.txt"]


@pytest.mark.whole
def test_patterns_without_any_sets_are_labelled_first(tmp_path):
    notebook, executed = ROOT / "notebooks" / "03_annotation.ipynb", tmp_path / "executed" / "03_annotation.ipynb"
    given = {"profile": str(TINY), "results": str(tmp_path / "new")}
    executed.parent.mkdir()
    with pytest.raises(StepFailedError, match="no pattern is called single yet: label some"):
        execute(notebook, executed, given)
    assert len(shown_by_the_widget(executed.parent)) > 1000
    with open_stack(twin_path(PROFILE)) as stack:
        file = LabelsFile(tmp_path / "new" / "annotation.json", stack)
        for pattern, label in enumerate(["single", "single", "unsure", "not single", "not single"]):
            file.give(pattern, label, labeller="anna")
    execute(notebook, executed, given)
    assert (tmp_path / "new" / "figures" / "figure_5.png").is_file()
    assert json.loads((tmp_path / "new" / "box.json").read_text())["source"] == "proposed"


@pytest.mark.whole
def test_patterns_on_which_the_checkpoints_of_a_family_disagree_are_labelled_first(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "tiny")
    given = {"profile": str(TINY), "results": str(folder), "order": "disputed", "family": PROFILE.families[1]}
    execute(ROOT / "notebooks" / "03_annotation.ipynb", folder / "03_annotation.ipynb", given)
    sets = pd.read_csv(folder / "sets.csv").set_index("pattern")
    with open_stack(twin_path(PROFILE)) as stack:
        candidates = np.setdiff1d(np.arange(len(stack)), sets.index[sets["set"] == "test"])
        trained = load_family(folder / "families" / PROFILE.families[1])
        wanted = disputed_first(score_stack(stack, trained, candidates), trained.threshold)
    assert f"first patterns {wanted[:5]}" in (folder / "03_annotation.ipynb").read_text()


@pytest.mark.whole
def test_the_notebooks_verify(run):
    verdict = verify_run(run[0])
    assert verdict.lines()[-1].endswith("files computed again: no difference")
    assert verdict.holds


@pytest.mark.whole
def test_a_second_run_does_nothing_and_a_deleted_table_is_made_again(run):
    again = run_all(run[0])
    assert again.returncode == 0
    assert again.stdout.count("up to date") == len(NAMES)
    deleted = run[0] / "tables" / "table_2.csv"
    content = deleted.read_bytes()
    deleted.unlink()
    mended = run_all(run[0])
    assert mended.returncode == 0
    assert mended.stdout.count("up to date") == len(NAMES) - 1
    assert deleted.read_bytes() == content
