"""The frame around the code: what is installed, what the README says of the modules, what must not be here."""

import ast
import graphlib
import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib
import types
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


IN_A_ROOM = [path for path in MODULES if concept(path) not in ("__init__", "__main__")]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def order_in_readme():
    rows = [line.split("|")[1] for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def code_of(path):
    """Python of a module, or of all cells of a notebook."""
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def imported(path):
    """What a file imports of helpers, anywhere: ("helpers.patterns", "open_stack")."""
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "helpers")


def rooms_imported(path):
    names = {module.split(".")[1] if "." in module else name for module, name in imported(path)}
    return names & {concept(module) for module in MODULES}


def test_helpers_has_at_most_fourteen_rooms_and_six_modules():
    assert sum((entry / "__init__.py").is_file() for entry in PACKAGE.iterdir()) <= 14
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def test_the_readme_lists_every_room_once():
    assert sorted(order_in_readme()) == sorted({concept(path) for path in IN_A_ROOM})


@pytest.mark.parametrize("path", IN_A_ROOM, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_rooms_above_its_own_in_the_readme(path):
    order = order_in_readme()
    above = {*order[: order.index(concept(path))], concept(path)}
    assert rooms_imported(path) <= above


@pytest.mark.parametrize("path", [*MODULES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_other_rooms_are_entered_by_their_doors(path):
    own = concept(path) if path.suffix == ".py" else None
    for module, name in imported(path):
        room = PACKAGE / (module.split(".")[1] if "." in module else name or "") / "__init__.py"
        if room.parent == PACKAGE or concept(room) == own or not room.is_file() or path.name == "__main__.py":
            continue
        assert name, f"import {module}: name what is needed"
        assert module.count(".") <= 1, f"{module} is behind the door of {concept(room)}"
        assert "." not in module or name in importlib.import_module(module).__all__, f"{name} is not on that door"


@pytest.mark.parametrize("room", [path.parent.name for path in PACKAGE.glob("*/__init__.py")])
def test_every_name_on_a_door_opens(room):
    door = importlib.import_module(f"helpers.{room}")
    assert len(set(door.__all__)) == len(door.__all__) > 0
    assert all(not isinstance(getattr(door, name), types.ModuleType) for name in door.__all__)


def test_no_module_imports_itself_by_way_of_others():
    graph = {path: set(modules_of_one(path)) - {path} for path in IN_A_ROOM}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(set(IN_A_ROOM))


def modules_of_one(path):
    """Files that a module's imports name, looked for behind doors."""
    for module, name in imported(path):
        file = ROOT.joinpath(*module.split("."))
        if (file / f"{name}.py").is_file():
            yield file / f"{name}.py"
        elif file.with_suffix(".py").is_file():
            yield file.with_suffix(".py")
        elif name in getattr(importlib.import_module(module), "__all__", ()):
            yield Path(inspect.getfile(importlib.import_module(module))).parent / behind_the_door(module, name)


def behind_the_door(room, name):
    table = ast.parse((ROOT.joinpath(*room.split(".")) / "__init__.py").read_text())
    (names,) = [node.value for node in ast.walk(table) if isinstance(node, ast.keyword) and node.arg == "submod_attrs"]
    return next(f"{module.replace('.', '/')}.py" for module, on in ast.literal_eval(names).items() if name in on)


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
        f"import sys\n"
        f"from helpers.simulation import simulate\n"
        f"from helpers.training import Scorer, load_network, train_families\n"
        f"from helpers.classification import classify_files, follow, write_stable_selection\n"
        f"from helpers.evaluation import table_4\n"
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
        "helpers": ["profiles/*.yaml"],
        "helpers.annotation": ["*.css", "*.js"],
        "helpers.figures": ["style.mplstyle"],
        "helpers.workbook": ["*.html", "*.css", "*.yaml"],
    }.items():
        assert set(patterns) <= set(listed[folder])
        assert all(any(Path(ROOT, *folder.split(".")).glob(pattern)) for pattern in patterns)
