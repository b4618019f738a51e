"""Darknet's cost, the number that it prints, and its loss, whose gradient is descended: two different numbers.

A head writes `delta`, minus the gradient of a loss that Darknet never evaluates, and prints the sum of delta² as cost.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from helpers.darknet.network import Network, Step
from helpers.darknet.options import refuse_other_losses


def cost(network: Network, images: Tensor, truth: Tensor, *, seen: int) -> tuple[Tensor, Tensor]:
    """Cost of a batch as Darknet counts it: Σ delta² of each head, and the mean over the heads (network.c).

    Runs the network in the mode that it is in: in training mode the running statistics move, as in Darknet.

    Parameters
    ----------
    network
        Network with at least one head.
    images
        (N, channels, side, side), 0 to 1.
    truth
        (N, slots, 5): x and y of the centre, width, height relative to the image, class; x = 0 ends an image's list.
    seen
        Images seen in training, this batch included: YOLOv2's anchor prior is on below 12 800.

    Returns
    -------
    cost : Tensor
        (), the sum over the batch, not divided by the number of images.
    layer_costs : Tensor
        (layers,), in the order of the `.cfg`; 0 for layers that have no loss.
    """
    with torch.no_grad():
        costs = {step.layer: delta.square().sum() for step, delta in _deltas(network, images, truth, seen)}
    none = images.new_zeros((), dtype=torch.float32)
    return torch.stack(list(costs.values())).mean(), torch.stack([costs.get(layer, none) for layer in network.layers])


def loss(network: Network, images: Tensor, truth: Tensor, *, seen: int) -> tuple[Tensor, Tensor]:
    """Loss whose gradient is the one that Darknet back-propagates on a GPU, and the cost, in one forward pass.

    The loss is −Σ delta·raw with delta held fixed, where `raw` is the input of a head. Its gradient by `raw` is −delta
    (times σ′ where the region head has it), exactly; its value means nothing. Like Darknet's, the gradient is the sum
    over images and heads: divide the loss by the batch before `backward`.

    Parameters
    ----------
    network, images, truth, seen
        As in `cost`.

    Returns
    -------
    loss : Tensor
        (), for `backward`.
    cost : Tensor
        (), the first result of `cost`: the number that Darknet prints, before it divides by the number of images.
    """
    losses, costs = [], []
    for step, delta in _deltas(network, images, truth, seen):
        # delta is by the activated output; the region head's chain rule through σ is applied here
        raw_delta = step.layer.raw_delta(delta, step.output.detach())
        # autograd then hands −raw_delta to the layers below
        losses.append(-(raw_delta * step.inputs[0]).sum())
        costs.append(delta.square().sum())
    return torch.stack(losses).sum(), torch.stack(costs).mean()


def _deltas(network: Network, images: Tensor, truth: Tensor, seen: int) -> Iterator[tuple[Step, Tensor]]:
    """Each head's step and its delta; NetworkFileError if there is none, or an option changes Darknet's loss."""
    network.check_heads()
    for section in network.sections:
        refuse_other_losses(section)
    for step in network.head_steps(images):
        yield step, step.layer.delta(step.output.detach(), truth, seen=seen, image=images.shape[-2:])
