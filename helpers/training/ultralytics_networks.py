"""Networks of ultralytics as families: loaded from a checkpoint, they score patterns as any other does."""

import atexit
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from helpers.errors import NetworkFileError
from helpers.family import Family
from helpers.system import check_finite, in_short, load_tensors
from helpers.training.darknet_networks import DARKNET_NETWORKS
from helpers.training.scoring import Scorer

_QUIET = {"YOLO_OFFLINE": "1", "YOLO_VERBOSE": "false", "YOLO_AUTOINSTALL": "false"}
"""ultralytics neither asks the network for anything nor reports to it."""


def is_ultralytics(family: Family) -> bool:
    """True if ultralytics trains this family."""
    return family.network not in DARKNET_NETWORKS


def load_ultralytics(checkpoint: Path, device: torch.device) -> Scorer:
    """Load a checkpoint of an ultralytics family as a function from images to scores.

    Raises
    ------
    NetworkFileError
        If the file is missing, damaged or of another kind.
    """
    content = load_tensors(checkpoint, device)
    ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    try:
        model = DetectionModel(described(content["model"]), nc=1, verbose=False).to(device)
        model.load_state_dict(content["weights"])
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError, OSError) as error:
        raise NetworkFileError(
            f"{checkpoint}: its weights do not fit its network ({in_short(error)}); train it anew"
        ) from error
    check_finite(checkpoint, model.state_dict())
    return scorer(model.eval())


def described(model: str) -> dict[str, Any]:
    """Content of ultralytics' own description of a model: `yolo11n.yaml` is the scale n of its `yolo11.yaml`.

    A description is code: ultralytics evaluates the activation that it names, and takes a mapping, a path or an address
    as well. So only the files of the package count; a ValueError if it has no such model.
    """
    ultralytics()
    from ultralytics.nn.tasks import guess_model_scale
    from ultralytics.utils import ROOT

    match = re.fullmatch(r"(\w+?\d+)([nslmx]?)([\w-]*)\.yaml", model) if isinstance(model, str) else None
    names = (model, f"{match[1]}{match[3]}.yaml") if match else ()
    found = [path for name in names for path in sorted((ROOT / "cfg" / "models").glob(f"*/{name}"))]
    if not found:
        raise ValueError(f"ultralytics has no model {in_short(repr(model))}")
    values = yaml.safe_load(found[0].read_text(encoding="utf-8"))
    return values | {"scale": guess_model_scale(Path(model)), "yaml_file": model}


@cache
def ultralytics() -> None:
    """Import ultralytics so that it stays offline, keeps its settings to itself, and leaves the threads alone."""
    folder = tempfile.mkdtemp(prefix="ultralytics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(_QUIET, YOLO_CONFIG_DIR=folder)
    threads = os.environ.get("OMP_NUM_THREADS")
    import ultralytics  # noqa: F401

    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)


def scorer(model: torch.nn.Module) -> Scorer:
    """The highest class score of a pattern; ultralytics' output is (boxes, class scores) for every anchor."""
    return lambda images: model(images)[0][:, 4:].amax(dim=(1, 2))
