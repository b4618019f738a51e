"""What is to be trained, on which patterns, and the images that an iteration draws from them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from helpers.annotation import Box
from helpers.augmentation import Augmentation, render_augmented
from helpers.cxi import PatternStack
from helpers.family import Family
from helpers.settings import TrainingSettings
from helpers.sources import code_digest


@dataclass(frozen=True)
class Examples:
    """What a family learns from: training and validation patterns, whole in memory as counts.

    Parameters
    ----------
    training_counts
        Photon counts (patterns, rows, columns), float32.
    training_boxes
        Relative centre, width and height of the shared box (patterns, 4); NaN for negatives.
    validation_counts
        Photon counts (patterns, rows, columns), float32.
    validation_patterns
        Their indices in the stack (patterns,).
    """

    training_counts: np.ndarray
    training_boxes: np.ndarray
    validation_counts: np.ndarray
    validation_patterns: np.ndarray

    @classmethod
    def from_stack(cls, stack: PatternStack, sets: pd.DataFrame, box: Box) -> "Examples":
        """Read the sets of `dataset.split`; each positive gets the same box, as in the paper."""
        training = sets[sets["set"] == "training"]
        validation = sets.loc[sets["set"] == "validation", "pattern"].to_numpy()
        boxes = np.full((len(training), 4), np.nan, dtype=np.float32)
        boxes[training["label"].to_numpy(dtype=bool)] = box.relative(stack.shape[1:])
        return cls(stack.read(training["pattern"].to_numpy()), boxes, stack.read(validation), validation)

    def checksum(self) -> str:
        """Of everything in it: another training set is another training."""
        digest = hashlib.sha256()
        for array in (self.training_counts, self.training_boxes, self.validation_counts, self.validation_patterns):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """A training to be done.

    Parameters
    ----------
    family
        Network and representation.
    examples
        Training and validation patterns.
    settings
        Hyper-parameters.
    kept
        Iterations whose weights are kept (the consensus needs them); scores are kept for every checkpoint.
    threshold
        Score above which the network says single; stored for classification.
    device
        Where to train.
    weights
        Folder with Darknet's pre-trained backbones; without the file of the settings the weights are random.
    """

    family: Family
    examples: Examples
    settings: TrainingSettings
    kept: Sequence[int]
    threshold: float
    device: torch.device
    weights: Path | None = None

    def description(self, *, start: str, code: str) -> dict[str, Any]:
        """What `family.json` holds: all that the artefacts follow from.

        Parameters
        ----------
        start
            The first weights: a file's name, or that they are random.
        code
            The module that trains.
        """
        return {
            "family": str(self.family),
            "settings": self.settings.to_mapping(),
            "start": start,
            "threshold": self.threshold,
            "consensus": list(self.kept),
            "shape": list(self.examples.training_counts.shape[1:]),
            "examples": self.examples.checksum(),
            "code": code_digest(code),
        }


class Draws:
    """The images of each mini-batch: a function of (seed, iteration), on the device.

    Parameters
    ----------
    plan
        Its examples, representation and settings; the counts lie on its device, where the images are rendered.
    """

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self.counts = torch.as_tensor(plan.examples.training_counts, device=plan.device)
        self.boxes = torch.as_tensor(plan.examples.training_boxes)
        self.representation = plan.family.representation
        self.settings = settings
        self.augmentation = Augmentation(
            jitter=settings.jitter,
            flip=settings.flip,
            hue=settings.hue,
            saturation=settings.saturation,
            exposure=settings.exposure,
            method=settings.augmentation,
        )

    def at(self, iteration: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Images and truths (patterns, 1, 5) of the mini-batches; drawn with replacement, as Darknet draws paths."""
        generator = torch.Generator().manual_seed(_seed(self.settings.seed, iteration))
        drawn = torch.randint(len(self.counts), (self.settings.batch,), generator=generator)
        side = self.settings.side_at(iteration)
        return [self._mini_batch(part, side, generator) for part in drawn.chunk(self.settings.subdivisions)]

    def _mini_batch(
        self, drawn: torch.Tensor, side: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images, boxes = render_augmented(
            self.counts[drawn.to(self.counts.device)],
            self.boxes[drawn],
            self.representation,
            side,
            self.augmentation,
            generator,
        )
        truth = torch.zeros(len(drawn), 1, 5)
        truth[:, 0, :4] = boxes.cpu().nan_to_num()
        return images.contiguous(memory_format=torch.channels_last), truth.to(images.device)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
