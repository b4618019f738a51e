"""One training pattern as the augmentation draws it, again and again."""

import numpy as np
import torch
from matplotlib.figure import Figure

from helpers.family import Representation
from helpers.figures.patterns import detections_figure
from helpers.rendering import Augmentation, render_augmented

_DRAWS, _COLUMNS = 6, 3
_SIZE = 208


def augmentation_figure(
    counts: np.ndarray,
    box: np.ndarray,
    *,
    seed: int,
    representation: Representation = Representation("jet", "log"),  # noqa: B008 - frozen
    augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
) -> Figure:
    """Six draws of one pattern with its box, which moves along.

    Parameters
    ----------
    counts
        Photon counts (rows, columns).
    box
        (4,) relative centre, width and height of the box.
    seed
        Of the draws.
    representation
        Colour map and intensity scale of the pictures.
    augmentation
        How strongly they are changed; by default as Darknet does.
    """
    generator = torch.Generator().manual_seed(seed)
    repeated = torch.as_tensor(counts).expand(_DRAWS, -1, -1)
    boxes = torch.as_tensor(box).expand(_DRAWS, -1)
    images, moved = render_augmented(repeated, boxes, representation, _SIZE, augmentation, generator)
    pictures = (images.permute(0, 2, 3, 1) * 255).byte().numpy()
    titles = [f"draw {number}" for number in range(1, _DRAWS + 1)]
    return detections_figure(pictures, moved.numpy(), titles=titles, columns=_COLUMNS)
