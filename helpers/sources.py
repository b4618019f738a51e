"""The code that a notebook's results depend on: the modules that it imports, and all that those import.

Comments, docstrings and layout of a module do not count, and neither does `helpers.workbook`: it runs notebooks and
formats tables, but makes no number, and a better report page must not train seven families again. An import inside a
function does not count either: so a module says that its numbers do not come from there.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers import ROOT
from helpers.files import sha256

PACKAGE = ROOT / "helpers"
_MACHINERY = "workbook"


def modules_of(code: Iterable[str], package: Path = PACKAGE) -> list[Path]:
    """Modules of a package that code imports, with all that those import, and the data files that they name.

    Parameters
    ----------
    code
        Sources; lines with IPython's magics are left out.
    package
        Its folder; the name is that of the folder.

    Returns
    -------
    list of Path
        Sorted files. The package's own `__init__.py` (its version) and the machinery do not count.
    """
    waiting = [path for source in code for path in _imported(_cell_tree(source), package, package)]
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(ast.parse(path.read_text(encoding="utf-8")), path.parent, package)
    return sorted(found | {file for path in found for file in _data_files(path, package)})


def _cell_tree(source: str) -> ast.AST:
    """Syntax of a cell; empty if it is not Python (then the cell itself says so when it runs)."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def _imported(tree: ast.AST, folder: Path, package: Path) -> Iterator[Path]:
    """Files of the package that a module's imports name; `folder` is where the module lies."""
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, folder, package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield from _files_of(name, package)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Statements that importing a module executes, without those in functions and those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _executed(node)


def _absolute(node: ast.ImportFrom, folder: Path, package: Path) -> str:
    """The module that a `from … import` names, without leading dots."""
    if not node.level:
        return node.module or ""
    for _ in range(node.level - 1):
        folder = folder.parent
    return ".".join([*folder.relative_to(package.parent).parts, *filter(None, [node.module])])


def _files_of(module: str, package: Path) -> Iterator[Path]:
    """Files that importing a module of the package executes: its own, and the packages above it."""
    first, *parts = module.split(".")
    if first != package.name or parts[:1] == [_MACHINERY]:
        return
    for depth in range(1, len(parts) + 1):
        place = package.joinpath(*parts[:depth])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                yield path


def _data_files(module: Path, package: Path) -> Iterator[Path]:
    """Files beside the code (a style, a script for the browser) whose name occurs in a text of a module."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for path in package.rglob("*"):
        aside = path.suffix in (".py", ".pyc") or path.relative_to(package).parts[0] == _MACHINERY
        if path.is_file() and not aside and any(text.endswith(path.name) for text in texts):
            yield path


def source_digest(path: Path) -> str:
    """Checksum of what a module does: of its syntax tree without docstrings; of the bytes of other files."""
    if path.suffix != ".py":
        return sha256(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return text_digest(ast.dump(tree))


def text_digest(text: str) -> str:
    """Checksum of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(module: str, package: Path = PACKAGE) -> str:
    """Checksum of a module of the package and of all that it imports.

    Parameters
    ----------
    module
        For instance "helpers.simulation".
    package
        Its folder.
    """
    return text_digest("".join(map(source_digest, modules_of([f"import {module}"], package))))
