"""YOLOv2 and YOLOv3 as Darknet computes them: networks, losses, `.cfg` and `.weights` files.

network = read_cfg("net.cfg")                 # or yolov2(), yolov3()
seen = read_weights(network, "net.weights")
outputs = network(images)                     # one a head
highest = scores(network, images)             # scores(folded(network), images) gives them faster
"""

from helpers.darknet.architectures import yolov2, yolov3
from helpers.darknet.cfg import read_cfg, write_cfg
from helpers.darknet.detection import detections, scores
from helpers.darknet.full_size import full_size_networks, table_networks
from helpers.darknet.inference import FoldedNetwork, folded
from helpers.darknet.losses import cost, loss
from helpers.darknet.network import Network
from helpers.darknet.sections import Section, section
from helpers.darknet.weights import float_counts, read_backbone, read_weights, write_weights

__all__ = [
    "FoldedNetwork",
    "Network",
    "Section",
    "cost",
    "detections",
    "float_counts",
    "folded",
    "full_size_networks",
    "loss",
    "read_backbone",
    "read_cfg",
    "read_weights",
    "scores",
    "section",
    "table_networks",
    "write_cfg",
    "write_weights",
    "yolov2",
    "yolov3",
]
