"""The paper's networks as families build them, and from a checkpoint."""

from pathlib import Path

import torch

from helpers import darknet
from helpers.errors import NetworkFileError, ProfileError
from helpers.family import Family
from helpers.system import check_finite, in_short, load_tensors
from helpers.training.settings import TrainingSettings

DARKNET_NETWORKS = {"yolov2": darknet.yolov2, "yolov3": darknet.yolov3}


def load_network(checkpoint: Path, device: torch.device) -> darknet.Network:
    """Rebuild the network of a checkpoint, ready to score.

    Raises
    ------
    NetworkFileError
        If the file is missing, damaged or of another kind.
    """
    content = load_tensors(checkpoint, device)
    try:
        sections = [darknet.Section(name, options) for name, options in content["sections"]]
        network = darknet.Network(sections).to(device, memory_format=torch.channels_last)
        network.load_state_dict(content["weights"])
    except NetworkFileError as error:
        raise NetworkFileError(f"{checkpoint}: {error}; train it anew") from error
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise NetworkFileError(
            f"{checkpoint}: its weights do not fit its network ({in_short(error)}); train it anew"
        ) from error
    check_finite(checkpoint, network.state_dict())
    return network.eval()


def build_network(family: Family, settings: TrainingSettings, backbone: Path | None) -> darknet.Network:
    """Build a paper network with seeded random weights, and fill its backbone from a Darknet file if there is one."""
    if family.network not in DARKNET_NETWORKS:
        raise NetworkFileError(
            f"no Darknet network is called {family.network!r}; known are {', '.join(DARKNET_NETWORKS)}"
        )
    network = DARKNET_NETWORKS[family.network](
        size=settings.size,
        width=settings.width,
        batch_norm_momentum=settings.batch_norm_momentum,
        generator=torch.Generator().manual_seed(settings.seed),
        **_variant(family, settings),
    )
    if backbone:
        darknet.read_backbone(network, backbone)
    return network


def _variant(family: Family, settings: TrainingSettings) -> dict[str, str]:
    """The options that only YOLOv2 has."""
    chosen = {name: getattr(settings, name) for name in ("passthrough", "box_weight")}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if chosen and family.network != "yolov2":
        raise ProfileError(f"{', '.join(chosen)}: only yolov2 has this; remove it from the section of {family.network}")
    return chosen
