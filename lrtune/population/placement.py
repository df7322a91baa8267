"""A task where and as it runs: losses and metrics that hold tensors must be where the outputs are."""

from __future__ import annotations

import copy
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from lrtune.errors import user_code

if TYPE_CHECKING:
    from lrtune.population.precision import Precision
    from lrtune.task import Task


def placed(task: Task, device: torch.device, precision: Precision = "float32") -> Task:
    """Return the task with its loss and metrics on an accelerator; the caller's own modules stay where they are.

    `nn.CrossEntropyLoss(weight=...)` is such a loss. Without one, and on the CPU, the task itself is returned, unless
    it is to run under autocast.

    Raises:
        UserCodeError: If a module cannot be copied or moved.
    """
    changes: dict[str, Any] = {"autocast": device.type if precision == "bfloat16" else None}
    if device.type != "cpu":
        changes["loss"] = _on_device(task.loss, "Task.loss", device)
        metrics = {
            name: _on_device(one, f"Task.metrics[{name!r}]", device) for name, one in task.metrics.items()
        }
        same = all(metrics[name] is metric for name, metric in task.metrics.items())
        changes["metrics"] = task.metrics if same else metrics
    if all(getattr(task, name) is value or getattr(task, name) == value for name, value in changes.items()):
        return task
    moved = copy.copy(task)  # dataclasses.replace would give it another identity (its token)
    for name, value in changes.items():
        object.__setattr__(moved, name, value)
    return moved


def _on_device(function: Any, field: str, device: torch.device) -> Any:
    if not isinstance(function, torch.nn.Module):
        return function
    if all(tensor.device == device for tensor in chain(function.parameters(), function.buffers())):
        return function
    with user_code(f"moving {field} to {device}"):
        return copy.deepcopy(function).to(device)
