"""Train networks of ultralytics as families: on the same patterns, with the same artefacts.

The trainer is ultralytics' own (its optimizer, warm-up, learning rate and moving average of the weights); ours are the
images, drawn as for the paper's networks, and the checkpoints. One of its epochs is `checkpoint_every` iterations.
Settings that only Darknet knows (steps, scales, width, backbone, …) are refused.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from helpers.errors import ProfileError
from helpers.system import begin_long_computation, is_sparse, load_tensors, save_tensors
from helpers.training import ultralytics_networks
from helpers.training.family_folder import FamilyFolder, darknet_line
from helpers.training.loss_history import RANDOM_WEIGHTS, check_loss, history_row
from helpers.training.optimizer_state import restore_optimizer
from helpers.training.plan import MiniBatches, Plan
from helpers.training.scoring import score_counts
from helpers.training.settings import TrainingSettings

_DARKNET_ONLY = (
    "width",
    "subdivisions",
    "steps",
    "scales",
    "random_size",
    "batch_norm_momentum",
    "passthrough",
    "box_weight",
    "backbone",
)


def train_ultralytics(plan: Plan, folder: Path) -> FamilyFolder:
    """Train a family with ultralytics, or go on with a training that was killed; a finished one is left as it is.

    The network of its plan names a model of ultralytics: `yolo11n` is `yolo11n.yaml`, with random weights. Errors as
    those of `darknet_training.train`; a ProfileError if a setting that only Darknet knows is not left at its default.
    """
    _refuse_darknet_settings(plan.settings)
    artefacts = FamilyFolder(folder)
    artefacts.claim(plan.description(start=RANDOM_WEIGHTS, code=__name__))
    if _iterations_done(artefacts) >= plan.settings.iterations:
        return artefacts
    begin_long_computation(str(plan.family))
    ultralytics_networks.ultralytics()
    with tempfile.TemporaryDirectory() as scratch, _same_threads() as restore_threads:
        trainer = _trainer_class()(overrides=_overrides(plan, Path(scratch)))
        trainer.prepare(plan, artefacts)
        trainer.add_callback("on_train_start", restore_threads)
        trainer.train()
    if is_sparse():
        print(f"{plan.family}  {darknet_line(trainer.history[-1])}", flush=True)
    return artefacts


def _refuse_darknet_settings(settings: TrainingSettings) -> None:
    plain = TrainingSettings(size=settings.size)
    for name in _DARKNET_ONLY:
        if getattr(settings, name) != getattr(plain, name):
            raise ProfileError(
                f"{name} is a setting of the Darknet networks; remove it from the section of an ultralytics network"
            )


def _iterations_done(artefacts: FamilyFolder) -> int:
    return len(artefacts.loss()) if artefacts.state.exists() else 0


@contextmanager
def _same_threads() -> Iterator[Callable[[object], None]]:
    """Keep the number of threads: ultralytics takes one fewer than there are cores. Yields what gives it back."""
    threads = torch.get_num_threads()
    try:
        yield lambda _trainer: torch.set_num_threads(threads)
    finally:
        torch.set_num_threads(threads)


def _overrides(plan: Plan, scratch: Path) -> dict[str, Any]:
    """Arguments of ultralytics' trainer."""
    settings = plan.settings
    return {
        "model": f"{plan.family.network}.yaml",
        "data": "patterns.yaml",  # never opened: the patterns come from memory
        "task": "detect",
        "imgsz": settings.size,
        "epochs": settings.iterations // settings.checkpoint_every,
        "batch": settings.batch,
        "nbs": settings.batch,
        "optimizer": "SGD",
        "lr0": settings.learning_rate,
        "momentum": settings.momentum,
        "weight_decay": settings.decay,
        "warmup_epochs": settings.burn_in / settings.checkpoint_every,
        "warmup_bias_lr": 0.0,
        "amp": "bf16" if settings.precision == "bfloat16" else False,
        "device": str(plan.device),
        "seed": settings.seed,
        "deterministic": False,
        "pretrained": False,
        "val": False,
        "save": False,
        "plots": False,
        "patience": 0,
        "mosaic": 0.0,
        "close_mosaic": 0,
        "workers": 0,
        "project": str(scratch),
        "name": "training",
        "exist_ok": True,
        "verbose": False,
    }


