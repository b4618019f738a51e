"""`workbook verify`: a run as it is, edited, with forged checksums, stale, and with what it needs missing."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.errors import WorkbookError
from helpers.system import sha256
from helpers.workbook import verification
from helpers.workbook.commands import workbook
from helpers.workbook.record import written_by
from helpers.workbook.verification import Verdict, verify_run
from tests.workbook.test_runner import OPEN, write_notebook

SETS = [
    OPEN,
    """
import pandas as pd
from helpers.patterns import open_stack
with open_stack(run.data) as stack:
    sets = pd.DataFrame({"pattern": range(16), "label": stack.table()["label"][:16] != 0, "in_size_range": True})
sets["set"] = ["training"] * 12 + ["validation"] * 4
run.write_sets(sets)
run.save_table(sets["set"].value_counts().reset_index(), "table_sets", caption="Sets.")
""",
]
TRAIN = [
    OPEN,
    """
import torch
from helpers.annotation import Box
from helpers.family import Family
from helpers.patterns import open_stack, write_any_selection
from helpers.training import Examples, Plan, TrainingSettings, train_families
settings = TrainingSettings(size=64, width=0.125, iterations=4, checkpoint_every=2, batch=4, learning_rate=0.01)
family = Family.from_name("yolov2-jet-log")
with open_stack(run.data) as stack:
    examples = Examples.from_stack(stack, run.read_sets(), Box(0, 80, 60, 180))
plan = Plan(family, examples, settings, consensus=[2, 4], threshold=0.24, device=torch.device("cpu"))
[trained] = train_families({run.families / str(family): plan}, processes=1)
""",
    """
scores = trained.scores("validation")
run.save_table(trained.loss(), "table_losses", caption="Losses.")
chosen = scores["iteration_000004"].to_numpy()
patterns = scores["pattern"].to_numpy()
path = run.selections / f"{family}.csv"
with open_stack(run.data) as stack:
    write_any_selection(path, stack, patterns=patterns, scores=chosen, selected=chosen > 0.24)
""",
]
RUN = """
import sys
from pathlib import Path
from helpers.workbook.runner import run_workbook
folder, data, notebooks = map(Path, sys.argv[1:])
sys.exit(run_workbook("demo", results=folder, data=data, notebooks=notebooks))
"""
FAMILY = "families/yolov2-jet-log"


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """Two notebooks: one that makes sets, one that trains a family on them."""
    folder = tmp_path_factory.mktemp("notebooks")
    write_notebook(folder / "01_sets.ipynb", "Sets", SETS, profile=["seed"], writes=["sets.csv", "tables/table_sets.*"])
    given = {"profile": ["seed"], "reads": ["sets.csv"]}
    writes = [f"{FAMILY}/*.*", f"{FAMILY}/checkpoints/*", "tables/table_losses.*", "selections/*.csv"]
    write_notebook(folder / "02_train.ipynb", "Train", TRAIN, **given, writes=writes)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, notebooks, twin):
    """The run of these notebooks."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    done = subprocess.run([sys.executable, "-c", RUN, folder, twin, notebooks], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "run")


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): (path.stat().st_ino, path.read_bytes()) for path in files}


