"""`workbook verify` on a whole run: as it is, edited, with forged checksums, and with what it needs missing."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from helpers import ROOT
from helpers.errors import WorkbookError
from helpers.system import sha256
from helpers.workbook import load_profile, verification
from helpers.workbook.commands import workbook
from helpers.workbook.recomputation import TABLES, StoredStep
from helpers.workbook.record import written_by
from helpers.workbook.run import twin_path
from helpers.workbook.table_comparison import differences, read_cells
from helpers.workbook.verification import verify_run

PROFILE = load_profile(ROOT / "tests" / "tiny.yaml")
FIRST, SECOND = PROFILE.families[:2]


def write_cells(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def with_another_digit(text):
    """The same text with its last digit raised by one; a letter more where there is no digit."""
    places = [place for place, sign in enumerate(text.partition("e")[0]) if sign.isdigit()]
    if not places:
        return f"{text}x"
    place = places[-1]
    return f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}"


def forge(folder, *files):
    """Put the checksums of edited files into run.json, wherever they are named."""
    path = folder / "run.json"
    record = json.loads(path.read_text())
    for entry in record["steps"].values():
        for file in files:
            for part in ("reads", "writes"):
                if file in entry.get(part, {}):
                    entry[part][file] = sha256(folder / file)
    path.write_text(json.dumps(record))


@pytest.fixture(scope="module")
def folder(tiny_run):
    return tiny_run[0]


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "tiny")


def test_a_run_verifies_without_a_gpu_and_without_jupyter(folder):
    code = (
        "import sys\nfrom pathlib import Path\nfrom helpers.workbook.verification import verify_run\n"
        "verdict = verify_run(Path(sys.argv[1]))\nprint(*verdict.lines(), sep='\\n')\n"
        "heavy = {'IPython', 'ipywidgets', 'anywidget', 'ipykernel', 'papermill', 'nbclient', 'nbconvert'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "error", "-c", code, folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    tables = len(list((folder / "tables").glob("*.csv")))
    files = len(written_by(json.loads((folder / "run.json").read_text())))
    lists = len(PROFILE.families) + 2
    counts = f"{tables} tables and {lists} lists of patterns recomputed, {files} checksums compared: no difference"
    assert done.stdout.splitlines() == [counts, "[]"]


def test_every_table_of_the_run_is_known(folder):
    assert {path.stem for path in (folder / "tables").glob("*.csv")} == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_digit_more_in_any_cell_of_a_table_is_found_and_named(folder, name):
    record = json.loads((folder / "run.json").read_text())
    author, _ = written_by(record)[f"tables/{name}.csv"]
    step = StoredStep(folder, record["steps"][author], twin_path(PROFILE), None)
    table, stored = TABLES[name](step), read_cells(folder / "tables" / f"{name}.csv")
    step.close()
    assert list(differences(name, stored, table, with_rounding=False)) == []
    head, *rows = stored
    for row in range(1, len(rows) + 1):
        for column, heading in enumerate(head):
            edited = [list(cells) for cells in stored]
            edited[row][column] = with_another_digit(stored[row][column])
            (line,) = differences(name, edited, table, with_rounding=False)
            assert line.startswith(f"{name}, row {row} (")
            assert f", column {heading}: stored {edited[row][column]}, recomputed " in line
            assert line.endswith(f"recomputed {stored[row][column] or 'nothing'}")


def test_rounding_is_forgiven_in_an_unedited_table_only_and_no_more_than_that():
    table = pd.DataFrame({"family": ["a"], "f1": [0.3], "largest_difference": [1e-7]})
    off = [["family", "f1", "largest_difference"], ["a", "0.30000000000000004", "2e-07"]]
    assert list(differences("table", off, table, with_rounding=True)) == []
    assert len(list(differences("table", off, table, with_rounding=False))) == 2
    wrong = [off[0], ["a", "0.300001", "2e-05"]]
    assert len(list(differences("table", wrong, table, with_rounding=True))) == 2


def test_missing_and_added_rows_and_columns_are_named():
    table = pd.DataFrame({"family": ["a", "b"], "n": [1, 2]})
    assert list(differences("t", [["family", "n"], ["a", "1"]], table, with_rounding=True)) == [
        "t: 1 rows are stored, 2 recomputed",
        "t, row 2 (b), column family: stored nothing, recomputed b",
        "t, row 2 (b), column n: stored nothing, recomputed 2",
    ]
    stored = [["family", "n", "x"], ["a", "1", "5"], ["b", "2", "5", "6"]]
    assert list(differences("t", stored, table, with_rounding=True)) == [
        "t: column x should not be there",
        "t, row 2 (b): has 4 cells under 3 headings",
    ]
    assert next(differences("t", [], table, with_rounding=True)) == "t: column family is not there"


@pytest.fixture(scope="module")
def attacked(folder, tmp_path_factory):
    """A run with one digit changed in each table and more; what verify says, and the lines that it should say."""
    copy, choice = shutil.copytree(folder, tmp_path_factory.mktemp("attacked") / "tiny"), random.Random(4)
    expected = []
    for name in TABLES:
        path = copy / "tables" / f"{name}.csv"
        rows = read_cells(path)
        row, column = choice.randrange(1, len(rows)), choice.randrange(len(rows[0]))
        before, rows[row][column] = rows[row][column], with_another_digit(rows[row][column])
        write_cells(path, rows)
        shown = f"column {rows[0][column]}: stored {rows[row][column]}, recomputed {before or 'nothing'}"
        expected.append((f"{name}, row {row} (", shown))
    rows = read_cells(copy / "selections" / f"{FIRST}.csv")
    place = rows[0].index("single")
    rows[3][place] = str(1 - int(rows[3][place]))
    write_cells(copy / "selections" / f"{FIRST}.csv", rows)
    picture = bytearray((copy / "figures" / "figure_3.png").read_bytes())
    picture[200] ^= 1
    (copy / "figures" / "figure_3.png").write_bytes(picture)
    (copy / "figures" / "figure_4.pdf").unlink()
    (copy / "tables" / "table_5.csv").write_text("a\n1\n")
    done = CliRunner().invoke(workbook, ["verify", str(copy)], catch_exceptions=False)
    return done, expected


def test_one_digit_in_each_table_fails_and_each_is_named(attacked):
    done, expected = attacked
    assert done.exit_code == 1
    for name, shown in expected:
        assert any(line.startswith(name) and line.endswith(shown) for line in done.output.splitlines()), (name, shown)


def test_edited_files_are_named_with_the_step_that_wrote_them(attacked):
    lines = attacked[0].output.splitlines()
    for line in (
        "figures/figure_3.png was edited: its checksum is not the one of when 02_preprocessing_and_rendering wrote it",
        "figures/figure_4.pdf is gone; 02_preprocessing_and_rendering wrote it",
        "tables/table_5.csv was written by no step of the run",
        "tables/table_2.csv was edited: its checksum is not the one of when 05_validation wrote it",
    ):
        assert line in lines
    edited = [line for line in lines if " was edited: " in line]
    assert len(edited) == len(TABLES) + 2
    assert any(line.startswith(f"selections/{FIRST}.csv, row 3 (") and "column single" in line for line in lines)
    assert lines[-1].endswith(f"{len(lines) - 1} differences")


def test_replaced_scores_fail_although_their_checksums_are_forged(copied):
    families = copied / "families"
    for scored in ("validation", "test"):
        shutil.copyfile(families / SECOND / f"scores_{scored}.csv", families / FIRST / f"scores_{scored}.csv")
    changed = [f"families/{FIRST}/scores_{scored}.csv" for scored in ("validation", "test")]
    plain = verify_run(copied).differences
    assert [line for line in plain if line.startswith(changed[1])] == [
        f"{changed[1]} was edited: its checksum is not the one of when 07_test_and_comparison wrote it"
    ]
    forge(copied, *changed)
    found = verify_run(copied).differences
    assert not [line for line in found if "was edited" in line or "has read another" in line]
    assert [line for line in found if line.startswith(f"selections/{FIRST}.csv, row 1 (")]
    assert set(plain) - set(found) == {line for line in plain if "was edited" in line}
    of_tables = {line.split(",")[0] for line in found if line.startswith("table_")}
    assert {"table_2", "table_3"} & of_tables


def test_an_edited_number_with_a_forged_checksum_fails(copied):
    path = copied / "tables" / "table_4.csv"
    rows = read_cells(path)
    column = rows[0].index("accuracy")
    rows[1][column] = str(float(rows[1][column]) + 1e-6)
    write_cells(path, rows)
    forge(copied, "tables/table_4.csv")
    (line,) = verify_run(copied).differences
    assert line.startswith(f"table_4, row 1 ({FIRST}, manual), column accuracy: stored {rows[1][column]}, recomputed ")


def test_other_settings_in_the_record_fail(copied):
    record = json.loads((copied / "run.json").read_text())
    record["steps"]["01_data_exploration"]["profile"]["seed"] += 1
    (copied / "run.json").write_text(json.dumps(record))
    lines = verify_run(copied).differences
    assert lines[0].startswith("sets.csv, row ")
    assert lines[-1].startswith("sets.csv: ")
    assert len(lines) == 6


def test_a_later_step_that_read_another_file_is_named(copied):
    record = json.loads((copied / "run.json").read_text())
    record["steps"]["07_test_and_comparison"]["reads"]["sets.csv"] = "0" * 64
    (copied / "run.json").write_text(json.dumps(record))
    assert verify_run(copied).differences == [
        "07_test_and_comparison has read another sets.csv than the one that 01_data_exploration wrote"
    ]


def test_what_cannot_be_read_is_a_difference_and_not_a_crash(copied):
    (copied / "families" / FIRST / "scores_test.csv").write_bytes(b"\x00pattern\n\xff,,,\n")
    (copied / "em" / "choice.json").write_text("{}")
    lines = verify_run(copied).differences
    for name in ("table_3", "table_4", "table_em", "selections/em.csv", f"selections/{FIRST}.csv"):
        assert any(line.startswith(f"{name} cannot be recomputed from what is stored (") for line in lines), name


def test_without_the_patterns_what_needs_them_is_named_and_the_rest_is_checked(copied, monkeypatch):
    monkeypatch.setattr(verification, "_data_file", lambda *_: None)
    verdict = verify_run(copied)
    assert verdict.holds
    missing = f"(the patterns of {twin_path(PROFILE).name} are not there; name them with --data)"
    needing = ["sets.csv", "table_rendering", "table_resize", "table_box", "table_consistency"]
    assert sorted(verdict.unchecked) == sorted(f"{name} {missing}" for name in needing)
    assert verdict.tables == len(TABLES) - 4
    assert f"not recomputed: sets.csv {missing}" in verdict.lines()


def test_other_patterns_than_the_runs_are_refused(folder, tmp_path, write_patterns):
    other = write_patterns(tmp_path / "other.cxi")
    with pytest.raises(WorkbookError, match=r"other.cxi is not the pattern file of this run: its SHA-256 is not"):
        verify_run(folder, data=other)
    with pytest.raises(WorkbookError, match=r"none.cxi: no such file"):
        verify_run(folder, data=tmp_path / "none.cxi")


def damaged(record, change):
    step = record["steps"]["04_training"]
    return {
        "truncated": lambda: json.dumps(record)[:5000],
        "no object": lambda: "[]",
        "steps are no mapping": lambda: json.dumps(record | {"steps": [1]}),
        "a step is a number": lambda: json.dumps(record | {"steps": {"04_training": 5}}),
        "no reads": lambda: json.dumps(record | {"steps": {"04_training": {**step, "reads": None}}}),
        "checksum is a number": lambda: json.dumps(record | {"steps": {"04_training": {**step, "writes": {"a": 1}}}}),
        "outside": lambda: json.dumps(record | {"steps": {"04_training": {**step, "writes": {"../../a": "1"}}}}),
        "no profile": lambda: json.dumps(record | {"steps": {"04_training": {**step, "profile": 3}}}),
        "unknown profile key": lambda: json.dumps(
            record | {"steps": {"04_training": {**step, "profile": {"secret": 3}}}}
        ),
        "of an earlier version": lambda: json.dumps(record | {"steps": {"04_training": {"seconds": 3.0}}}),
        "empty": lambda: "{}",
    }[change]()


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
        ("no profile", "is damaged"),
        ("unknown profile key", r"is damaged \(unknown key secret"),
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
    assert verification.run_folder(Path("tiny")) == folder
    with pytest.raises(WorkbookError, match=r"tinny: no run is there \(it would hold a run.json\)"):
        verification.run_folder(Path("tinny"))
