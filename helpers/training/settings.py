"""How a family is trained: Darknet's hyper-parameters and its learning rate at each iteration.

The defaults are the paper's probable ones; it printed none ("the YOLO default hyper-parameters", section 2.6).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from helpers.errors import ProfileError
from helpers.system import in_short

_SMALLEST_SIDE, _LARGEST_SIDE, _STRIDE = 320, 608, 32
_ITERATIONS_A_SIDE = 10


@dataclass(frozen=True)
class TrainingSettings:
    """Hyper-parameters of a family, named as in Darknet's `.cfg` where it has the name.

    Parameters
    ----------
    size
        Side of the network's input [pixels].
    width
        Factor on the number of filters; 1 is the published network.
    iterations, checkpoint_every
        Length of the training, and the iterations between two checkpoints.
    batch, subdivisions
        Images an iteration, and in how many mini-batches.
    learning_rate, burn_in, steps, scales, momentum, decay
        Darknet's schedule and optimizer.
    jitter, flip, hue, saturation, exposure, augmentation
        Darknet's augmentation; "crop" (before 2017-03, AlexeyAB) or "place" (pjreddie since).
    resize
        How a pattern is brought to the square input: "stretch" or "letterbox".
    random_size
        Another input size every ten iterations (`random=1`): 320 … 608 pixels.
    batch_norm_momentum
        Weight of a new batch in the running statistics; 0.01 in Darknet, too slow from random weights.
    passthrough, box_weight
        Variant of YOLOv2, as in `darknet.yolov2`; None is its default.
    backbone
        File of pre-trained weights under `data/weights/`, used if it is there.
    precision
        "float32", or "bfloat16" autocast.
    seed
        Of the weights and of all draws.
    """

    size: int
    width: float = 1.0
    iterations: int = 5000
    checkpoint_every: int = 100
    batch: int = 64
    subdivisions: int = 1
    learning_rate: float = 1e-3
    burn_in: int = 0
    steps: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()
    momentum: float = 0.9
    decay: float = 5e-4
    jitter: float = 0.2
    flip: bool = True
    hue: float = 0.1
    saturation: float = 1.5
    exposure: float = 1.5
    augmentation: str = "crop"
    resize: str = "stretch"
    random_size: bool = False
    batch_norm_momentum: float = 0.01
    passthrough: str | None = None
    box_weight: str | None = None
    backbone: str | None = None
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_kinds()
        for name in ("steps", "scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.box_weight is not None:
            object.__setattr__(self, "box_weight", str(self.box_weight))
        if self.batch % self.subdivisions:
            raise ProfileError(f"batch ({self.batch}) must be a multiple of subdivisions ({self.subdivisions})")
        if len(self.steps) != len(self.scales):
            raise ProfileError(f"steps and scales must be of one length, got {self.steps} and {self.scales}")
        if self.iterations % self.checkpoint_every:
            raise ProfileError(
                f"iterations ({self.iterations}) must be a multiple of checkpoint_every ({self.checkpoint_every})"
            )
        if not 0 <= self.learning_rate <= 1:
            raise ProfileError(f"learning_rate must be between 0 and 1, got {self.learning_rate}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ProfileError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")

    def _check_kinds(self) -> None:
        """Refuse values of another kind than the defaults, and numbers that are none or out of all proportion."""
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            if isinstance(default, tuple):
                right = isinstance(value, list | tuple) and all(map(_is_number, value))
            elif isinstance(default, bool | str):
                right = isinstance(value, type(default))
            elif default is None:
                right = value is None or isinstance(value, str | int)
            else:
                whole = not isinstance(default, float)
                right = _is_number(value) and value >= 0 and (isinstance(value, int) or not whole)
            if not right or (field.name in _POSITIVE and not value > 0):
                raise ProfileError(f"{field.name} has an impossible value {in_short(repr(value))}; correct it")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "TrainingSettings":
        """Read a section `networks` of a profile.

        Raises
        ------
        ProfileError
            If a key is unknown, `size` is missing, or a value is impossible.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(mapping) - known):
            raise ProfileError(f"unknown training setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
        if "size" not in mapping:
            raise ProfileError("the network's input size is missing: add size (416 and 608 in the paper)")
        return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, as a JSON file gives them back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def learning_rate_at(self, iteration: int) -> float:
        """Rate of an iteration, counted from 1: lr (k/burn_in)⁴ in the burn-in, then lr times each scale reached."""
        if iteration < self.burn_in:
            return self.learning_rate * (iteration / self.burn_in) ** 4
        reached = [scale for step, scale in zip(self.steps, self.scales, strict=True) if step <= iteration]
        return self.learning_rate * float(np.prod(reached))

    def side_at(self, iteration: int) -> int:
        """Side of the input at an iteration [pixels]; differs from `size` only with `random_size`."""
        if not self.random_size:
            return self.size
        draw = np.random.default_rng([self.seed, (iteration - 1) // _ITERATIONS_A_SIDE])
        return int(draw.integers(_SMALLEST_SIDE // _STRIDE, _LARGEST_SIDE // _STRIDE, endpoint=True)) * _STRIDE

    def checkpoints(self) -> list[int]:
        """Iterations after which a model is kept or scored."""
        return list(range(self.checkpoint_every, self.iterations + 1, self.checkpoint_every))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


_POSITIVE = ("size", "width", "iterations", "checkpoint_every", "batch", "subdivisions")
_LARGEST = 1e300

_CHOICES = {
    "augmentation": ("crop", "place"),
    "resize": ("stretch", "letterbox"),
    "precision": ("float32", "bfloat16"),
}
