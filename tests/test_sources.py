import pytest

from helpers.sources import PACKAGE, code_digest, modules_of

MODULES = {
    "__init__.py": "VERSION = 1\n",
    "leaf.py": '"""Leaf."""\nVALUE = 1\n',
    "middle.py": "from small.leaf import VALUE\n",
    "top.py": "import small.middle\n\ndef late():\n    from small import aside\n    return aside\n",
    "aside.py": "STYLE = 'look.style'\n",
    "look.style": "red\n",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from small import leaf\n",
    "group/__init__.py": "from . import part\n",
    "group/part.py": "from ..leaf import VALUE\n",
    "group/lonely.py": "",
    "workbook/__init__.py": "from small import top\n",
}


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "small"
    for name, source in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    return folder


def names(package, *code):
    return {str(path.relative_to(package)) for path in modules_of(code, package)}


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import numpy, os.path", set()),
        ("from small.leaf import VALUE", {"leaf.py"}),
        ("from small import middle as m", {"middle.py", "leaf.py"}),
        ("%matplotlib inline\n!ls\nimport small.top", {"top.py", "middle.py", "leaf.py"}),
        ("if True:\n    from small import aside", {"aside.py", "look.style"}),
        ("from small.group import part", {"group/__init__.py", "group/part.py", "leaf.py"}),
        ("from small import group", {"group/__init__.py", "group/part.py", "leaf.py"}),
        ("from small import typed", {"typed.py"}),
        ("from small.workbook import open_run", set()),
        ("from small import VERSION", set()),
        ("this is not Python", set()),
    ],
)
def test_modules_are_those_that_the_import_executes(package, code, modules):
    assert names(package, code) == modules


def test_the_modules_of_all_cells_count(package):
    assert names(package, "import small.leaf", "import small.group.lonely") == {
        "leaf.py",
        "group/__init__.py",
        "group/part.py",
        "group/lonely.py",
    }


@pytest.mark.parametrize(
    ("file", "source", "changes"),
    [
        ("leaf.py", '"""Another docstring."""\n# a remark\nVALUE  =  1\n', False),
        ("leaf.py", '"""Leaf."""\nVALUE = 2\n', True),
        ("aside.py", "STYLE = None\n", False),
    ],
)
def test_the_checksum_sees_code_and_not_prose(package, file, source, changes):
    before = code_digest("small.top", package)
    (package / file).write_text(source)
    assert (code_digest("small.top", package) != before) is changes


def test_a_data_file_that_a_module_names_counts(package):
    before = code_digest("small.aside", package)
    (package / "look.style").write_text("blue\n")
    assert code_digest("small.aside", package) != before


def test_our_training_depends_on_the_networks_and_not_on_figures_or_jupyter():
    found = {str(path.relative_to(PACKAGE)) for path in modules_of(["from helpers import training"])}
    assert {"training.py", "darknet/network.py", "rendering.py"} <= found
    assert not {name for name in found if name.startswith(("figures", "workbook", "evaluation", "annotation_widget"))}
