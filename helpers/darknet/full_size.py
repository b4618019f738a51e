"""The paper's networks at full size without weights: shapes, candidate boxes and numbers of floats."""

from collections.abc import Mapping

import pandas as pd
import torch

from helpers.darknet.architectures import yolov2, yolov3
from helpers.darknet.network import Network
from helpers.darknet.weights import float_counts


def full_size_networks() -> dict[str, Network]:
    """YOLOv2 and YOLOv3 for one class on torch's device `meta`, where tensors have shapes but no values."""
    with torch.device("meta"):
        return {"yolov2": yolov2(), "yolov3": yolov3()}


def table_networks(networks: Mapping[str, Network]) -> pd.DataFrame:
    """Candidate boxes an image, and floats in a weights file.

    Parameters
    ----------
    networks
        Name → network with one class on torch's device `meta`.

    Returns
    -------
    pandas.DataFrame
        network, size [pixels], convolutions, heads, boxes, floats.
    """
    rows = []
    for name, network in networks.items():
        outputs = network(torch.zeros(2, 3, network.size, network.size, device="meta"))
        boxes = sum(output[0].numel() for output in outputs) // (4 + 1 + 1)  # position and size, objectness, class
        floats = float_counts(network)
        rows.append((name, network.size, len(floats), len(outputs), boxes, sum(floats)))
    return pd.DataFrame(rows, columns=["network", "size", "convolutions", "heads", "boxes", "floats"])
