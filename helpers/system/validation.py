"""Values of a file as a pydantic dataclass: read strictly, and refused in one line that names the key."""

import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from helpers.errors import WorkbookError
from helpers.system.tables_and_json import in_short

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""Of a dataclass whose values come from a file: no unknown key, no text taken for a number, no infinity."""

_WANTED = {
    "bool_type": "true or false",
    "dataclass_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "string_type": "text",
    "too_long": "a shorter list",
    "tuple_type": "a list",
}
"""Kind of pydantic's error → what is wanted, in the words of a YAML file."""

Checked = TypeVar("Checked")


def validated(
    kind: type[Checked], mapping: object, *, error: type[WorkbookError], source: object, advice: str = "correct it"
) -> Checked:
    """Build a dataclass made with `@pydantic.dataclasses.dataclass(config=STRICT)` from values of a YAML or JSON file.

    Raises `error`, which names the file or section `source` and ends with the next step `advice`, for the first key
    that is unknown or missing and the first value that is impossible.
    """
    if not isinstance(mapping, Mapping):
        raise error(f"{source}: must hold a mapping of keys to values, got {in_short(repr(mapping))}; {advice}")
    try:
        # by way of JSON, whose lists may become tuples although everything else is taken strictly
        return TypeAdapter(kind).validate_json(json.dumps(mapping))
    except ValidationError as wrong:
        raise error(f"{source}: {_in_words(kind, wrong.errors(include_url=False)[0])}; {advice}") from wrong
    except (TypeError, ValueError, RecursionError) as wrong:
        raise error(f"{source}: holds other than plain values ({in_short(wrong)}); {advice}") from wrong


def _in_words(kind: type, wrong: ErrorDetails) -> str:
    """The key and what is wrong with its value."""
    place, value = wrong["loc"], wrong["input"]
    key = in_short(".".join(map(str, place))) if place else ""
    if wrong["type"] == "unexpected_keyword_argument":
        return f"unknown key {key}; known are {', '.join(_known_keys(kind, place[:-1]))}"
    if wrong["type"] == "missing":
        return f"missing key {key}"
    if wrong["type"] == "value_error":  # raised by `__post_init__`, which names the field itself
        return f"{key}: {wrong['ctx']['error']}" if key else str(wrong["ctx"]["error"])
    wanted = _WANTED.get(wrong["type"]) or wrong["msg"].removeprefix("Input should be ")
    return f"{key} must be {wanted}, got {in_short(repr(value))}{_exponent_advice(value)}"


def _known_keys(kind: Any, place: Sequence[str | int]) -> list[str]:
    """Names of the fields of the class that stands at a place below another."""
    for key in place:
        kind = typing.get_type_hints(kind)[str(key)] if is_dataclass(kind) else typing.get_args(kind)[-1]
    return [field.name for field in fields(kind)]


def _exponent_advice(value: object) -> str:
    """Advice for 1e-4, which YAML reads as text."""
    try:
        is_number = isinstance(value, str) and "e" in value.lower() and math.isfinite(float(value))
    except ValueError:
        return ""
    return " (YAML needs a dot and a sign in an exponent: 1.0e-4)" if is_number else ""
