import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from helpers import ROOT
from tests.lowest_versions import lowest, requirements


def printed(*pins):
    command = [sys.executable, ROOT / "tests" / "lowest_versions.py", *pins]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.split("==") for line in done.stdout.splitlines())


def test_every_dependency_gets_the_oldest_version_that_it_admits_and_that_is_no_newer_than_the_tested_one():
    wanted = [Requirement(entry) for entry in requirements()]
    found = printed()
    assert list(found) == [requirement.name for requirement in wanted]
    assert {"numpy", "distributed", "pytest"} < set(found)
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    tested = dict(line.lower().split("==") for line in pins)
    for requirement in wanted:
        assert requirement.specifier.contains(found[requirement.name])
        assert requirement.specifier.contains(tested[requirement.name.lower()])


def test_a_pin_replaces_a_bound():
    assert printed("torch==2.13.0") == printed() | {"torch": "2.13.0"}


@pytest.mark.parametrize("entry", ["numpy", "numpy==1.26", "numpy<2", "numpy>1"])
def test_a_dependency_without_a_lower_bound_is_refused(entry):
    with pytest.raises(ValueError, match="has no lower bound"):
        lowest(["pandas>=2.2", entry])


def test_the_target_of_make_installs_them_in_a_folder_of_their_own():
    command = ["make", "--no-print-directory", "--dry-run", "--always-make", "test-lowest", "PINS=torch==2.13.0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "tests/lowest_versions.py torch==2.13.0 > .venv-lowest/constraints.txt" in done
    assert "-c .venv-lowest/constraints.txt -e" in done
    assert done.splitlines()[-1] == ".venv-lowest/bin/python -m pytest -m 'whole or not whole'"
