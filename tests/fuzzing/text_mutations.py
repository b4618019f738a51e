"""Damage to text that people or programs have edited: JSON, YAML, CSV, `.cfg`."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzzing.byte_mutations import Mutation

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_WORDS = (
    "nan", "NaN", "inf", "-1", "0", "1e308", "1e999", "-0.0", "99999999999999999999", "9" * 5000, "abc", "", "null",
    "true", '"7"', "[]", "{}", "[[1]]", "0x10", "1_000", "½", "\u0661", "7.5", "../../outside", "\0", "$(touch pwned)",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**30, "", "text", "\ud800", "../x", [], {}, [None],
    [[[]]], {"a": 1}, [1, 2, 3], -(10**9), "7",
)  # fmt: skip


def replace_number(path: Path, rng: np.random.Generator) -> None:
    """A number becomes something else."""
    text = _text(path)
    found = list(_NUMBER.finditer(text))
    if not found:
        return _write(path, text + _word(rng))
    chosen = found[rng.integers(len(found))]
    return _write(path, text[: chosen.start()] + _word(rng) + text[chosen.end() :])


def replace_token(path: Path, rng: np.random.Generator) -> None:
    """A word becomes something else."""
    text = _text(path)
    found = list(re.finditer(r"\w+", text))
    if not found:
        return _write(path, text + _word(rng))
    chosen = found[rng.integers(len(found))]
    return _write(path, text[: chosen.start()] + _word(rng) + text[chosen.end() :])


def delete_line(path: Path, rng: np.random.Generator) -> None:
    """A line is gone."""
    lines = _text(path).splitlines(keepends=True) or [""]
    del lines[rng.integers(len(lines))]
    _write(path, "".join(lines))


def repeat_line(path: Path, rng: np.random.Generator) -> None:
    """A line stands twice."""
    lines = _text(path).splitlines(keepends=True) or ["\n"]
    place = rng.integers(len(lines))
    lines.insert(rng.integers(len(lines)), lines[place])
    _write(path, "".join(lines))


def delete_sign(path: Path, rng: np.random.Generator) -> None:
    """A comma, bracket, colon or equals sign is gone."""
    text = _text(path)
    found = [match.start() for match in re.finditer(r"[,\[\]{}:=\"\n]", text)] or [0]
    place = found[rng.integers(len(found))]
    _write(path, text[:place] + text[place + 1 :])


def add_sign(path: Path, rng: np.random.Generator) -> None:
    """A sign that means something stands where it should not."""
    text = _text(path)
    place = int(rng.integers(len(text) + 1))
    sign = rng.choice(list(",[]{}:=\"'#&*!|>%@`\t\n\\"))
    _write(path, text[:place] + str(sign) + text[place:])


def other_encoding(path: Path, rng: np.random.Generator) -> None:
    """UTF-16, Latin-1 with an accent, a byte order mark, or a NUL."""
    text = _text(path)
    kinds = (
        lambda: text.encode("utf-16"),
        lambda: text.encode() + "\né".encode("latin-1"),
        lambda: b"\xef\xbb\xbf" + text.encode(),
        lambda: text.encode().replace(b"\n", b"\0\n", 1),
        lambda: text.replace("\n", "\r").encode(),
    )
    path.write_bytes(kinds[rng.integers(len(kinds))]())


def nest_deeply(path: Path, rng: np.random.Generator) -> None:
    """Thousands of brackets, as the whole file or in the place of a number."""
    deep = str(rng.choice(["[", "{", '{"a":', "(", "- "])) * int(rng.choice([2_000, 50_000]))
    text = _text(path)
    found = list(_NUMBER.finditer(text))
    if not found or rng.integers(2):
        return _write(path, deep)
    chosen = found[rng.integers(len(found))]
    return _write(path, text[: chosen.start()] + deep + text[chosen.end() :])


TEXT: tuple[Mutation, ...] = (
    replace_number,
    replace_number,
    replace_token,
    replace_token,
    delete_line,
    repeat_line,
    delete_sign,
    add_sign,
    other_encoding,
    nest_deeply,
)


def _of_json(change: Callable[[Any, Any, np.random.Generator], None]) -> Mutation:
    """Apply a change to one place of a JSON file."""

    def mutate(path: Path, rng: np.random.Generator) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        places = list(_places(content))
        change(*places[rng.integers(len(places))], rng)
        path.write_text(json.dumps(content), encoding="utf-8")

    return mutate


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each of its keys."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield content, key
        yield from _places(value)


def _other_value(holder: Any, key: Any, rng: np.random.Generator) -> None:
    holder[key] = _VALUES[rng.integers(len(_VALUES))]


def _gone(holder: Any, key: Any, rng: np.random.Generator) -> None:
    del holder[key]


def _twice(holder: Any, key: Any, rng: np.random.Generator) -> None:
    holder[key] = [holder[key], holder[key]]


def whole_other_value(path: Path, rng: np.random.Generator) -> None:
    """The file is JSON, but of something else."""
    path.write_text(json.dumps(_VALUES[rng.integers(len(_VALUES))]), encoding="utf-8")


JSON: tuple[Mutation, ...] = (
    _of_json(_other_value),
    _of_json(_other_value),
    _of_json(_other_value),
    _of_json(_gone),
    _of_json(_twice),
    whole_other_value,
)


def aliases(path: Path, rng: np.random.Generator) -> None:
    """YAML whose aliases multiply, or lead back to themselves."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 12))
    text = _text(path)
    kinds = (bomb, "a: &a [*a]\n", "&a {x: *a}\n", text.replace("name:", "name: &n\n  - *n\nnam:"), text + "seed: *x\n")
    _write(path, kinds[rng.integers(len(kinds))] + (bomb.replace("a0:", "name:", 1) if rng.integers(2) else ""))


def tags(path: Path, rng: np.random.Generator) -> None:
    """YAML that asks for objects, calls and files."""
    mark = path.parent / "pwned"
    kinds = (
        f"!!python/object/apply:os.system ['touch {mark}']",
        f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.PosixPath ['{mark}']]",
        "!!python/name:os.system ''",
        "!!binary aGVsbG8=",
        "!!timestamp 2021-01-01",
        "!!set {1, 2}",
        "2021-01-01",
        ".nan",
        ".inf",
        "!!int 0b11",
        "1:30:00",
    )
    text = _text(path)
    found = list(_NUMBER.finditer(text))
    chosen = found[rng.integers(len(found))]
    _write(path, text[: chosen.start()] + kinds[rng.integers(len(kinds))] + text[chosen.end() :])


YAML: tuple[Mutation, ...] = (aliases, tags)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _word(rng: np.random.Generator) -> str:
    return _WORDS[rng.integers(len(_WORDS))]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
