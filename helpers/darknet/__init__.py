"""YOLOv2 and YOLOv3 as Darknet computes them: networks, losses, `.cfg` and `.weights` files.

network = read_cfg("net.cfg")                 # or yolov2(), yolov3()
seen = read_weights(network, "net.weights")
outputs = network(images)                     # one a head
highest = scores(network, images)             # scores(folded(network), images) gives them faster
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architectures": ["yolov2", "yolov3"],
        "cfg": ["read_cfg", "write_cfg"],
        "detection": ["class_probabilities", "detections", "scores"],
        "full_size": ["full_size_networks", "table_networks"],
        "inference": ["FoldedNetwork", "folded"],
        "losses": ["cost", "loss"],
        "network": ["Network"],
        "sections": ["Section", "section"],
        "weights": ["float_counts", "read_backbone", "read_weights", "write_weights"],
    },
)
