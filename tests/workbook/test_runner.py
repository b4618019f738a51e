import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.errors import WorkbookError
from helpers.workbook import runner
from helpers.workbook.execution import StepFailedError, execute
from helpers.workbook.runner import run_workbook

PARAMETERS = 'profile = "demo"\nresults = None\ndata = None\nlabels = None'
OPEN = "from helpers.workbook import open_run\nrun = open_run(profile, results, data, labels)"
FIRST = [
    "import pandas as pd",
    'sets = pd.DataFrame({"set": ["size range", "test"], "patterns": [3, 2]})',
    'run.save_table(sets, "table_1", caption="Sets.")',
    "import matplotlib.pyplot as plt\nfrom helpers.system import is_sparse\nplt.plot([1, 2])\nplt.show()",
    'print("sparse:", is_sparse())',
    'import subprocess\nsubprocess.run(["echo", "of a process"], check=True)',
]
SECOND = [
    "import pandas as pd",
    'run.save_table(pd.read_csv(run.tables / "table_1.csv").assign(n=1), "table_2", caption="Again.")',
]


def write_notebook(path, title, code, parameters=PARAMETERS, **declared):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"workbook": declared, "kernelspec": kernel})
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_code_cell(source) for source in code]
    notebook.cells = [nbformat.v4.new_markdown_cell(f"# {title}"), first, *cells]
    nbformat.write(notebook, path)


def write_notebooks(folder):
    folder.mkdir()
    write_notebook(folder / "01_first.ipynb", "Look", [OPEN, *FIRST], profile=["seed"], writes=["tables/table_1.csv"])
    write_notebook(
        folder / "02_second.ipynb",
        "Count",
        [OPEN, *SECOND],
        profile=["box"],
        reads=["tables/table_1.csv"],
        writes=["tables/table_2.csv"],
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_patterns):
    """A run of two notebooks in real kernels: its folder, and what was printed."""
    root = tmp_path_factory.mktemp("workbook")
    write_notebooks(root / "notebooks")
    write_patterns(root / "data.cxi", "simulated twin")
    code = (
        "import signal, sys; from pathlib import Path; from helpers.workbook.runner import run_workbook\n"
        # a shell's background jobs ignore SIGINT, and so would their children
        "signal.signal(signal.SIGINT, signal.default_int_handler); root = Path('.')\n"
        "sys.exit(run_workbook('demo', results=root / 'run', data=root / 'data.cxi', notebooks=root / 'notebooks'))"
    )
    # ipykernel does not look at what processes print when it believes itself in a test
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return root / "run", done.stdout


def test_each_step_says_why_it_runs_and_shows_what_it_prints(finished):
    lines = finished[1].splitlines()
    assert lines[0] == "[1/2] 01_first: running (not run yet)"
    assert "sparse: True" in lines
    assert lines.count("of a process") == 1
    assert lines[-1].endswith("run/index.html")


def test_a_run_leaves_notebooks_pages_tables_and_a_record(finished):
    folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    expected = {"01_first.ipynb", "01_first.html", "02_second.ipynb", "02_second.html", "index.html", "run.json"}
    assert expected | {".01_first.done", ".02_second.done", ".checksums.json", "tables"} == names
    record = json.loads((folder / "run.json").read_text())
    assert set(record["steps"]) == {"01_first", "02_second"}
    assert record["data"]["simulated"] is True
    assert record["profile"]["name"] == "demo"
    assert record["versions"]["torch"].startswith("2.")


def test_the_page_of_a_notebook_holds_its_picture_and_loads_no_script_but_mathjax(finished):
    page = (finished[0] / "01_first.html").read_text()
    assert "data:image/png;base64," in page
    scripts = [part.split('"')[0] for part in page.split('<script src="')[1:]]
    assert [name for name in scripts if name and "mathjax" not in name.lower()] == []


class Workbook:
    """Two notebooks with the kernel replaced, and what was executed."""

    def __init__(self, root, monkeypatch, write_patterns):
        self.root, self.run = root, root / "run"
        write_notebooks(root / "notebooks")
        self.data = write_patterns(root / "data.cxi")
        self.executed = []
        self.parameters = {}
        monkeypatch.setattr(runner, "execute", self.execute)
        monkeypatch.setattr(runner, "write_page", lambda executed: executed.with_suffix(".html").write_text(""))

    def execute(self, notebook, executed, parameters):
        self.executed.append(notebook.stem)
        self.parameters = parameters
        (self.run / "tables").mkdir(exist_ok=True)
        executed.write_text('{"cells": []}')
        (self.run / "tables" / f"table_{int(notebook.name[:2])}.csv").write_text("set,patterns\n")

    def again(self, **options):
        self.executed.clear()
        options = {"results": self.run, "data": self.data, "notebooks": self.root / "notebooks", **options}
        assert run_workbook("demo", **options) == 0
        return list(self.executed)


@pytest.fixture
def workbook(tmp_path, monkeypatch, write_patterns):
    monkeypatch.setattr(runner, "write_report", lambda folder: folder / "index.html")
    workbook = Workbook(tmp_path, monkeypatch, write_patterns)
    assert workbook.again() == ["01_first", "02_second"]
    return workbook


def test_nothing_runs_when_nothing_has_changed(workbook, capsys):
    assert workbook.again() == []
    assert "[2/2] 02_second: up to date" in capsys.readouterr().out


def test_a_deleted_output_is_made_again(workbook, capsys):
    (workbook.run / "tables" / "table_2.csv").unlink()
    assert workbook.again() == ["02_second"]
    assert "02_second: running (tables/table_2.csv is gone)" in capsys.readouterr().out


