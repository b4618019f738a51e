"""A profile: how large a run is and with which settings. One YAML file each, read strictly."""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from helpers import ROOT
from helpers.annotation import SetSizes
from helpers.em import EMSettings
from helpers.errors import ProfileError, WorkbookError
from helpers.family import Family
from helpers.system import in_short, read_yaml, validated

PROFILES = ROOT / "helpers" / "profiles"
"""Where the profiles that a name stands for are kept: `demo` is `demo.yaml`."""

Pair = tuple[int, int]
_LARGEST = 1e15


@dataclass(frozen=True)
class Simulation:
    """How large the simulated twin is.

    Parameters
    ----------
    patterns
        Patterns inside the size range.
    manual_fraction
        Share of them that is labelled single (1196 of 18 213 in the paper).
    outside
        Patterns outside the size range: labelled single, and not.
    """

    patterns: int
    manual_fraction: float
    outside: Pair

    def __post_init__(self) -> None:
        _demand(self.patterns > 0, "patterns", self.patterns, "positive")
        _demand(min(self.outside) >= 0, "outside", self.outside, "0 or more")
        _demand(0 < self.manual_fraction < 1, "manual_fraction", self.manual_fraction, "between 0 and 1")


@dataclass(frozen=True)
class BoxSettings:
    """How the shared box of the positives is proposed.

    Parameters
    ----------
    share
        Of the summed photons that the box holds.
    """

    share: float

    def __post_init__(self) -> None:
        _demand(0 < self.share <= 1, "share", self.share, "above 0 and at most 1")


@dataclass(frozen=True)
class Iterations:
    """The checkpoints whose mean and standard deviation make Table 2.

    Parameters
    ----------
    first, last
        Iterations, both included.
    """

    first: int
    last: int

    def __post_init__(self) -> None:
        _demand(0 < self.first <= self.last, "last", self.last, "at least first, and first positive")


@dataclass(frozen=True)
class Profile:
    """How large a run is, and with which settings.

    Parameters
    ----------
    name
        Of the run's folder in results/, if no other is given.
    seed
        Of the twin, the sets and the training.
    simulation, dataset, box, em
        See their classes.
    families
        Names of the families to train, in the order of the tables.
    networks
        Network → settings of its training; the training modules know which there are.
    consensus
        The five consecutive checkpoints of Table 3.
    table_2
        The checkpoints of Table 2.
    thresholds
        Network → score above which a checkpoint says single.
    """

    name: str
    seed: int
    simulation: Simulation
    dataset: SetSizes
    box: BoxSettings
    families: tuple[str, ...]
    networks: dict[str, dict]
    consensus: tuple[int, ...]
    table_2: Iterations
    thresholds: dict[str, float]
    em: EMSettings

    def __post_init__(self) -> None:
        _demand(self.name and not set(self.name) & set("/\\. "), "name", self.name, "a plain folder name")
        _demand(self.seed >= 0, "seed", self.seed, "0 or more")
        _demand(bool(self.families), "families", self.families, "at least one family")
        _demand(len(set(self.families)) == len(self.families), "families", self.families, "without repetition")
        for name in self.families:
            network = _family(name).network
            for section in ("networks", "thresholds"):
                _demand(network in getattr(self, section), section, None, f"with an entry {network}, for {name}")
        for network, threshold in self.thresholds.items():
            _demand(0 < threshold < 1, f"thresholds.{network}", threshold, "between 0 and 1")
        ascending = all(a < b for a, b in zip(self.consensus, self.consensus[1:], strict=False))
        _demand(len(self.consensus) == 5 and ascending, "consensus", self.consensus, "five ascending iterations")

    def sections(self) -> dict[str, Any]:
        """The profile as plain values, as a JSON file gives them back."""
        return json.loads(json.dumps(asdict(self)))


def profile_path(profile: str | Path) -> Path:
    """The file of a profile: `demo` and `paper` are ours, anything else is a path to a YAML file.

    Raises
    ------
    ProfileError
        If there is no such file.
    """
    known = PROFILES / f"{profile}.yaml"
    path = known if known.is_file() else Path(profile).expanduser()
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in PROFILES.glob("*.yaml")))
        raise ProfileError(f"no profile {str(profile)!r}: take one of {names}, or the path of a YAML file")
    return path


