"""Train a family of models: a checkpoint and its validation scores each 100 iterations (section 2.6).

A plain loop whose unit is Darknet's iteration: `batch` images drawn with replacement, one step of SGD. What is drawn
is a function of (seed, iteration), so a killed training goes on to the same bytes as one that was left alone.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from helpers import darknet
from helpers.system import begin_long_computation, is_sparse, load_tensors, progress, save_tensors
from helpers.training.darknet_networks import build_network
from helpers.training.family_folder import FamilyFolder, darknet_line
from helpers.training.loss_history import RANDOM_WEIGHTS, check_loss, history_row
from helpers.training.optimizer_state import restore_optimizer
from helpers.training.plan import MiniBatches, Plan
from helpers.training.scoring import score_counts
from helpers.training.settings import TrainingSettings

_LOSSES_AT_ONCE = 10
"""Iterations after which their losses are read: reading waits for all that the device has to do."""


def train(plan: Plan, folder: Path) -> FamilyFolder:
    """Train a family, or go on with a training that was killed; a finished one is left as it is.

    What lies in its folder from another plan or other code is moved aside (`claim_folder`). A TrainingDivergedError
    says that the loss is no longer a number.
    """
    artefacts = FamilyFolder(folder)
    backbone = _backbone(plan)
    artefacts.claim(plan.description(start=backbone.name if backbone else RANDOM_WEIGHTS, code=__name__))
    run = _Run.begin(plan, artefacts, backbone)
    batches = MiniBatches(plan)
    settings = plan.settings
    first = len(run.history) + 1
    if first <= settings.iterations:
        begin_long_computation(str(plan.family))
    for iteration in progress(range(first, settings.iterations + 1), label=str(plan.family)):
        run.began = run.began if run.unread else time.perf_counter()
        run.unread.append(_iterate(run, batches, iteration))
        finished = iteration % settings.checkpoint_every == 0
        if finished or len(run.unread) == _LOSSES_AT_ONCE:
            _read_losses(run)
        if finished:
            _write_checkpoint(run)
    if is_sparse() and first <= settings.iterations:
        print(f"{plan.family}  {darknet_line(run.history[-1])}", flush=True)
    return artefacts


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
            restore_optimizer(run.optimizer, state["optimizer"])
            run.history = state["history"]
        return run


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


def _iterate(run: _Run, batches: MiniBatches, iteration: int) -> torch.Tensor:
    """Sum the gradients of all mini-batches of an iteration (from 1), and do one step of SGD.

    Returns Darknet's cost of the batch, on the device; it is not waited for.
    """
    # the schedule of the .cfg: burn-in, then steps
    for group in run.optimizer.param_groups:
        group["lr"] = run.plan.settings.learning_rate_at(iteration)
    cost = _accumulate(run, batches, iteration)
    # w ← w − rate · v with v ← momentum · v + gradient + decay · w
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


def _accumulate(run: _Run, batches: MiniBatches, iteration: int) -> torch.Tensor:
    """Sum the gradients of the mini-batches of an iteration; returns Darknet's cost of the batch, on the device."""
    run.network.train()  # batch normalisation by the statistics of the mini-batch
    run.optimizer.zero_grad(set_to_none=True)
    settings, device = run.plan.settings, run.plan.device
    # images of all iterations before: until 12 800, YOLOv2's loss draws every box towards its anchor
    seen = (iteration - 1) * settings.batch
    cost = torch.zeros((), device=device)
    for images, truth in batches.at(iteration):
        seen += len(images)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss, batch_cost = darknet.loss(run.network, images, truth, seen=seen)
        # gradients add up until the step; Darknet divides their sum by the images of the whole batch
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
    if iteration in plan.consensus:
        sections = [(section.name, dict(section.options)) for section in run.network.sections]
        content = {"family": str(plan.family), "sections": sections, "iteration": iteration, "weights": weights}
        save_tensors(run.artefacts.checkpoint(iteration), content)
    state = {"weights": weights, "optimizer": run.optimizer.state_dict(), "history": run.history}
    save_tensors(run.artefacts.state, state)