def test_an_edited_output_is_made_again_and_its_reader_stays_if_it_comes_out_the_same(workbook):
    (workbook.run / "tables" / "table_1.csv").write_text("edited\n")
    assert workbook.again() == ["01_first"]


def test_only_looks_at_the_steps_that_are_named(workbook):
    for path in (workbook.run / "tables").iterdir():
        path.unlink()
    assert workbook.again(only=["02"]) == ["02_second"]


def test_an_unknown_number_lists_the_known_ones(workbook):
    with pytest.raises(WorkbookError, match="there is no notebook 09; there are 01, 02 in"):
        workbook.again(only=["09"])


def test_fresh_starts_from_nothing_and_says_what_it_deletes(workbook, capsys):
    (workbook.run / "families").mkdir()
    (workbook.run / "families" / "old.csv").write_text("")
    capsys.readouterr()
    assert workbook.again(fresh=True) == ["01_first", "02_second"]
    assert not (workbook.run / "families").exists()
    names = "01_first.html, 01_first.ipynb, 02_second.html, 02_second.ipynb, families (1), run.json, tables (2)"
    assert capsys.readouterr().out.startswith(f"deleting from {workbook.run}: {names}\n")


def test_fresh_keeps_what_people_have_done_by_hand(workbook):
    (workbook.run / "annotation.json").write_text("an hour of work")
    assert workbook.again(fresh=True) == ["01_first", "02_second"]
    assert (workbook.run / "annotation.json").read_text() == "an hour of work"


def test_fresh_that_is_killed_half_way_goes_on(workbook, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            workbook.again(fresh=True)
    assert (workbook.run / "run.json").exists()
    assert workbook.again(fresh=True) == ["01_first", "02_second"]


def test_a_run_that_was_killed_before_it_had_a_record_goes_on(workbook, tmp_path):
    (tmp_path / "new").mkdir()
    for name in (".lock", ".lock.holder", ".run.json.1@elsewhere.partial"):
        (tmp_path / "new" / name).touch()
    workbook.run = tmp_path / "new"
    assert workbook.again() == ["01_first", "02_second"]


def test_fresh_does_not_touch_a_folder_of_other_things(workbook, tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.tex").write_text("years of work")
    with pytest.raises(WorkbookError, match="holds other files"):
        workbook.again(fresh=True, results=tmp_path / "documents")
    assert (tmp_path / "documents" / "thesis.tex").read_text() == "years of work"


def test_notebooks_get_full_paths(workbook, monkeypatch):
    (workbook.root / "labels.csv").write_text("index,single\n0,1\n")
    monkeypatch.chdir(workbook.root)
    assert workbook.again(labels=Path("labels.csv")) == ["01_first", "02_second"]
    assert workbook.parameters == {
        "profile": "demo",
        "results": str(workbook.run),
        "data": str(workbook.data),
        "labels": str(workbook.root / "labels.csv"),
    }


def test_a_failed_step_is_one_line_and_code_1_and_runs_again(workbook, monkeypatch, capsys):
    def fail(notebook, executed, parameters):
        raise StepFailedError("02_second", "cell 5 raised RuntimeError: no", "there")

    (workbook.run / ".02_second.done").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "execute", fail)
        options = {"results": workbook.run, "data": workbook.data, "notebooks": workbook.root / "notebooks"}
        assert run_workbook("demo", **options) == 1
    error = capsys.readouterr().err
    assert error == (
        "02_second failed: cell 5 raised RuntimeError: no. Open there; the same command continues from here\n"
    )
    assert workbook.again() == ["02_second"]


def test_a_promise_that_is_not_kept_fails_the_step(workbook, monkeypatch, capsys):
    write_notebook(workbook.root / "notebooks" / "02_second.ipynb", "Count", ["2"], writes=["tables/none.csv"])
    options = {"results": workbook.run, "data": workbook.data, "notebooks": workbook.root / "notebooks"}
    assert run_workbook("demo", **options) == 1
    assert "tables/none.csv, which its metadata promises" in capsys.readouterr().err


def test_an_error_in_a_real_kernel_names_cell_kind_and_file(tmp_path, write_patterns, capsys):
    (tmp_path / "notebooks").mkdir()
    failing = ["1 + 1", 'raise RuntimeError("no light\\nmore of it")']
    write_notebook(tmp_path / "notebooks" / "01_fail.ipynb", "Fail", failing, parameters="fluence = 1")
    data = write_patterns(tmp_path / "data.cxi")
    code = run_workbook("demo", results=tmp_path / "run", data=data, notebooks=tmp_path / "notebooks")
    executed = tmp_path / "run" / "01_fail.ipynb"
    assert code == 1
    assert capsys.readouterr().err == (
        f"01_fail failed: cell 3 raised RuntimeError: no light. Open {executed}; the same command continues from here\n"
    )
    assert "no light" in executed.read_text()
    assert not list((tmp_path / "run").glob(".01_fail*"))


def test_the_notebooks_run_in_the_python_that_runs_the_workbook(tmp_path, monkeypatch):
    """A kernel called python3 that belongs to another Python comes first (nbconvert #953, papermill #251)."""
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["/no/such/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Other"}
    (other / "kernel.json").write_text(json.dumps({**spec, "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    write_notebook(tmp_path / "01_where.ipynb", "Where", ["import sys\nprint(sys.executable)"])
    execute(tmp_path / "01_where.ipynb", tmp_path / "executed.ipynb", {})
    executed = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text.strip() == sys.executable
