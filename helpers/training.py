"""Train a family of models: a checkpoint and its validation scores each 100 iterations (section 2.6).

A plain loop whose unit is Darknet's iteration: `batch` images drawn with replacement, one step of SGD. What is drawn
is a function of (seed, iteration), so a killed training goes on to the same bytes as one that was left alone.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from helpers import darknet
from helpers.artefacts import FamilyFolder, check_finite, darknet_line, load_tensors, save_tensors
from helpers.errors import NetworkFileError, ProfileError, TrainingDivergedError
from helpers.examples import Draws, Plan
from helpers.family import Family
from helpers.progress import is_sparse, progress
from helpers.scoring import score_counts
from helpers.settings import TrainingSettings
from helpers.text_files import in_short

RANDOM_WEIGHTS = "random weights"

DARKNET_NETWORKS = {"yolov2": darknet.yolov2, "yolov3": darknet.yolov3}
_MEMORY_OF_AVERAGE_LOSS = 0.9
_LOSSES_AT_ONCE = 10
"""Iterations after which their losses are read: reading waits for all that the device has to do."""


def train(plan: Plan, folder: Path) -> FamilyFolder:
    """Train a family, or go on with a training that was killed; a finished one is left as it is.

    Parameters
    ----------
    plan
        The family, its examples and settings.
    folder
        Of the family; what lies there from another plan or other code is deleted.

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
    backbone = _backbone(plan)
    artefacts.describe(plan.description(start=backbone.name if backbone else RANDOM_WEIGHTS, code=__name__))
    run = _Run.begin(plan, artefacts, backbone)
    draws = Draws(plan)
    settings = plan.settings
    first = len(run.history) + 1
    for iteration in progress(range(first, settings.iterations + 1), label=str(plan.family)):
        run.began = run.began if run.unread else time.perf_counter()
        run.unread.append(_iterate(run, draws, iteration))
        finished = iteration % settings.checkpoint_every == 0
        if finished or len(run.unread) == _LOSSES_AT_ONCE:
            _read_losses(run)
        if finished:
            _write_checkpoint(run)
    if is_sparse() and first <= settings.iterations:
        print(f"{plan.family}  {darknet_line(run.history[-1])}", flush=True)
    return artefacts


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
    except NetworkFileError as error:
        raise NetworkFileError(f"{checkpoint}: {error}; train it anew") from error
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise NetworkFileError(
            f"{checkpoint}: its weights do not fit its network ({in_short(error)}); train it anew"
        ) from error
    check_finite(checkpoint, network.state_dict())
    return network.eval()


@dataclass
class _Run:
    """A training in progress."""

    plan: Plan
    artefacts: FamilyFolder
    network: darknet.Network
    optimizer: torch.optim.SGD
    history: list[dict[str, float]]
    unread: list[torch.Tensor] = field(default_factory=list)
    """Costs of the iterations after those of the history, on the device."""
    began: float = 0.0
    """When the first of them began [s]."""

    @classmethod
    def begin(cls, plan: Plan, artefacts: FamilyFolder, backbone: Path | None) -> "_Run":
        """Build the network, and take up the state of a killed training if there is one."""
        network = build_network(plan.family, plan.settings, backbone)
        network.to(plan.device, memory_format=torch.channels_last)
        run = cls(plan, artefacts, network, _optimizer(network, plan.settings), [])
        if artefacts.state.exists():
            state = load_tensors(artefacts.state, plan.device)
            network.load_state_dict(state["weights"])
            run.optimizer.load_state_dict(state["optimizer"])
            run.history = state["history"]
        return run


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


def _backbone(plan: Plan) -> Path | None:
    """The file of pre-trained weights, where the settings name one and it is there."""
    if not (plan.settings.backbone and plan.weights):
        return None
    path = plan.weights / plan.settings.backbone
    return path if path.exists() else None


def _optimizer(network: darknet.Network, settings: TrainingSettings) -> torch.optim.SGD:
    """Darknet's SGD: only the weights of convolutions decay, not biases and scales. One kernel on a GPU."""
    decayed = [weights for weights in network.parameters() if weights.ndim == 4]
    others = [weights for weights in network.parameters() if weights.ndim != 4]
    groups = [{"params": decayed, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}]
    fused = decayed[0].is_cuda
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, fused=fused)


def _iterate(run: _Run, draws: Draws, iteration: int) -> torch.Tensor:
    """One iteration: all mini-batches, one step; returns its cost, which is not waited for."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.plan.settings.learning_rate_at(iteration)
    cost = _accumulate(run, draws, iteration)
    run.optimizer.step()
    return cost


def _read_losses(run: _Run) -> None:
    """Wait for the device, and add the iterations that it has done to the history, if their losses are numbers."""
    settings = run.plan.settings
    costs = torch.stack(run.unread).tolist()
    seconds = (time.perf_counter() - run.began) / len(costs)
    for cost in costs:
        iteration = len(run.history) + 1
        loss, rate = cost / settings.batch, settings.learning_rate_at(iteration)
        check_loss(run.plan.family, loss, iteration, rate)
        run.history.append(history_row(run.history, loss, rate, settings.batch, seconds))
    run.unread.clear()


def check_loss(family: Family, loss: float, iteration: int, rate: float) -> None:
    """Raise TrainingDivergedError if the loss of an iteration is not a number."""
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"{family}: the loss is {loss} at iteration {iteration} (learning rate {rate:g}); "
            "lower learning_rate or lengthen burn_in in the profile"
        )


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
        Time of the iteration, or of a few on average [s]; goes into `training.log` alone.
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


def _accumulate(run: _Run, draws: Draws, iteration: int) -> torch.Tensor:
    """Sum the gradients of the mini-batches; returns Darknet's cost of the batch, on the device."""
    run.network.train()
    run.optimizer.zero_grad(set_to_none=True)
    settings, device = run.plan.settings, run.plan.device
    seen = (iteration - 1) * settings.batch
    cost = torch.zeros((), device=device)
    for images, truth in draws.at(iteration):
        seen += len(images)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss, batch_cost = darknet.loss(run.network, images, truth, seen=seen)
        (loss / settings.batch).backward()
        cost += batch_cost
    return cost


def _write_checkpoint(run: _Run) -> None:
    """Score the validation set and store all; the state comes last, so a kill in between repeats the interval."""
    plan, iteration = run.plan, len(run.history)
    scores = score_counts(
        plan.examples.validation_counts,
        [lambda images: darknet.scores(run.network, images)],
        plan.family.representation,
        size=plan.settings.size,
        resize=plan.settings.resize,
        device=plan.device,
    )
    run.artefacts.add_scores("validation", plan.examples.validation_patterns, iteration, scores[:, 0])
    run.artefacts.write_history(run.history)
    weights = run.network.state_dict()
    if iteration in plan.kept:
        sections = [(section.name, dict(section.options)) for section in run.network.sections]
        content = {"family": str(plan.family), "sections": sections, "iteration": iteration, "weights": weights}
        save_tensors(run.artefacts.checkpoint(iteration), content)
    state = {"weights": weights, "optimizer": run.optimizer.state_dict(), "history": run.history}
    save_tensors(run.artefacts.state, state)