class _Batches:
    """Data loader of ultralytics' trainer: the batches of one epoch, as (seed, iteration) gives them."""

    num_workers = 0
    drop_last = True

    def __init__(self, plan: Plan) -> None:
        self.mini_batches = MiniBatches(plan)
        self.iteration = 0
        self.batches = plan.settings.checkpoint_every
        self.batch_size = plan.settings.batch
        self.dataset = range(self.batches * self.batch_size)
        self.sampler = self.dataset

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for _ in range(len(self)):
            self.iteration += 1
            [(images, truth)] = self.mini_batches.at(self.iteration)
            positive = truth[:, 0, 2] > 0
            boxes = truth[positive, 0, :4]
            yield {
                "img": images,
                "bboxes": boxes,
                "cls": torch.zeros(len(boxes), 1, device=boxes.device),
                "batch_idx": positive.nonzero().squeeze(1).to(boxes.dtype),
            }


class _OnPatterns:
    """Methods of ultralytics' trainer in our words: it is fed with patterns, stores our files, and resumes exactly."""

    def prepare(self, plan: Plan, artefacts: FamilyFolder) -> None:
        self.plan, self.artefacts = plan, artefacts
        self.history: list[dict[str, float]] = []
        self.began = time.perf_counter()
        self.add_callback("on_train_batch_start", _note_time)
        self.add_callback("on_train_batch_end", _note_loss)

    def get_model(self, cfg: str, weights: object = None, verbose: bool = True) -> torch.nn.Module:
        try:
            return super().get_model(cfg=ultralytics_networks.described(cfg), weights=weights, verbose=verbose)
        except ValueError as error:
            raise ProfileError(f"families: {error}; correct the network {self.plan.family.network!r}") from error

    def get_dataset(self) -> dict[str, Any]:
        return {"train": "training", "val": "validation", "nc": 1, "names": {0: "single hit"}, "channels": 3}

    def get_dataloader(self, *_args: object, mode: str = "train", **_named: object) -> _Batches:
        return _Batches(self.plan)

    def preprocess_batch(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return batch

    def _build_train_pipeline(self) -> None:
        from ultralytics.engine.trainer import BaseTrainer

        BaseTrainer._build_train_pipeline(self)  # that of detection looks into a data set on disk

    def get_validator(self) -> SimpleNamespace:
        return SimpleNamespace(metrics=SimpleNamespace(keys=[]))

    def validate(self) -> tuple[dict[str, float], float]:
        return {}, 0.0

    def final_eval(self) -> None:
        """Nothing: every checkpoint has been scored."""

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Store a checkpoint at the end of an epoch; the loss is in `loss.csv`."""
        _store_checkpoint(self)

    def save_model(self) -> bool:
        return False

    def resume_training(self, _checkpoint: object) -> None:
        if not self.artefacts.state.exists():
            return
        state = load_tensors(self.artefacts.state, self.device)
        self.model.load_state_dict(state["weights"])
        self.ema.ema.load_state_dict(state["average"])
        self.ema.updates = state["updates"]
        restore_optimizer(self.optimizer, state["optimizer"])
        self.history = state["history"]
        self.train_loader.iteration = len(self.history)
        self.start_epoch = len(self.history) // self.plan.settings.checkpoint_every


@cache
def _trainer_class() -> type:
    """Detection trainer of ultralytics on patterns in memory; made late, as importing ultralytics takes seconds."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    return type("PatternTrainer", (_OnPatterns, DetectionTrainer), {})


def _note_time(trainer: Any) -> None:
    trainer.began = time.perf_counter()


def _note_loss(trainer: Any) -> None:
    loss = float(sum(trainer.loss_items.values()))
    rate = float(trainer.optimizer.param_groups[0]["lr"])
    check_loss(trainer.plan.family, loss, len(trainer.history) + 1, rate)
    seconds = time.perf_counter() - trainer.began
    trainer.history.append(history_row(trainer.history, loss, rate, trainer.plan.settings.batch, seconds))


def _store_checkpoint(trainer: Any) -> None:
    """Score the validation set with the averaged weights and store all; the state comes last."""
    plan, artefacts, iteration = trainer.plan, trainer.artefacts, len(trainer.history)
    average = trainer.ema.ema.eval()
    scores = score_counts(
        plan.examples.validation_counts,
        [ultralytics_networks.scorer(average)],
        plan.family.representation,
        size=plan.settings.size,
        resize=plan.settings.resize,
        device=plan.device,
    )
    artefacts.add_scores("validation", plan.examples.validation_patterns, iteration, scores[:, 0])
    artefacts.write_history(trainer.history)
    content = {"family": str(plan.family), "model": trainer.args.model, "iteration": iteration}
    if iteration in plan.consensus:
        save_tensors(artefacts.checkpoint(iteration), {**content, "weights": average.state_dict()})
    state = {
        "weights": trainer.model.state_dict(),
        "average": average.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "history": trainer.history,
    }
    save_tensors(artefacts.state, state)
