"""Train a family of models: a checkpoint and its validation scores each 100 iterations (section 2.6).

A plain loop whose unit is Darknet's iteration: `batch` images drawn with replacement, one step of SGD. What is drawn
is a function of (seed, iteration), so a killed training goes on to the same bytes as one that was left alone.
"""

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from helpers import darknet
from helpers.annotation import Box
from helpers.artefacts import FamilyFolder, darknet_line, load_tensors, save_tensors
from helpers.augmentation import Augmentation, render_augmented
from helpers.cxi import PatternStack
from helpers.errors import NetworkFileError, ProfileError, TrainingDivergedError
from helpers.family import Family
from helpers.progress import is_sparse, progress
from helpers.scoring import score_counts
from helpers.settings import TrainingSettings
from helpers.sources import code_digest

RANDOM_WEIGHTS = "random weights"

DARKNET_NETWORKS = {"yolov2": darknet.yolov2, "yolov3": darknet.yolov3}
_MEMORY_OF_AVERAGE_LOSS = 0.9


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


def train(
    family: Family,
    examples: Examples,
    settings: TrainingSettings,
    folder: Path,
    *,
    kept: Sequence[int],
    threshold: float,
    device: torch.device,
    weights: Path | None = None,
) -> FamilyFolder:
    """Train a family, or go on with a training that was killed; a finished one is left as it is.

    Parameters
    ----------
    family
        Network and representation.
    examples
        Training and validation patterns.
    settings
        Hyper-parameters.
    folder
        Of the family; what lies there from other settings or data is deleted.
    kept
        Iterations whose weights are kept (the consensus needs them); scores are kept for every checkpoint.
    threshold
        Score above which the network says single; stored for classification.
    device
        Where to train.
    weights
        Folder with pre-trained backbones; without the file of the settings the weights are random.

    Returns
    -------
    FamilyFolder
        The artefacts.

    Raises
    ------
    TrainingDivergedError
        If the loss is no longer a number.
    """
    artefacts = FamilyFolder(folder)
    backbone = _backbone(settings, weights)
    artefacts.describe(
        description(family, examples, settings, kept=kept, threshold=threshold, start=_start(backbone), code=__name__)
    )
    run = _Run.begin(family, settings, artefacts, device, backbone)
    draws = Draws(family, examples, settings, device)
    first = len(run.history) + 1
    for iteration in progress(range(first, settings.iterations + 1), label=str(family)):
        run.history.append(_iterate(run, draws, settings, iteration))
        if iteration % settings.checkpoint_every == 0:
            _write_checkpoint(run, family, examples, settings, kept=iteration in kept)
    if is_sparse() and first <= settings.iterations:
        print(f"{family}  {darknet_line(run.history[-1])}", flush=True)
    return artefacts


def description(
    family: Family,
    examples: Examples,
    settings: TrainingSettings,
    *,
    kept: Sequence[int],
    threshold: float,
    start: str,
    code: str,
) -> dict[str, Any]:
    """What `family.json` holds: all that the artefacts follow from; `code` is the module that trains."""
    return {
        "family": str(family),
        "settings": settings.to_mapping(),
        "start": start,
        "threshold": threshold,
        "consensus": list(kept),
        "shape": list(examples.training_counts.shape[1:]),
        "examples": examples.checksum(),
        "code": code_digest(code),
    }


def load_network(checkpoint: Path, device: torch.device) -> darknet.Network:
    """Rebuild the network of a checkpoint, ready to score.

    Raises
    ------
    NetworkFileError
        If the file is missing, damaged or of another kind.
    """
    content = load_tensors(checkpoint, device)
    try:
        sections = [darknet.Section(name, options) for name, options in content["sections"]]
        network = darknet.Network(sections).to(device, memory_format=torch.channels_last)
        network.load_state_dict(content["weights"])
    except (KeyError, RuntimeError) as error:
        raise NetworkFileError(f"{checkpoint}: its weights do not fit its network ({error}); train it anew") from error
    return network.eval()


@dataclass
class _Run:
    """A training in progress."""

    network: darknet.Network
    optimizer: torch.optim.SGD
    history: list[dict[str, float]]
    artefacts: FamilyFolder
    device: torch.device

    @classmethod
    def begin(
        cls,
        family: Family,
        settings: TrainingSettings,
        artefacts: FamilyFolder,
        device: torch.device,
        backbone: Path | None,
    ) -> "_Run":
        """Build the network, and take up the state of a killed training if there is one."""
        network = build_network(family, settings, backbone).to(device, memory_format=torch.channels_last)
        run = cls(network, _optimizer(network, settings), [], artefacts, device)
        if artefacts.state.exists():
            state = load_tensors(artefacts.state, device)
            network.load_state_dict(state["weights"])
            run.optimizer.load_state_dict(state["optimizer"])
            run.history = state["history"]
        return run


class Draws:
    """The images of each mini-batch: a function of (seed, iteration), on the device.

    Parameters
    ----------
    family
        Its representation says how to render.
    examples
        The training patterns and boxes.
    settings
        Batch, seed, input size and augmentation.
    device
        Where the counts stay and the images are rendered.
    """

    def __init__(self, family: Family, examples: Examples, settings: TrainingSettings, device: torch.device) -> None:
        self.counts = torch.as_tensor(examples.training_counts, device=device)
        self.boxes = torch.as_tensor(examples.training_boxes)
        self.representation = family.representation
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


