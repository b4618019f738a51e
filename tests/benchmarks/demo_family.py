"""A family as the profile `demo` has it, trained just as far as its checkpoints need: speed does not depend on more."""

from pathlib import Path

import pandas as pd
import torch

from helpers.annotation import Box
from helpers.family import Family
from helpers.patterns import open_stack
from helpers.training import Examples, Plan, TrainingSettings
from helpers.training.darknet_training import train
from helpers.workbook import load_profile

_CHECKPOINTS = [1, 2, 3, 4, 5]
_TRAINING, _VALIDATION = 16, 8


def train_demo_family(twin: Path, folder: Path, name: str = "yolov2-jet-linear") -> Path:
    """Train a family of the demo for five iterations, each a checkpoint.

    Parameters
    ----------
    twin
        Simulated patterns, of which the first few are learned from.
    folder
        Where its folder goes.
    name
        Of the family.

    Returns
    -------
    Path
        Its folder.
    """
    profile, family = load_profile("demo"), Family.from_name(name)
    few = {"iterations": len(_CHECKPOINTS), "checkpoint_every": 1}
    settings = TrainingSettings.from_mapping(profile.networks[family.network] | few)
    with open_stack(twin) as stack:
        labels = stack.table()["label"][: _TRAINING + _VALIDATION] != 0
        sets = pd.DataFrame({"pattern": range(len(labels)), "label": labels, "set": "training"})
        sets.loc[_TRAINING:, "set"] = "validation"
        examples = Examples.from_stack(stack, sets, Box(0, 80, 60, 180))
    given = {"threshold": profile.thresholds[family.network], "device": torch.device("cpu")}
    train(Plan(family, examples, settings, consensus=_CHECKPOINTS, **given), folder / name)
    return folder / name