def load_profile(profile: str | Path) -> Profile:
    """Read a profile by name or path.

    Raises
    ------
    ProfileError
        If there is none, or a key is unknown, missing, or has an impossible value; file and key are named.
    """
    path = profile_path(profile)
    content = read_yaml(path, error=ProfileError, advice="correct it, or start from a copy of demo.yaml")
    try:
        return _build(Profile, content, "")
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from error


def profile_from(sections: Mapping[str, Any]) -> Profile:
    """The profile that `Profile.sections` has made plain, for instance in a run's `run.json`.

    Raises
    ------
    ProfileError
        As `load_profile`.
    """
    return _build(Profile, sections, "")


def _family(name: str) -> Family:
    try:
        return Family.from_name(name)
    except ProfileError as error:
        raise ProfileError(f"families: {error}") from error


def _demand(condition: bool, key: str, value: Any, wanted: str) -> None:
    """Refuse an impossible value."""
    if not condition:
        given = "" if value is None else f", got {in_short(repr(_plain(value)))}"
        raise ProfileError(f"{key} must be {wanted}{given}")


def _build(kind: type, mapping: Any, where: str) -> Any:
    """An instance of a dataclass from a section of the file; unknown and missing keys are errors."""
    if not isinstance(mapping, Mapping):
        found = in_short(repr(mapping))
        raise ProfileError(f"{where or 'the profile'} must be a mapping of keys to values, got {found}")
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    if unknown := [key for key in mapping if key not in hints]:
        raise ProfileError(f"unknown key {prefix}{in_short(unknown[0])}; known are {', '.join(hints)}")
    if missing := [field.name for field in fields(kind) if field.name not in mapping and field.default is MISSING]:
        raise ProfileError(f"missing key {prefix}{missing[0]}")
    values = {key: _value(hints[key], value, f"{prefix}{key}") for key, value in mapping.items()}
    try:
        return kind(**values)
    except WorkbookError as error:
        raise ProfileError(f"{prefix}{error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    """A value of the file as the type that the field asks for."""
    if hint is EMSettings:
        return validated(EMSettings, value, error=ProfileError, source=where)
    if is_dataclass(hint):
        return _build(hint, value, where)
    if isinstance(hint, types.GenericAlias):
        return _collection(hint, value, where)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or isinstance(value, bool) is not (hint is bool):
        raise ProfileError(f"{where} must be {_NAMES[hint]}, got {in_short(repr(value))}{_exponent_advice(value)}")
    if isinstance(value, int | float) and not abs(value) < _LARGEST:
        raise ProfileError(f"{where} must be below {_LARGEST:g}, got {in_short(repr(value))}")
    if hint is dict:
        _refuse_numbers_as_text(value, where)
    return hint(value)


def _refuse_numbers_as_text(settings: Mapping, where: str) -> None:
    """Settings are checked by the modules that use them, but 1e-4 has become text before they see it."""
    for key, value in settings.items():
        if advice := _exponent_advice(value):
            raise ProfileError(f"{where}.{key} must be a number, got {in_short(repr(value))}{advice}")


def _collection(hint: types.GenericAlias, value: Any, where: str) -> Any:
    """A list (a tuple here) or a mapping, each item checked."""
    inner = typing.get_args(hint)
    if hint.__origin__ is dict:
        if not isinstance(value, Mapping):
            raise ProfileError(f"{where} must be a mapping of keys to values, got {in_short(repr(value))}")
        return {str(key): _value(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    length = None if inner[-1] is Ellipsis else len(inner)
    if not isinstance(value, list) or (length and len(value) != length):
        raise ProfileError(f"{where} must be a list{f' of {length}' if length else ''}, got {in_short(repr(value))}")
    return tuple(_value(inner[0], item, f"{where}[{place}]") for place, item in enumerate(value))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _exponent_advice(value: Any) -> str:
    """YAML reads 1e-4 as text; say so."""
    try:
        float(value)
    except (TypeError, ValueError):
        return ""
    return " (YAML needs a dot and a sign in an exponent: 1.0e-4)" if isinstance(value, str) else ""


_NAMES = {
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    str: "text",
    dict: "a mapping of keys to values",
}