def edit(path, row, column, change):
    """Change a cell of a CSV file; gives the old and the new text."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    place = rows[0].index(column)
    before, rows[row][place] = rows[row][place], change(rows[row][place])
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return before, rows[row][place]


def forge(folder, *files):
    """Put the checksums of edited files into run.json, wherever they are named."""
    path = folder / "run.json"
    record = json.loads(path.read_text())
    for entry in record["steps"].values():
        for part in (entry["reads"], entry["writes"]):
            part.update({file: sha256(folder / file) for file in files if file in part})
    path.write_text(json.dumps(record))


def test_a_run_as_it_is_verifies_and_nothing_is_written_into_it(folder, notebooks, twin, capsys):
    before = contents(folder)
    verdict = verify_run(folder, data=twin, notebooks=notebooks)
    files = len(written_by(json.loads((folder / "run.json").read_text())))
    assert verdict.lines() == [f"{files} checksums compared, 8 files computed again: no difference"]
    assert verdict.holds
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    assert capsys.readouterr().out.splitlines() == ["01_sets: running again", "02_train: running again"]


def test_whatever_is_edited_added_deleted_or_forged_is_named(copied, notebooks, twin):
    selection, losses, sizes = "selections/yolov2-jet-log.csv", "tables/table_losses.csv", "tables/table_sets.csv"
    loss = edit(copied / losses, 2, "loss", lambda text: f"1{text}")
    count = edit(copied / sizes, 1, "count", lambda text: str(int(text) + 1))
    edit(copied / FAMILY / "scores_validation.csv", 1, "iteration_000004", lambda _: "0.75")
    forge(copied, sizes, f"{FAMILY}/scores_validation.csv")
    (copied / "tables" / "table_sets.tex").unlink()
    (copied / "tables" / "table_5.csv").write_text("a\n1\n")
    lines = verify_run(copied, data=twin, notebooks=notebooks).differences
    of_selection = [line for line in lines if line.startswith(f"{selection}, row 1")]
    assert any(line.endswith("computed 0.75") and "column score" in line for line in of_selection)
    assert [line for line in lines if line not in of_selection] == [
        "tables/table_sets.tex is gone; 01_sets wrote it",
        f"{losses} was edited: its checksum is not the one of when 02_train wrote it",
        "tables/table_5.csv was written by no step of the run",
        f"{sizes}, row 1 (training), column count: stored {count[1]} computed {count[0]}",
        f"{losses}, row 2, column loss: stored {loss[1]} computed {loss[0]}",
    ]


@pytest.mark.whole
def test_a_stale_family_is_named_and_nothing_is_trained(copied, notebooks, twin, tmp_path):
    changed = shutil.copytree(notebooks, tmp_path / "notebooks")
    text = (changed / "02_train.ipynb").read_text()
    (changed / "02_train.ipynb").write_text(text.replace("learning_rate=0.01", "learning_rate=0.02"))
    before = contents(copied)
    verdict = verify_run(copied, data=twin, notebooks=changed)
    assert not verdict.holds
    assert verdict.differences == []
    assert len(verdict.unchecked) == 1
    assert re.match(r"02_train \(cell \d raised StaleResultError: yolov2-jet-log is stale: ", verdict.unchecked[0])
    assert contents(copied) == before


def test_a_notebook_that_is_gone_is_named(folder, twin, tmp_path):
    verdict = verify_run(folder, data=twin, notebooks=tmp_path)
    assert verdict.unchecked[0] == f"01_sets (there is no {tmp_path / '01_sets.ipynb'})"
    assert not verdict.holds


def test_without_the_patterns_no_step_is_verified_and_each_is_named(copied, notebooks):
    shutil.rmtree(copied / "selections")  # they would tell where the patterns are
    verdict = verify_run(copied, notebooks=notebooks)
    missing = "(twin.cxi is not there; name it with --data)"
    assert verdict.unchecked == [f"01_sets {missing}", f"02_train {missing}"]
    assert f"not verified: 01_sets {missing}" in verdict.lines()


def test_other_patterns_than_the_runs_are_refused(folder, tmp_path, write_patterns):
    other = write_patterns(tmp_path / "other.cxi")
    with pytest.raises(WorkbookError, match=r"other.cxi is not the pattern file of this run: its SHA-256 is not"):
        verify_run(folder, data=other)
    with pytest.raises(WorkbookError, match=r"none.cxi: no such file"):
        verify_run(folder, data=tmp_path / "none.cxi")


def test_a_later_step_that_read_another_file_is_named(copied, tmp_path):
    record = json.loads((copied / "run.json").read_text())
    record["steps"]["02_train"]["reads"]["sets.csv"] = "0" * 64
    (copied / "run.json").write_text(json.dumps(record))
    assert verify_run(copied, notebooks=tmp_path).differences == [
        "02_train has read another sets.csv than the one that 01_sets wrote"
    ]


def damaged(record, change):
    step = record["steps"]["02_train"]
    steps = {
        "steps are no mapping": [1],
        "a step is a number": {"02_train": 5},
        "no reads": {"02_train": {**step, "reads": None}},
        "checksum is a number": {"02_train": {**step, "writes": {"a": 1}}},
        "outside": {"02_train": {**step, "writes": {"../../a": "1"}}},
        "reads outside": {"02_train": {**step, "reads": {**step["reads"], "../../a": "1"}}},
        "no profile": {"02_train": {**step, "profile": 3}},
        "unknown profile key": {"02_train": {**step, "profile": {**step["profile"], "secret": 3}}},
        "of an earlier version": {"02_train": {"seconds": 3.0}},
    }
    texts = {"truncated": json.dumps(record)[:5000], "no object": "[]", "empty": "{}"}
    return texts.get(change) or json.dumps(record | {"steps": steps[change]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("truncated", "holds no record of a run"),
        ("no object", "holds no record of a run"),
        ("steps are no mapping", "holds no section steps"),
        ("a step is a number", "holds no time of the step"),
        ("no reads", "is damaged"),
        ("checksum is a number", "is damaged"),
        ("outside", "is damaged"),
        ("reads outside", "is damaged"),
        ("no profile", "is damaged"),
        ("unknown profile key", r"is damaged \(the profile: unknown key secret"),
        ("of an earlier version", "does not say which step wrote which table"),
        ("empty", "does not say which step wrote which table"),
    ],
)
def test_a_damaged_record_is_one_clear_error(folder, tmp_path, change, message):
    text = damaged(json.loads((folder / "run.json").read_text()), change)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(WorkbookError, match=message) as caught:
        verify_run(tmp_path)
    assert "\n" not in str(caught.value)
    assert "run.json" in str(caught.value)


def test_a_name_below_results_is_a_run_and_another_name_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(verification, "RESULTS", folder.parent)
    assert verification.run_folder(Path("run")) == folder
    with pytest.raises(WorkbookError, match=r"rum: no run is there \(it would hold a run.json\)"):
        verification.run_folder(Path("rum"))


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict(), 0), (Verdict(["a differs"]), 1), (Verdict(unchecked=["b (stale)"]), 1)]
)
def test_the_command_ends_with_1_if_anything_differs_or_is_not_verified(monkeypatch, verdict, code):
    monkeypatch.setattr(verification, "verify_run", lambda *_, **__: verdict)
    done = CliRunner().invoke(workbook, ["verify", "demo"], catch_exceptions=False)
    assert done.exit_code == code
    assert done.output.splitlines() == verdict.lines()
