"""Score of a pattern under a network, and the box that has it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from helpers.darknet.inference import FoldedNetwork
from helpers.darknet.network import Network
from helpers.darknet.region import Region, split
from helpers.darknet.yolo import Yolo
from helpers.errors import NetworkFileError


def scores(network: Network | FoldedNetwork, images: Tensor) -> Tensor:
    """Highest objectness × class probability over all boxes of all heads (suppressing overlaps could not change it).

    Parameters
    ----------
    network
        Network, or the faster one that `folded` makes of it. It runs in evaluation mode; its own mode is restored.
    images
        (N, channels, side, side), 0 to 1.

    Returns
    -------
    Tensor
        (N,) float32, 0 to 1.

    Raises
    ------
    NetworkFileError
        If the network has no head.
    """
    network.check_heads()
    with _evaluating(network):
        outputs = zip(network.heads, network(images), strict=True)
        found = [_box_scores(head, output).amax(dim=1) for head, output in outputs]
    return torch.stack(found).amax(dim=0)


def detections(network: Network | FoldedNetwork, images: Tensor) -> Tensor:
    """Best box of each image and its score.

    Parameters
    ----------
    network, images
        As in `scores`.

    Returns
    -------
    Tensor
        (N, 5): x and y of the centre, width, height, relative to the image, and the score of `scores`.

    Raises
    ------
    NetworkFileError
        If the network has no head.
    """
    network.check_heads()
    with _evaluating(network):
        steps = network.head_steps(images)
        # all candidate boxes of all heads, one after the other: (N, boxes) scores and (N, boxes, 4) boxes
        box_scores = torch.cat([_box_scores(step.layer, step.output) for step in steps], dim=1)
        candidates = [step.layer.boxes(step.output, images.shape[-2:]).flatten(1, 3) for step in steps]
        highest, best = box_scores.max(dim=1)
        chosen = torch.cat(candidates, dim=1)[torch.arange(len(images), device=best.device), best]
    return torch.cat([chosen, highest[:, None]], dim=1)


def class_probabilities(network: Network | FoldedNetwork, images: Tensor) -> Tensor:
    """Probabilities of the classes that a classifier gives each image.

    Parameters
    ----------
    network
        Network that ends in `[softmax]`, as `darknet19.cfg` and `darknet53.cfg` do, or what `folded` makes of it. It
        runs in evaluation mode; its own mode is restored.
    images
        (N, channels, side, side), 0 to 1.

    Returns
    -------
    Tensor
        (N, classes) float32, 0 to 1.

    Raises
    ------
    NetworkFileError
        If the network does not end in `[softmax]`.
    """
    if not network.is_classifier:
        raise NetworkFileError(
            "this network does not end in [softmax], so it gives no classes; take a classifier's .cfg"
        )
    with _evaluating(network):
        return network.last_output(images).flatten(1)


def _box_scores(head: Region | Yolo, output: Tensor) -> Tensor:
    """Objectness × highest class probability of each anchor and cell, (N, anchors·rows·columns)."""
    parts = split(output, head.classes)
    return (parts[:, :, 4] * parts[:, :, 5:].amax(dim=2)).flatten(1)


@contextmanager
def _evaluating(network: Network | FoldedNetwork) -> Iterator[None]:
    """Put a network into evaluation mode without gradients; afterwards restore its mode."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(training)
