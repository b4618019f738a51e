"""README and docs: links lead somewhere, commands exist, the code runs, the numbers are those of the stored tables."""

import re

import pytest
from PIL import Image

from helpers import ROOT
from helpers.workbook.commands import workbook
from tests import main_table

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name / "README.md" for name in ("data", "results")),
]
CORE = (ROOT / "docs" / "core.md").read_text(encoding="utf-8")
FOREIGN = {"--lifetime"}
"""Options of other programs that stand alone in a text: Dask's."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_the_main_table_is_that_of_the_stored_tables():
    text = main_table.README.read_text(encoding="utf-8")
    assert main_table.with_main_table(text) == text, "write it anew: python tests/main_table.py"


@each_page
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[^)#]+)", PAGES[0].read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").iterdir()} == linked


def test_pictures_are_small_and_not_wider_than_a_page():
    for path in (ROOT / "docs").glob("*.png"):
        assert path.stat().st_size < 300_000
        with Image.open(path) as picture:
            assert picture.width <= 1280


def options(command):
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")} | {"--help"}


@each_page
def test_commands_and_their_options_exist(page):
    for name, rest in re.findall(r"\bworkbook ([a-z]+)\b([^`\n]*)", code_of(page)):
        assert name in workbook.commands, f"workbook {name}"
        used = set(re.findall(r"(?<!\S)--[a-z-]+", rest.partition(" #")[0]))
        assert used <= options(workbook.commands[name]), f"workbook {name}{rest}"


def code_of(page):
    """What stands in backquotes or in blocks of code, whose lines are indented or fenced."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n([\s\S]*?)^```$|^((?: {4}.*\n|\n)+)", text, re.MULTILINE)
    return "\n".join([*(part for block in blocks for part in block), *spans_of(text)])


def spans_of(text):
    return re.findall(r"`([^`\n]+)`", text)


@each_page
def test_options_that_stand_alone_are_those_of_a_command(page):
    known = FOREIGN.union(*map(options, workbook.commands.values()))
    alone = [span.split()[0] for span in spans_of(page.read_text(encoding="utf-8")) if span.startswith("--")]
    assert set(alone) <= known


@each_page
def test_targets_of_make_and_paths_exist(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE)) <= set(targets)
    inside = re.compile(r"(?:^|[`\s])((?:helpers|notebooks|docs|tests)/[\w./-]*)")
    assert [path for path in inside.findall(code_of(page)) if not (ROOT / path).exists()] == []


def test_the_five_classes_are_handed_on_by_their_rooms():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", CORE, re.MULTILINE)
    assert len(rows) == 5
    for name, room in rows:
        assert isinstance(getattr(__import__(f"helpers.{room}", fromlist=[name]), name), type)


@pytest.mark.whole
def test_the_way_of_one_pattern_is_one_that_can_be_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", CORE, re.DOTALL | re.MULTILINE)
    for block in blocks[:-1]:
        exec(compile(block, "docs/core.md", "exec"), names)
    imports, last = blocks[-1].split("\n\n")
    exec(imports, names)
    table = eval(last, names)
    assert names["stack"].shape == (64, 123, 240)
    assert names["counts"].shape == (1, 123, 240)
    assert tuple(names["images"].shape) == (1, 3, 64, 64)
    assert table["reference"].tolist()[:2] == ["manual", "truth"]
    assert table["selected"].tolist()[0] == names["selected"].sum()
    assert (tmp_path / "yolov2-jet-linear.csv").is_file()
    names["stack"].close()
