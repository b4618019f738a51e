"""Train several families: side by side on the cores of a CPU or on several GPUs, one after the other on one GPU.

A batch of 64 fits one GPU, and a run has a dozen families or more: so each GPU trains a family of its own, and none
waits for gradients of another.
"""

import os
from collections.abc import Mapping
from concurrent.futures import as_completed
from pathlib import Path

import pandas as pd
import torch

from helpers.system import cores, one_thread_processes
from helpers.training.darknet_training import train
from helpers.training.family_folder import FamilyFolder
from helpers.training.plan import Plan
from helpers.training.ultralytics_networks import is_ultralytics
from helpers.training.ultralytics_training import train_ultralytics

_VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def train_families(plans: Mapping[Path, Plan], *, processes: int | None = None) -> list[FamilyFolder]:
    """Train families, or go on with those whose training was killed; finished ones are left as they are.

    The artefacts do not depend on the number of processes: on a CPU each family is trained by one thread, and on a GPU
    by one process that sees no other.

    Parameters
    ----------
    plans
        Folder of a family → its plan.
    processes
        Number of families that are trained at a time on a CPU; default: one a core.

    Returns
    -------
    list of FamilyFolder
        In the order of `plans`.

    Raises
    ------
    ProfileError, TrainingDivergedError
        As `train_family`; the other families stop, and go on from their last checkpoints the next time.
    """
    gpus = []
    if any(plan.device.type != "cpu" for plan in plans.values()):
        gpus = visible_gpus()
        if min(len(gpus), len(plans)) < 2:
            return [train_family(plan, folder) for folder, plan in plans.items()]
    environments = [{_VISIBLE_GPUS: name} for name in gpus]
    number = min(len(gpus) or processes or cores(), len(plans))
    with one_thread_processes(number, environments=environments) as pool:
        futures = [pool.submit(train_family, plan, folder) for folder, plan in plans.items()]
        for future in as_completed(futures):
            future.result()
    return [future.result() for future in futures]


def train_family(plan: Plan, folder: Path) -> FamilyFolder:
    """Train a family of either kind: the paper's by `darknet_training.train`, any other through ultralytics."""
    return train_ultralytics(plan, folder) if is_ultralytics(plan.family) else train(plan, folder)


def visible_gpus() -> list[str]:
    """GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` calls them: numbers, or the names that SLURM gives."""
    names = os.environ.get(_VISIBLE_GPUS) or ",".join(map(str, range(torch.cuda.device_count())))
    return [name.strip() for name in names.split(",")][: torch.cuda.device_count()]


def table_families(folders: Mapping[str, FamilyFolder]) -> pd.DataFrame:
    """Start of each family, and the beginning and end of its loss.

    Parameters
    ----------
    folders
        Family → folder of its training.

    Returns
    -------
    pandas.DataFrame
        family, start (first weights), images_seen, first_loss, last_average_loss.
    """
    rows = []
    for family, folder in folders.items():
        loss = folder.loss()
        rows.append(
            {
                "family": family,
                "start": folder.description()["start"],
                "images_seen": loss["images_seen"].iloc[-1],
                "first_loss": loss["loss"].iloc[0],
                "last_average_loss": loss["average_loss"].iloc[-1],
            }
        )
    return pd.DataFrame(rows)
