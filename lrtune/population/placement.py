"""Losses and metrics that hold tensors, which must be where the outputs are."""

from __future__ import annotations

import copy
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from lrtune.errors import user_code

if TYPE_CHECKING:
    from lrtune.task import Task


def placed(task: Task, device: torch.device) -> Task:
    """Return the task with its loss and metrics on an accelerator; the caller's own modules stay where they are.

    `nn.CrossEntropyLoss(weight=...)` is such a loss. Without one, and on the CPU, the task itself is returned.

    Raises:
        UserCodeError: If a module cannot be copied or moved.
    """
    if device.type == "cpu":
        return task
    loss = _on_device(task.loss, "Task.loss", device)
    metrics = {
        name: _on_device(metric, f"Task.metrics[{name!r}]", device) for name, metric in task.metrics.items()
    }
    if loss is task.loss and all(metrics[name] is metric for name, metric in task.metrics.items()):
        return task
    moved = copy.copy(task)  # dataclasses.replace would give it another identity (its token)
    object.__setattr__(moved, "loss", loss)
    object.__setattr__(moved, "metrics", metrics)
    return moved


def _on_device(function: Any, field: str, device: torch.device) -> Any:
    if not isinstance(function, torch.nn.Module):
        return function
    if all(tensor.device == device for tensor in chain(function.parameters(), function.buffers())):
        return function
    with user_code(f"moving {field} to {device}"):
        return copy.deepcopy(function).to(device)
