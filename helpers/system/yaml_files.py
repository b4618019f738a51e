"""YAML files that people write: plain values only, each key once, and aliases that stay small."""

from pathlib import Path
from typing import Any

import yaml

from helpers.errors import WorkbookError
from helpers.system.tables_and_json import in_short

_LARGEST_FILE = 1 << 20
_MOST_VALUES = 20_000
_DEEPEST = 30


class _Loader(yaml.SafeLoader):
    """Refuse values in values in values at once: PyYAML would take seconds to come to the end of them."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int | None) -> yaml.Node | None:
        """Compose a node and those in it."""
        if self.depth > _DEEPEST:
            raise ValueError(f"values lie in each other more than {_DEEPEST} deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_yaml(path: Path, *, error: type[WorkbookError], advice: str) -> Any:
    """Read plain values: mappings, lists, text, numbers, true and false. No tag makes anything else of them.

    Parameters
    ----------
    path
        YAML file of at most a mebibyte.
    error
        Class of the error to raise.
    advice
        Next step for the user, as the message ends.

    Raises
    ------
    WorkbookError
        Of the class `error`, if the file cannot be read, is not YAML, asks for something else than plain values, has a
        key twice, or aliases that multiply or lead back to themselves.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"it has more than {_LARGEST_FILE} bytes")
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, _Loader)
        _check(root, {}, ())
        content = yaml.safe_load(text)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError, MemoryError, yaml.YAMLError) as reason:
        raise error(f"{path} is not YAML as it is read here: {in_short(reason)}; {advice}") from reason
    return content


def _check(node: yaml.Node | None, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """Number of values that a node stands for, its aliases written out."""
    if id(node) in above:
        raise ValueError("an alias leads back to itself")
    if node is None or isinstance(node, yaml.ScalarNode):
        if node is not None and not node.tag.startswith(_PLAIN):
            raise ValueError(f"the tag {node.tag} makes something else than a plain value{node.start_mark}")
        return 1
    if id(node) not in sizes:
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(one,) for one in node.value]
        if isinstance(node, yaml.MappingNode):
            _refuse_repeats(node)
        inner = [part for pair in pairs for part in pair]
        sizes[id(node)] = 1 + sum(_check(part, sizes, (*above, id(node))) for part in inner)
    if sizes[id(node)] > _MOST_VALUES:
        raise ValueError(f"it stands for more than {_MOST_VALUES} values")
    return sizes[id(node)]


def _refuse_repeats(node: yaml.MappingNode) -> None:
    """Raise if a key stands twice in a mapping: YAML would take the last."""
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if twice := [key for key in keys if keys.count(key) > 1 and key != "<<"]:
        raise ValueError(f"the key {twice[0]} stands twice{node.start_mark}")


_PLAIN = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "merge"))
