"""Settings of a family's training: Darknet's hyper-parameters and its learning rate at each iteration.

The defaults are the paper's probable ones; it printed none ("the YOLO default hyper-parameters", section 2.6).
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from helpers.errors import ProfileError
from helpers.system import STRICT, validated

_SMALLEST_SIDE, _LARGEST_SIDE, _STRIDE = 320, 608, 32
_ITERATIONS_A_SIDE = 10


@dataclass(frozen=True, config=STRICT)
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
        "stretch" or "letterbox": ways to bring a pattern to the square input.
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
        Seed of the first weights and of all mini-batches.
    """

    size: PositiveInt
    width: PositiveFloat = 1.0
    iterations: PositiveInt = 5000
    checkpoint_every: PositiveInt = 100
    batch: PositiveInt = 64
    subdivisions: PositiveInt = 1
    learning_rate: Annotated[float, Field(ge=0, le=1)] = 1e-3
    burn_in: NonNegativeInt = 0
    steps: Annotated[tuple[NonNegativeInt, ...], Field(strict=False)] = ()
    scales: Annotated[tuple[NonNegativeFloat, ...], Field(strict=False)] = ()
    momentum: NonNegativeFloat = 0.9
    decay: NonNegativeFloat = 5e-4
    jitter: NonNegativeFloat = 0.2
    flip: bool = True
    hue: NonNegativeFloat = 0.1
    saturation: NonNegativeFloat = 1.5
    exposure: NonNegativeFloat = 1.5
    augmentation: Literal["crop", "place"] = "crop"
    resize: Literal["stretch", "letterbox"] = "stretch"
    random_size: bool = False
    batch_norm_momentum: NonNegativeFloat = 0.01
    passthrough: str | None = None
    box_weight: str | int | None = None
    backbone: str | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if self.box_weight is not None:
            object.__setattr__(self, "box_weight", str(self.box_weight))
        if self.batch % self.subdivisions:
            raise ValueError(f"batch ({self.batch}) must be a multiple of subdivisions ({self.subdivisions})")
        if len(self.steps) != len(self.scales):
            raise ValueError(f"steps and scales must be of one length, got {self.steps} and {self.scales}")
        if self.iterations % self.checkpoint_every:
            raise ValueError(
                f"iterations ({self.iterations}) must be a multiple of checkpoint_every ({self.checkpoint_every})"
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: object = "training settings") -> "TrainingSettings":
        """Read a section `networks` of a profile, or the settings that a trained family was trained with.

        Parameters
        ----------
        mapping
            Name → plain value; `size` must be there.
        source
            The file or section that they are from, as an error names it.

        Raises
        ------
        ProfileError
            If a key is unknown, `size` is missing, or a value is impossible.
        """
        return validated(cls, mapping, error=ProfileError, source=source)

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
