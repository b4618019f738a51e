"""Where a trained network of the paper sees the single hit."""

import numpy as np
import torch

from helpers import darknet
from helpers.family import Family
from helpers.rendering import render
from helpers.training.darknet_networks import load_network
from helpers.training.family_folder import FamilyFolder


def detected_boxes(folder: FamilyFolder, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that a network is given of some patterns, and the box with the highest score in each.

    The network is the last checkpoint of the family's consensus.

    Parameters
    ----------
    folder
        A family of YOLOv2 or YOLOv3.
    counts
        Photon counts (patterns, rows, columns).

    Returns
    -------
    pictures : ndarray (patterns, size, size, 3)
        uint8
    boxes : ndarray (patterns, 5)
        Relative centre, width and height, and the score.
    """
    described = folder.description()
    network = load_network(folder.checkpoint(described["consensus"][-1]), torch.device("cpu"))
    representation = Family.from_name(described["family"]).representation
    images = render(counts, representation, network.size, resize=described["settings"]["resize"])
    pictures = (images.permute(0, 2, 3, 1) * 255).byte().numpy()
    return pictures, darknet.detections(network, images).numpy()
