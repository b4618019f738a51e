"""Sections of a Darknet `.cfg`: the description of a network from which both files and torch modules are made."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from helpers.errors import NetworkFileError
from helpers.system import in_short

_LONGEST = 1000
_LARGEST = 1e12
# what atoi and atof read of a value: the number, up to a comment or commas; 64.0 is the whole number 64
_TAIL = r",*(?:(?:#|;|//).*)?"
_INTEGER = re.compile(rf"([+-]?[0-9]{{1,20}})(?:\.0*)?{_TAIL}", re.DOTALL)
_NUMBER = re.compile(rf"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?){_TAIL}", re.DOTALL)


@dataclass(frozen=True)
class Section:
    """One `[name]` and its `key=value` lines, as text; unknown keys are kept.

    Sections are equal if the files written from them are: path and line numbers serve messages alone, and `read` holds
    the keys that a layer has asked for, as Darknet's `used` does.
    """

    name: str
    options: dict[str, str]
    path: str = field(default="", compare=False, repr=False)
    lines: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    read: set[str] = field(default_factory=set, compare=False, repr=False)

    def message(self, text: str, key: str | None = None) -> str:
        """Line of text that begins with the file, the line of `key` or of the section, and the section."""
        line = self.lines.get(key or "", self.lines.get(""))
        where = f"{self.path}, line {line}, [{self.name}]" if line else f"[{self.name}]"
        return in_short(f"{where}: {text}", longest=_LONGEST)

    def error(self, text: str, key: str | None = None) -> NetworkFileError:
        """Make (not raise) an error with the line of `message`."""
        return NetworkFileError(self.message(text, key))

    def text(self, key: str, default: str | None = None) -> str:
        """Text of an option, or NetworkFileError if it is absent and has no default."""
        self.read.add(key)
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
        return tuple(self._integer(key, part, None) for part in self._parts(key, default))

    def number(self, key: str, default: float | None = None) -> float:
        """Finite number of an option, or NetworkFileError."""
        return self._number(key, self.text(key, None if default is None else str(default)))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Finite numbers of an option, separated by commas, of which one may stand at the end; or NetworkFileError."""
        *parts, last = self._parts(key)
        return tuple(self._number(key, part) for part in (*parts, *([last] if last else [])))

    def require(self, key: str, supported: int | str | None, default: int | None = None) -> None:
        """Raise NetworkFileError if an option, or Darknet's `default` where it is absent, is not the one supported."""
        self.require_all({key: supported}, "is not supported", None if default is None else str(default))

    def require_all(self, supported: Mapping[str, int | str | None], reason: str, default: str | None = None) -> None:
        """Raise NetworkFileError for the first option that has another value than `supported`: None for no value."""
        self.read.update(supported)
        for key, value in supported.items():
            text = self.options.get(key, default)
            if text is None or (isinstance(value, str) and text == value):
                continue
            if not isinstance(value, int) or self._number(key, text) != value:
                only = f"only {key}={value}" if value is not None else "leave it out"
                raise self.error(f"{key}={text} {reason}, {only}", key)

    def _parts(self, key: str, default: str | None = None) -> list[str]:
        """Values of a list without the comment behind them; Darknet would count a comma in that, too."""
        values, sign, comment = self.text(key, default).partition("#")
        if "," in comment:
            raise self.error(f"{key}={values}{sign}{comment}: Darknet reads on in the comment; remove it", key)
        return values.split(",")

    def _integer(self, key: str, text: str, minimum: int | None) -> int:
        """Parse one whole number."""
        found = _INTEGER.fullmatch(text)
        value = int(found[1]) if found else 0
        if not found or abs(value) > _LARGEST:
            raise self.error(f"{key}={self.options.get(key)} is not a whole number", key)
        if minimum is not None and value < minimum:
            raise self.error(f"{key}={value} is not supported, only {minimum} or more", key)
        return value

    def _number(self, key: str, text: str) -> float:
        """Parse one finite number."""
        found = _NUMBER.fullmatch(text)
        value = float(found[1]) if found else math.nan
        if not math.isfinite(value) or abs(value) > _LARGEST:
            raise self.error(f"{key}={self.options.get(key)} is not a number", key)
        return value


def section(name: str, **options: str | int | float) -> Section:
    """Section from Python values: `section("maxpool", size=2, stride=2)`."""
    return Section(name, {key: str(value) for key, value in options.items()})
