"""The frame around the code: what is installed, what the README says of the modules, what must not be here."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import helpers

ROOT = helpers.ROOT
PACKAGE = ROOT / "helpers"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_environment_yml_is_python_pip_and_the_package():
    assert yaml.safe_load((ROOT / "environment.yml").read_text()) == {
        "name": "single-hit-workbook",
        "channels": ["conda-forge"],
        "dependencies": ["python=3.11", "pip", {"pip": ["-c constraints.txt", "-e ."]}],
    }


def test_every_dependency_is_constrained_to_one_version():
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(entry for extra in extras.values() for entry in extra)]
    names = {normalized(re.match(r"[\w.-]+", entry)[0]) for entry in wanted} - {PROJECT["name"]}
    assert names <= {normalized(name) for name in constraints()}


def test_the_tests_have_all_extras():
    extras = PROJECT["optional-dependencies"]
    assert {f"{PROJECT['name']}[{name}]" for name in extras if name != "test"} <= set(extras["test"])


def test_constraints_are_exact_sorted_and_without_places():
    known = constraints()
    assert list(known) == sorted(known, key=str.lower)
    assert all(re.fullmatch(r"\d[\w.]*", number) for number in known.values())


def test_torch_torchvision_and_ultralytics_are_those_that_fit_together():
    known = constraints()
    assert (known["torch"], known["torchvision"], known["ultralytics"]) == ("2.13.0", "0.28.0", "8.4.190")


def test_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == helpers.__version__
    assert citation["license"] == PROJECT["license"] == "AGPL-3.0-or-later"
    assert (citation["references"][0]["start"], citation["references"][0]["year"]) == ("025014", 2021)


def test_the_licence_is_the_agpl():
    assert (ROOT / "LICENSE").read_text().split("\n")[0].strip() == "GNU AFFERO GENERAL PUBLIC LICENSE"


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()


@pytest.mark.parametrize("target", ["demo", "test", "lab", "bench"])
def test_every_target_of_make_sets_up_its_environment(target):
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "-m venv .venv" in done.stdout
    assert "-c constraints.txt -e" in done.stdout


def concept(path):
    """The module or package below helpers/ that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES_WITH_A_PLACE = [path for path in MODULES if concept(path) not in ("__init__", "__main__")]


def order_in_readme():
    rows = [line.split("|")[1] for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def imported_at_load(path):
    """Modules of helpers that a file imports outside functions and outside `if TYPE_CHECKING`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
            inner = node.module.split(".")[1:]
            names |= {inner[0]} if inner else {alias.name for alias in node.names}
    return names & {concept(module) for module in MODULES}


def test_the_readme_lists_every_module_once():
    assert sorted(order_in_readme()) == sorted({concept(path) for path in MODULES_WITH_A_PLACE})


@pytest.mark.parametrize("path", MODULES_WITH_A_PLACE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_those_above_it_in_the_readme(path):
    order = order_in_readme()
    above = {*order[: order.index(concept(path))], concept(path)}
    assert imported_at_load(path) <= above


def lines_of_code(path):
    """Lines without those of docstrings, comments and blank ones."""
    source = path.read_text(encoding="utf-8")
    texts = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    texts = [node for node in texts if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)]
    prose = {number for node in texts for number in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(source.splitlines(), start=1)
    return sum(number not in prose and line.strip() != "" and line.strip()[0] != "#" for number, line in lines)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_at_most_300_lines_of_code(path):
    assert lines_of_code(path) <= 300


def test_training_and_classification_load_neither_jupyter_nor_ultralytics():
    heavy = "{'IPython', 'ipywidgets', 'anywidget', 'papermill', 'ultralytics', 'torchvision', 'matplotlib'}"
    code = (
        f"import sys, helpers.simulation, helpers.training, helpers.classification, helpers.evaluation\n"
        f"print(*sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_nothing_in_the_project_points_outside_it():
    texts = [*MODULES, *(ROOT / "notebooks").glob("*.ipynb"), *PACKAGE.rglob("*.yaml"), ROOT / "Makefile"]
    texts += [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "constraints.txt", ROOT / "pyproject.toml"]
    outside = re.compile(rf"\.\./shared|{re.escape(str(ROOT))}\b|/root/|/home/|file:///|/opt/")
    assert [str(path) for path in texts if outside.search(path.read_text(encoding="utf-8"))] == []


def test_python_m_helpers_is_the_command():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "helpers", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"workbook, version {helpers.__version__}\n"


def test_the_profiles_and_templates_are_part_of_the_package():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for folder, patterns in {
        "helpers": ["profiles/*.yaml", "addresses.yaml"],
        "helpers.workbook": ["*.html", "*.css"],
    }.items():
        assert set(patterns) <= set(listed[folder])
        assert all(any(Path(ROOT, *folder.split(".")).glob(pattern)) for pattern in patterns)
