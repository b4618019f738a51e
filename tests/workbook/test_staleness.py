import json

import nbformat
import pytest

from helpers.errors import WorkbookError
from helpers.workbook import staleness

SECTIONS = {"seed": 1, "box": {"share": 0.9}}


@pytest.fixture
def step(tmp_path):
    """A finished step: its folder, its notebook's needs, and a function that says why it is stale."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "leaf.py").write_text("VALUE = 1\n")
    run = tmp_path / "run"
    (run / "tables").mkdir(parents=True)
    (run / "box.json").write_text("{}")
    (run / "tables" / "out.csv").write_text("a\n1\n")
    (run / "data.cxi").write_text("patterns")
    (run / "01.ipynb").write_text("{}")
    return Step(tmp_path, run)


class Step:
    def __init__(self, root, run):
        self.root, self.run = root, run
        self.code = ("from small import leaf", "leaf.VALUE")
        self.sections = json.loads(json.dumps(SECTIONS))
        self.files = {"the data file": run / "data.cxi"}
        self.finish()

    @property
    def needs(self):
        return staleness.Needs(self.code, ("seed",), ("box.json", "families/*.csv"), ("tables/*.csv",))

    def inputs(self, checksums):
        return staleness.inputs(self.needs, self.sections, self.run, self.files, checksums, package=self.root / "small")

    def finish(self):
        checksums = staleness.Checksums(self.run)
        written = staleness.outputs(self.needs, [self.run / "01.ipynb"], self.run, checksums)
        staleness.write_stamp(self.run / ".01.done", self.inputs(checksums), written)

    def why_stale(self):
        checksums = staleness.Checksums(self.run)
        return staleness.why_stale(self.run / ".01.done", self.inputs(checksums), self.run, checksums)


def test_a_finished_step_is_not_stale(step):
    assert step.why_stale() is None


def change_code(step):
    step.code = ("from small import leaf", "leaf.VALUE + 1")


def change_section(step):
    step.sections["seed"] = 2


def change_module(step):
    (step.root / "small" / "leaf.py").write_text("VALUE = 2\n")


def change_data(step):
    (step.run / "data.cxi").write_text("other patterns")


def change_read_file(step):
    (step.run / "box.json").write_text("[]")


def add_read_file(step):
    (step.run / "families").mkdir()
    (step.run / "families" / "a.csv").write_text("a\n")


def add_labels(step):
    step.files["the label file"] = step.run / "box.json"


def remove_read_file(step):
    (step.run / "box.json").unlink()


def edit_output(step):
    (step.run / "tables" / "out.csv").write_text("a\n2\n")


def delete_output(step):
    (step.run / "tables" / "out.csv").unlink()


def delete_stamp(step):
    (step.run / ".01.done").unlink()


def damage_stamp(step):
    (step.run / ".01.done").write_text('{"inputs":')


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_code, "code cells changed"),
        (change_section, "profile section seed changed"),
        (change_module, "small/leaf.py changed"),
        (change_data, "the data file changed"),
        (change_read_file, "box.json changed"),
        (add_read_file, "families/a.csv is new"),
        (add_labels, "the label file is new"),
        (remove_read_file, "box.json is gone"),
        (edit_output, "tables/out.csv was edited"),
        (delete_output, "tables/out.csv is gone"),
        (delete_stamp, "not run yet"),
        (damage_stamp, ".01.done is damaged"),
    ],
)
def test_each_change_makes_the_step_stale_and_is_named(step, change, reason):
    change(step)
    assert step.why_stale() == reason


def test_what_the_notebook_does_not_declare_does_not_matter(step):
    step.sections["box"]["share"] = 0.5
    (step.run / "other.json").write_text("{}")
    (step.run / "tables" / "of_a_later_step.csv").write_text("b\n")
    assert step.why_stale() is None


def test_a_file_is_read_again_only_if_size_or_time_differ(tmp_path, monkeypatch):
    (tmp_path / "large.cxi").write_text("patterns")
    first = staleness.Checksums(tmp_path).of(tmp_path / "large.cxi")
    monkeypatch.setattr(staleness, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert staleness.Checksums(tmp_path).of(tmp_path / "large.cxi") == first


def test_a_promised_file_that_is_missing_is_an_error(step):
    needs = staleness.Needs((), None, (), ("tables/table_1.csv",))
    with pytest.raises(WorkbookError, match=r"left no .*tables/table_1.csv, which its metadata promises"):
        staleness.outputs(needs, [], step.run, staleness.Checksums(step.run))


def test_without_a_declaration_every_section_counts(step):
    needs = staleness.Needs((), None, (), ())
    found = staleness.inputs(needs, SECTIONS, step.run, {}, staleness.Checksums(step.run))
    assert {"profile section seed", "profile section box"} <= set(found)


def test_an_unknown_section_is_refused(step):
    needs = staleness.Needs((), ("sed",), (), ())
    with pytest.raises(WorkbookError, match="section 'sed' that no profile has"):
        staleness.inputs(needs, SECTIONS, step.run, {}, staleness.Checksums(step.run))


def write_notebook(path, metadata):
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    notebook.cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("1 + 1")]
    nbformat.write(notebook, path)


def test_needs_are_the_code_cells_and_the_metadata(tmp_path):
    declared = {"profile": ["seed"], "reads": ["box.json"], "writes": ["tables/*.csv"]}
    write_notebook(tmp_path / "01.ipynb", {"workbook": declared})
    assert staleness.read_needs(tmp_path / "01.ipynb") == staleness.Needs(
        ("1 + 1",), ("seed",), ("box.json",), ("tables/*.csv",)
    )


def test_a_misspelt_declaration_is_refused(tmp_path):
    write_notebook(tmp_path / "01.ipynb", {"workbook": {"read": []}})
    with pytest.raises(WorkbookError, match=r"01.ipynb: unknown metadata workbook.read; known are profile, reads"):
        staleness.read_needs(tmp_path / "01.ipynb")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": [1]}'])
def test_a_broken_notebook_is_named(tmp_path, text):
    (tmp_path / "01.ipynb").write_text(text)
    with pytest.raises(WorkbookError, match=r"01.ipynb (is not a|holds no) notebook"):
        staleness.read_needs(tmp_path / "01.ipynb")


def test_tables_that_a_step_no_longer_makes_are_deleted_but_nothing_else(step):
    [stamp] = step.run.glob(".*.done")
    (step.run / "tables" / "of another step.csv").write_text("a\n1\n")
    staleness.delete_tables_and_figures(stamp, step.run)
    assert not (step.run / "tables" / "out.csv").exists()
    assert (step.run / "tables" / "of another step.csv").exists()
    assert (step.run / "box.json").exists()
    assert (step.run / "01.ipynb").exists()


@pytest.mark.parametrize("content", ["", '{"a": ', "[1]", "\x00"])
def test_remembered_checksums_that_are_damaged_are_made_anew(tmp_path, content):
    (tmp_path / ".checksums.json").write_text(content)
    (tmp_path / "file").write_text("abc")
    assert staleness.Checksums(tmp_path).of(tmp_path / "file").startswith("ba7816bf")
