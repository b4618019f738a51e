import shutil
from pathlib import Path

import pytest

from helpers.system import PACKAGE, code_digest, modules_of
from helpers.training import darknet_training, ultralytics_training

MODULES = {
    "__init__.py": "VERSION = 1\n",
    "leaf.py": '"""Leaf."""\nVALUE = 1\n',
    "middle.py": "from small.leaf import VALUE\nTWICE = 2 * VALUE\n",
    "top.py": "import small.middle\n\ndef late():\n    from small import aside\n    return aside\n",
    "aside.py": "STYLE = 'look.style'\n",
    "look.style": "red\n",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from small import leaf\n",
    "group/__init__.py": "a = attach(__name__, submod_attrs={'part': ['PART', 'Part'], 'inner.lonely': ['LONELY']})\n",
    "group/part.py": "from ..leaf import VALUE\nPART = VALUE\n",
    "group/inner/__init__.py": "",
    "group/inner/lonely.py": "",
    "annotated.py": "from small.leaf import VALUE\ndef of(value: VALUE) -> VALUE:\n    return value\n",
    "holding.py": "from small.leaf import VALUE\nclass Holder:\n    value: VALUE\n",
    "asking.py": "from small import group\ngroup.PART\n",
    "system/clock.py": "",
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
        ("from small.leaf import VALUE\nVALUE", {"leaf.py"}),
        ("from small.leaf import VALUE", set()),
        ("from small import middle as m\nm.x", {"middle.py", "leaf.py"}),
        ("%matplotlib inline\n!ls\nimport small.top", {"top.py", "middle.py", "leaf.py"}),
        ("if True:\n    from small import aside\n    aside", {"aside.py", "look.style"}),
        ("from small.group import part\npart.x", {"group/part.py", "leaf.py"}),
        ("from small.group import PART\nPART", {"group/part.py", "leaf.py"}),
        ("from small.group import LONELY\nLONELY()", {"group/inner/lonely.py"}),
        ("from small import group\ngroup.LONELY", {"group/inner/lonely.py"}),
        ("from small import group\nprint(group)", {"group/part.py", "group/inner/lonely.py", "leaf.py"}),
        ("import small.group", {"group/part.py", "group/inner/lonely.py", "leaf.py"}),
        ("import small.asking", {"asking.py", "group/part.py", "leaf.py"}),
        ("import small.annotated", {"annotated.py"}),
        ("import small.holding", {"holding.py", "leaf.py"}),
        ("import small.system.clock", set()),
        ("from small import typed\ntyped", {"typed.py"}),
        ("from small.workbook import open_run", set()),
        ("from small import VERSION", set()),
        ("this is not Python", set()),
    ],
)
def test_modules_are_those_that_the_import_executes(package, code, modules):
    assert names(package, code) == modules


def test_a_name_that_one_cell_imports_and_another_uses_counts(package):
    assert names(package, "from small.leaf import VALUE", "print(VALUE)", "import small.group.inner.lonely") == {
        "leaf.py",
        "group/inner/lonely.py",
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


DARKNET, ULTRALYTICS = "helpers.training.darknet_training", "helpers.training.ultralytics_training"
RESULTS = {
    "twin": "helpers.simulation.twin",
    "darknet": DARKNET,
    "ultralytics": ULTRALYTICS,
    "em": "helpers.em.expectation_maximisation",
}


@pytest.fixture
def helpers_copy(tmp_path):
    return Path(shutil.copytree(PACKAGE, tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("patterns/description.py", set()),  # what `workbook info` draws
        ("workbook/report.py", set()),
        ("annotation/widget.py", set()),
        ("system/progress_lines.py", set()),
        ("training/darknet_training.py", {"darknet"}),  # the training step
        ("training/ultralytics_training.py", {"ultralytics"}),
        ("training/settings.py", {"darknet", "ultralytics"}),
        ("family.py", {"darknet", "ultralytics"}),
        ("rendering/augmentation.py", {"darknet", "ultralytics"}),
        ("simulation/shots.py", {"twin"}),
        ("em/expectation_maximisation.py", {"em"}),
    ],
)
def test_a_change_makes_stale_what_depends_on_it_and_nothing_else(helpers_copy, changed, stale):
    before = {name: code_digest(module, helpers_copy) for name, module in RESULTS.items()}
    with open(helpers_copy / changed, "a") as source:
        source.write("\nCHANGED = 1\n")
    assert {name for name, module in RESULTS.items() if code_digest(module, helpers_copy) != before[name]} == stale


def test_the_families_say_so_of_their_code_by_the_modules_that_train_them():
    assert (darknet_training.__name__, ultralytics_training.__name__) == (DARKNET, ULTRALYTICS)


def test_loading_a_network_does_not_load_the_training_loop():
    found = {
        str(path.relative_to(PACKAGE))
        for path in modules_of(["from helpers.classification import write_stable_selection\nwrite_stable_selection"])
    }
    assert "training/darknet_networks.py" in found
    assert not {"training/darknet_training.py", "training/plan.py", "rendering/augmentation.py"} & found
