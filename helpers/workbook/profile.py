"""Profiles: the size of a run and all its settings, one YAML file each, read strictly."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from helpers import ROOT
from helpers.annotation import SetSizes
from helpers.em import EMSettings
from helpers.errors import ProfileError
from helpers.family import Family
from helpers.system import STRICT, read_yaml, validated
from helpers.training import TrainingSettings

PROFILES = ROOT / "helpers" / "profiles"
"""Folder of the profiles that have a name: `demo` is `demo.yaml`."""

_Fraction = Annotated[float, Field(gt=0, lt=1)]
_Seed = Annotated[int, Field(ge=0, lt=10**15)]


@dataclass(config=STRICT, frozen=True)
class Simulation:
    """Size of the simulated twin."""

    patterns: Annotated[int, Field(gt=0, lt=10**9)]  # inside the size range
    manual_fraction: _Fraction  # share of them that is labelled single (1196 of 18 213 in the paper)
    outside: tuple[NonNegativeInt, NonNegativeInt]  # patterns outside the size range: labelled single, and not


@dataclass(config=STRICT, frozen=True)
class BoxSettings:
    """Proposal of the shared box of the positives: the share of the summed photons that it holds."""

    share: Annotated[float, Field(gt=0, le=1)]


@dataclass(config=STRICT, frozen=True)
class Iterations:
    """First and last of the checkpoints whose mean and standard deviation make Table 2, both included."""

    first: PositiveInt
    last: PositiveInt

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"last must be at least first ({self.first}), got {self.last}")


@dataclass(config=STRICT, frozen=True)
class Profile:
    """Size of a run, and its settings.

    Parameters
    ----------
    name
        Name of the run's folder in results/, if no other is given.
    seed
        Seed of the twin, the sets and the training.
    simulation
        Size of the simulated twin.
    dataset
        Sizes of the training, validation and test sets.
    box
        Proposal of the shared box.
    families
        Names of the families to train, in the order of the tables.
    networks
        Network → settings of its training (`TrainingSettings`), as they stand in the file.
    consensus
        Five consecutive checkpoints, as in Table 3.
    table_2
        Checkpoints of Table 2.
    thresholds
        Network → score above which a checkpoint calls a pattern single.
    em
        Settings of EM classification.
    """

    name: str
    seed: _Seed
    simulation: Simulation
    dataset: SetSizes
    box: BoxSettings
    families: tuple[str, ...]
    networks: dict[str, dict[str, Any]]
    consensus: tuple[PositiveInt, ...]
    table_2: Iterations
    thresholds: dict[str, _Fraction]
    em: EMSettings

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set("/\\. "):
            raise ValueError(f"name must be a plain folder name, got {self.name!r}")
        if not 0 < len(self.families) == len(set(self.families)):
            raise ValueError(f"families must be one or more, each once, got {list(self.families)}")
        for name in self.families:
            network = Family.from_name(name).network
            for section in ("networks", "thresholds"):
                if network not in getattr(self, section):
                    raise ValueError(f"missing key {section}.{network}, for the family {name}")
        if len(self.consensus) != 5 or any(earlier >= later for earlier, later in pairwise(self.consensus)):
            raise ValueError(f"consensus must be five ascending iterations, got {list(self.consensus)}")

    def sections(self) -> dict[str, Any]:
        """Plain values of all sections, as a JSON file gives them back."""
        return json.loads(json.dumps(asdict(self)))


def profile_path(profile: str | Path) -> Path:
    """Path of a profile: the name of one of ours, such as `demo`, or the path of a YAML file; else `ProfileError`."""
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
    return profile_from(content, path)


def profile_from(sections: Mapping[str, Any], source: object = "the profile") -> Profile:
    """Build a profile from plain values, those of a file or of `Profile.sections`; `ProfileError` names the source."""
    profile = validated(Profile, sections, error=ProfileError, source=source)
    for network, settings in profile.networks.items():
        TrainingSettings.from_mapping(settings, source=f"{source}: networks.{network}")
    return profile
