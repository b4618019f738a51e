"""The score of a pattern under a network: render once, ask each network, keep the highest objectness × class."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from helpers.family import Representation
from helpers.rendering import render

Scorer = Callable[[torch.Tensor], torch.Tensor]
"""Images (patterns, 3, size, size) → scores (patterns,) in 0 … 1."""

_PIXELS_A_BATCH = 64 * 416 * 416


def patterns_a_batch(size: int) -> int:
    """Number of images of side `size` [pixels] that go through a network at once, in bounded memory."""
    return max(1, min(256, _PIXELS_A_BATCH // size**2))


@torch.inference_mode()
def score_counts(
    counts: np.ndarray,
    scorers: Sequence[Scorer],
    representation: Representation,
    *,
    size: int,
    resize: str,
    device: torch.device,
) -> np.ndarray:
    """Score patterns under several networks of one family, which share the rendering.

    Non-maximum suppression is left out: it cannot change the highest score.

    Parameters
    ----------
    counts
        Photon counts (patterns, rows, columns), bad pixels 0.
    scorers
        Functions from images to scores, one a checkpoint.
    representation
        Colour and scale that the networks were trained on.
    size
        Side of the network's input [pixels].
    resize
        "stretch" or "letterbox".
    device
        Device of the networks.

    Returns
    -------
    numpy.ndarray
        Scores (patterns, checkpoints), float32.
    """
    step = patterns_a_batch(size)
    scores = np.empty((len(counts), len(scorers)), dtype=np.float32)
    for start in range(0, len(counts), step):
        batch = torch.as_tensor(counts[start : start + step], device=device)
        images = render(batch, representation, size, resize=resize).contiguous(memory_format=torch.channels_last)
        for column, scorer in enumerate(scorers):
            scores[start : start + step, column] = scorer(images).float().cpu().numpy()
    return scores
