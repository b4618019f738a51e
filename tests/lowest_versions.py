"""Print the oldest versions that pyproject.toml admits, as constraints for pip: `make test-lowest` tests with them.

`torch>=2.4` becomes `torch==2.4`. A name that is given as `NAME==VERSION` on the command line is pinned to that
instead, for a machine on which an older build cannot be had.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def lowest(entries: list[str]) -> dict[str, str]:
    """Package → its lower bound, of requirements such as `numpy>=1.26`.

    Raises
    ------
    ValueError
        If a requirement has no lower bound.
    """
    found = {}
    for entry in entries:
        match = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)(?:,.*)?", entry.replace(" ", ""))
        if match is None:
            raise ValueError(f"{PROJECT}: {entry!r} has no lower bound; write NAME>=VERSION")
        found[match[1]] = match[2]
    return found


def requirements() -> list[str]:
    """What the project and its tests need; another extra of the project (NAME[EXTRA]) is what it lists."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = {f"{project['name']}[{extra}]": entries for extra, entries in extras.items()}
    return [one for entry in project["dependencies"] + extras["test"] for one in own.get(entry, [entry])]


def main() -> None:
    """Print one `NAME==VERSION` a line."""
    bounds = lowest(requirements())
    bounds |= dict(given.split("==") for given in sys.argv[1:])
    print("\n".join(f"{name}=={version}" for name, version in bounds.items()))


if __name__ == "__main__":
    main()
