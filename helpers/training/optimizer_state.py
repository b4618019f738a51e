"""The state of an optimizer, read back from a file so that a training goes on to the same bytes."""

from collections.abc import Mapping
from typing import Any

import torch


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimizer the `state_dict` that `load_tensors` has read, with the numbers of the parameters as text."""
    state = {int(number): values for number, values in saved["state"].items()}
    optimizer.load_state_dict({**saved, "state": state})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            # files hold tensors row by row, and a fused step on a GPU wants them to lie in memory as the weights do
            if torch.is_tensor(value) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)
