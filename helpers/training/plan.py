"""Training plan of a family, its training and validation patterns, and the mini-batches drawn from them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from helpers.annotation import Box
from helpers.family import Family
from helpers.patterns import PatternStack
from helpers.rendering import Augmentation, draw_numbers, render_changed
from helpers.system import code_digest
from helpers.training.settings import TrainingSettings


@dataclass(frozen=True)
class Examples:
    """Training and validation patterns of a family, whole in memory as counts.

    Parameters
    ----------
    training_counts
        Photon counts (patterns, rows, columns).
    training_boxes
        Relative centre, width and height of the shared box (patterns, 4); NaN for negatives.
    validation_counts
        Photon counts (patterns, rows, columns).
    validation_patterns
        Numbers of the validation patterns in the stack (patterns,).
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
        """SHA-256 of all arrays: another training set is another training."""
        digest = hashlib.sha256()
        for array in (self.training_counts, self.training_boxes, self.validation_counts, self.validation_patterns):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """Training of one family: the patterns, the settings, and what is kept.

    Parameters
    ----------
    family
        Network and representation.
    examples
        Training and validation patterns.
    settings
        Hyper-parameters of the network's training.
    consensus
        Iterations whose weights are kept: the checkpoints that vote on a pattern. Scores are kept of every checkpoint.
    threshold
        Score above which the network calls a pattern a single hit. `family.json` keeps it for classification elsewhere;
        another one trains nothing anew.
    device
        CPU or GPU that trains.
    weights
        Folder with Darknet's pre-trained backbones; without the file of the settings the weights are random.
    """

    family: Family
    examples: Examples
    settings: TrainingSettings
    consensus: Sequence[int]
    threshold: float
    device: torch.device
    weights: Path | None = None

    def description(self, *, start: str, code: str) -> dict[str, Any]:
        """Content of `family.json`: all that the artefacts follow from, and the threshold.

        `start` names the first weights (a file, or "random weights"), `code` the module that trains.
        """
        return {
            "family": str(self.family),
            "settings": self.settings.to_mapping(),
            "start": start,
            "threshold": self.threshold,
            "consensus": list(self.consensus),
            "shape": list(self.examples.training_counts.shape[1:]),
            "examples": self.examples.checksum(),
            "code": code_digest(code),
        }


class MiniBatches:
    """The images of each mini-batch: a function of (seed, iteration), on the plan's device, where the counts lie.

    Random numbers are drawn on the CPU, so that they are the same everywhere, and sent in one piece without waiting;
    all else happens on the device.
    """

    def __init__(self, plan: Plan) -> None:
        settings = plan.settings
        self.counts = _compact(plan.examples.training_counts).to(plan.device)
        self.boxes = torch.as_tensor(plan.examples.training_boxes).to(plan.device)
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
        parts = drawn.chunk(self.settings.subdivisions)
        numbers = torch.cat([draw_numbers(len(part), generator) for part in parts])
        together = torch.cat([drawn[:, None].to(torch.float64), numbers], dim=1)  # exact for both
        sent = _sent(together, self.counts.device)
        side = self.settings.side_at(iteration)
        return [self._mini_batch(part, side) for part in sent.chunk(self.settings.subdivisions)]

    def _mini_batch(self, sent: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        drawn, numbers = sent[:, 0].to(torch.int64), sent[:, 1:].to(torch.float32)
        counts = self.counts[drawn] if self.counts.dtype != torch.uint16 else _uint16_rows(self.counts, drawn)
        images, boxes = render_changed(counts, self.boxes[drawn], self.representation, side, self.augmentation, numbers)
        return images, functional.pad(boxes.nan_to_num(), (0, 1))[:, None]


def _compact(counts: np.ndarray) -> torch.Tensor:
    """Counts in 16 bits a pixel where these hold them exactly, else as they are."""
    in_range = counts.size and counts.min() >= 0 and counts.max() <= np.iinfo(np.uint16).max
    small = counts.astype(np.uint16) if in_range else counts
    return torch.tensor(small if np.array_equal(small, counts) else counts)


def _uint16_rows(counts: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Rows of a tensor of uint16, by way of int16: torch indexes those on every device."""
    return counts.view(torch.int16)[drawn].view(torch.uint16)


def _sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Values on a device; a GPU goes on working meanwhile, which it does from pinned memory only."""
    pinned = values.pin_memory() if device.type == "cuda" else values
    return pinned.to(device, non_blocking=True)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1
