"""Fingerprint of the code that a result depends on: the modules that it imports, and all that those import.

The door of a room (its `__init__`) is looked through: a name counts as the module that defines it. Comments, docstrings
and layout do not count; nor do types that only annotate functions (those of a class's fields do), imports inside a
function (a module says so that its numbers do not come from there), and `errors`, `system` and `workbook`, which make
no number: a better report page must not train seven families again.
"""

import ast
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from helpers import ROOT
from helpers.system.files import sha256

PACKAGE = ROOT / "helpers"
_MACHINERY = ("errors", "system", "workbook")
"""Rooms that make no number."""
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules_of(code: Iterable[str], package: Path = PACKAGE) -> list[Path]:
    """Modules of a package that code imports, with all that those import, and the data files that they name.

    Parameters
    ----------
    code
        Sources, such as the cells of a notebook; lines with IPython's magics are left out.
    package
        Folder of the package, which bears its name.

    Returns
    -------
    list of Path
        Sorted files. The package's own `__init__.py` (its version), doors and the machinery do not count.
    """
    cells = ast.Module(body=[node for source in code for node in _cell_tree(source).body], type_ignores=[])
    waiting = list(_imported(cells, package, package))
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(ast.parse(path.read_text(encoding="utf-8")), path.parent, package)
    return sorted(found | {file for path in found for file in _data_files(path, package)})


def _cell_tree(source: str) -> ast.Module:
    """Syntax of a cell; empty if it is not Python (then the cell itself says so when it runs)."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!", "?"))]
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def _imported(tree: ast.AST, folder: Path, package: Path) -> Iterator[Path]:
    """Files of the package that a module's imports lead to; `folder` is where the module lies."""
    attributes = _attributes_used(tree)
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(alias.name, None, package)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, folder, package)
            for alias in node.names:
                used = attributes.get(alias.asname or alias.name, set())
                if used is None or used:
                    yield from _files_of_name(base, alias.name, used, package)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Statements that importing a module executes, without those in functions and those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _executed(node)


def _attributes_used(tree: ast.AST) -> dict[str, set[str] | None]:
    """Names used outside annotations of functions → the attributes asked of each; None where it is used as a whole."""
    used: dict[str, set[str] | None] = defaultdict(set)
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (known := used[node.value.id]) is not None:
                known.add(node.attr)
            continue
        if isinstance(node, ast.Name):
            used[node.id] = None
        aside = node.annotation if isinstance(node, ast.arg) else getattr(node, "returns", None)
        waiting += [child for child in ast.iter_child_nodes(node) if child is not aside]
    return used


def _absolute(node: ast.ImportFrom, folder: Path, package: Path) -> str:
    """The module that a `from … import` names, without leading dots."""
    if not node.level:
        return node.module or ""
    for _ in range(node.level - 1):
        folder = folder.parent
    return ".".join([*folder.relative_to(package.parent).parts, *filter(None, [node.module])])


def _files_of_name(base: str, name: str, used: set[str] | None, package: Path) -> Iterator[Path]:
    """Files behind `from base import name`, of which the attributes `used` are asked (None: all of it)."""
    if _path_of(f"{base}.{name}", package):
        yield from _files_of(f"{base}.{name}", used, package)
    else:
        yield from _files_of(base, {name}, package)


def _files_of(module: str, names: set[str] | None, package: Path) -> Iterator[Path]:
    """Files that define names of a module: its own, or those that its door names; None stands for all names."""
    path = _path_of(module, package)
    if path is None:
        return
    door = _door(path)
    if door is None:
        yield path
    for name in door or ():
        if names is None or name in names:
            yield from _files_of(f"{module}.{door[name]}", None, package)


def _path_of(module: str, package: Path) -> Path | None:
    """The file of a module that counts; None for modules of other packages, the package itself and the machinery."""
    first, *parts = module.split(".")
    if first != package.name or not parts or parts[0] in _MACHINERY:
        return None
    stem = package.joinpath(*parts)
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _door(path: Path) -> dict[str, str] | None:
    """Names that the door of a room hands on → the module below it that defines them; None if it is no door."""
    if path.name != "__init__.py":
        return None
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            return {name: module for module, names in ast.literal_eval(node.value).items() for name in names}
    return None


def _data_files(module: Path, package: Path) -> Iterator[Path]:
    """Files beside the code (a style, a script for the browser) whose name occurs in a text of a module."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for path in package.rglob("*"):
        aside = path.suffix in (".py", ".pyc") or path.relative_to(package).parts[0] in _MACHINERY
        if path.is_file() and not aside and any(text.endswith(path.name) for text in texts):
            yield path


def source_digest(path: Path) -> str:
    """Checksum of what a module does: of its syntax tree without docstrings; of the bytes of other files."""
    if path.suffix != ".py":
        return sha256(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node):
            node.body = node.body[1:]
    return text_digest(ast.dump(tree))


def text_digest(text: str) -> str:
    """Checksum of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(module: str, package: Path = PACKAGE) -> str:
    """Checksum of a module of the package (dotted name; of a room all names on its door) and of all that it imports."""
    return text_digest("".join(map(source_digest, modules_of([f"import {module}"], package))))