def build_network(family: Family, settings: TrainingSettings, backbone: Path | None) -> darknet.Network:
    """Build a paper network with seeded random weights, and fill its backbone from a Darknet file if there is one."""
    if family.network not in DARKNET_NETWORKS:
        raise NetworkFileError(
            f"no Darknet network is called {family.network!r}; known are {', '.join(DARKNET_NETWORKS)}"
        )
    network = DARKNET_NETWORKS[family.network](
        size=settings.size,
        width=settings.width,
        batch_norm_momentum=settings.batch_norm_momentum,
        generator=torch.Generator().manual_seed(settings.seed),
        **_variant(family, settings),
    )
    if backbone:
        darknet.read_backbone(network, backbone)
    return network


def _variant(family: Family, settings: TrainingSettings) -> dict[str, str]:
    """The options that only YOLOv2 has."""
    chosen = {name: getattr(settings, name) for name in ("passthrough", "box_weight")}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if chosen and family.network != "yolov2":
        raise ProfileError(f"{', '.join(chosen)}: only yolov2 has this; remove it from the section of {family.network}")
    return chosen


def _backbone(settings: TrainingSettings, weights: Path | None) -> Path | None:
    """The file of pre-trained weights, where the settings name one and it is there."""
    if not (settings.backbone and weights):
        return None
    path = weights / settings.backbone
    return path if path.exists() else None


def _start(backbone: Path | None) -> str:
    return backbone.name if backbone else RANDOM_WEIGHTS


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _optimizer(network: darknet.Network, settings: TrainingSettings) -> torch.optim.SGD:
    """Darknet's SGD: only the weights of convolutions decay, not biases and scales."""
    decayed = [weights for weights in network.parameters() if weights.ndim == 4]
    others = [weights for weights in network.parameters() if weights.ndim != 4]
    groups = [{"params": decayed, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)


def _iterate(run: _Run, draws: Draws, settings: TrainingSettings, iteration: int) -> dict[str, float]:
    """One iteration: all mini-batches, one step; returns its row of the loss table."""
    began = time.perf_counter()
    rate = settings.learning_rate_at(iteration)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    loss = _accumulate(run, draws, settings, iteration)
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"{run.artefacts.path.name}: the loss is {loss} at iteration {iteration} (learning rate {rate:g}); "
            "lower learning_rate or lengthen burn_in in the profile"
        )
    run.optimizer.step()
    return history_row(run.history, loss, rate, settings.batch, time.perf_counter() - began)


def history_row(
    history: Sequence[Mapping[str, float]], loss: float, rate: float, batch: int, seconds: float
) -> dict[str, float]:
    """The next row of the loss table; the average is Darknet's, 0.9 of the last and 0.1 of the new loss.

    Parameters
    ----------
    history
        The rows before.
    loss
        Per image.
    rate
        Learning rate.
    batch
        Images an iteration.
    seconds
        Time of the iteration [s]; goes into `training.log` alone.
    """
    before = history[-1]["average_loss"] if history else loss
    iteration = len(history) + 1
    return {
        "iteration": iteration,
        "loss": loss,
        "average_loss": _MEMORY_OF_AVERAGE_LOSS * before + (1 - _MEMORY_OF_AVERAGE_LOSS) * loss,
        "learning_rate": rate,
        "images_seen": iteration * batch,
        "seconds": seconds,
    }


def _accumulate(run: _Run, draws: Draws, settings: TrainingSettings, iteration: int) -> float:
    """Sum the gradients of the mini-batches; returns Darknet's cost per image."""
    run.network.train()
    run.optimizer.zero_grad(set_to_none=True)
    seen = (iteration - 1) * settings.batch
    cost = torch.zeros((), device=run.device)
    half_precision = settings.precision == "bfloat16"
    for images, truth in draws.at(iteration):
        seen += len(images)
        with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=half_precision):
            loss, batch_cost = darknet.loss(run.network, images, truth, seen=seen)
        (loss / settings.batch).backward()
        cost += batch_cost
    return float(cost) / settings.batch


def _write_checkpoint(run: _Run, family: Family, examples: Examples, settings: TrainingSettings, *, kept: bool) -> None:
    """Score the validation set and store all; the state comes last, so a kill in between repeats the interval."""
    iteration = len(run.history)
    run.network.eval()
    scores = score_counts(
        examples.validation_counts,
        [lambda images: darknet.scores(run.network, images)],
        family.representation,
        size=settings.size,
        resize=settings.resize,
        device=run.device,
    )
    run.artefacts.add_scores("validation", examples.validation_patterns, iteration, scores[:, 0])
    run.artefacts.write_history(run.history)
    weights = run.network.state_dict()
    if kept:
        sections = [(section.name, dict(section.options)) for section in run.network.sections]
        content = {"family": str(family), "sections": sections, "iteration": iteration, "weights": weights}
        save_tensors(run.artefacts.checkpoint(iteration), content)
    state = {"weights": weights, "optimizer": run.optimizer.state_dict(), "history": run.history}
    save_tensors(run.artefacts.state, state)
