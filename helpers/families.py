"""Train several families: side by side on the cores of a CPU, one after the other on a GPU."""

from collections.abc import Mapping
from concurrent.futures import as_completed
from pathlib import Path

import pandas as pd

from helpers.artefacts import FamilyFolder
from helpers.examples import Plan
from helpers.modern import train_family
from helpers.processes import cores, one_thread_processes


def train_families(plans: Mapping[Path, Plan], *, processes: int | None = None) -> list[FamilyFolder]:
    """Train families, or go on with those whose training was killed; finished ones are left as they are.

    The artefacts do not depend on the number of processes: on a CPU each family is trained by one thread.

    Parameters
    ----------
    plans
        Folder of a family → its plan.
    processes
        How many are trained at a time on a CPU; one a core if None.

    Returns
    -------
    list of FamilyFolder
        In the order of `plans`.

    Raises
    ------
    ProfileError, TrainingDivergedError
        As `train_family`; the other families stop, and go on from their last checkpoints the next time.
    """
    if any(plan.device.type != "cpu" for plan in plans.values()):
        return [train_family(plan, folder) for folder, plan in plans.items()]
    with one_thread_processes(min(processes or cores(), len(plans))) as pool:
        futures = [pool.submit(train_family, plan, folder) for folder, plan in plans.items()]
        for future in as_completed(futures):
            future.result()
    return [future.result() for future in futures]


def table_families(folders: Mapping[str, FamilyFolder]) -> pd.DataFrame:
    """How each family began and where its loss ended.

    Parameters
    ----------
    folders
        Family → what its training left.

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
