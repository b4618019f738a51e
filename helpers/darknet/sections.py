"""Sections of a Darknet `.cfg`: the description of a network from which both files and torch modules are made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from helpers.errors import NetworkFileError
from helpers.system import in_short

_LONGEST = 1000
_LARGEST = 1e12


@dataclass(frozen=True)
class Section:
    """One `[name]` and its `key=value` lines, as text; unknown keys are kept.

    Sections are equal if the files written from them are: path and line numbers serve error messages alone.
    """

    name: str
    options: dict[str, str]
    path: str = field(default="", compare=False, repr=False)
    lines: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def error(self, message: str, key: str | None = None) -> NetworkFileError:
        """Make (not raise) an error that names the file, the line of `key` or of the section, and the section."""
        line = self.lines.get(key or "", self.lines.get(""))
        place = f"{self.path}, line {line}, [{self.name}]" if line else f"[{self.name}]"
        return NetworkFileError(in_short(f"{place}: {message}", longest=_LONGEST))

    def text(self, key: str, default: str | None = None) -> str:
        """Text of an option, or NetworkFileError if it is absent and has no default."""
        value = self.options.get(key, default)
        if value is None:
            raise self.error(f"{key}=... is missing")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """Text of an option that must be one of `choices`, or NetworkFileError."""
        value = self.text(key, default)
        if value not in choices:
            raise self.error(f"{key}={value} is not supported, only {', '.join(choices)}", key)
        return value

    def integer(self, key: str, default: int | None = None, *, minimum: int = 0) -> int:
        """Whole number of an option, at least `minimum`, or NetworkFileError."""
        text = self.text(key, None if default is None else str(default))
        return self._integer(key, text, minimum)

    def integers(self, key: str, default: str | None = None) -> tuple[int, ...]:
        """Whole numbers of an option, separated by commas, or NetworkFileError."""
        return tuple(self._integer(key, part, None) for part in self.text(key, default).split(","))

    def number(self, key: str, default: float | None = None) -> float:
        """Finite number of an option, or NetworkFileError."""
        return self._number(key, self.text(key, None if default is None else str(default)))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Finite numbers of an option, separated by commas, or NetworkFileError."""
        return tuple(self._number(key, part) for part in self.text(key).split(","))

    def require(self, key: str, supported: int, default: int) -> None:
        """Raise NetworkFileError if the option (Darknet's `default` where absent) is not the one that we compute."""
        value = self.number(key, default)
        if value != supported:
            raise self.error(f"{key}={value:g} is not supported, only {key}={supported}", key)

    def _integer(self, key: str, text: str, minimum: int | None) -> int:
        """Parse one whole number."""
        try:
            value = int(text)
            if abs(value) > _LARGEST:
                raise ValueError
        except ValueError:
            raise self.error(f"{key}={self.options.get(key)} is not a whole number", key) from None
        if minimum is not None and value < minimum:
            raise self.error(f"{key}={value} is not supported, only {minimum} or more", key)
        return value

    def _number(self, key: str, text: str) -> float:
        """Parse one finite number."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or abs(value) > _LARGEST:
            raise self.error(f"{key}={self.options.get(key)} is not a number", key)
        return value


def section(name: str, **options: str | int | float) -> Section:
    """Section from Python values: `section("maxpool", size=2, stride=2)`."""
    return Section(name, {key: str(value) for key, value in options.items()})
