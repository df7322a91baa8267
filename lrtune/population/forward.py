"""How one batch goes through a model and the task's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lrtune.data.nest import map_nest
from lrtune.errors import TaskError, UserCodeError, user_code
from lrtune.population.precision import autocasting, widened
from lrtune.task import RESERVED_COLUMNS

if TYPE_CHECKING:
    from lrtune.task import Task

_NO_GRAPH = "does not require grad"  # what torch.autograd.grad says under no_grad
_STEP_KEYS = frozenset({"loss", "output", "target"})


@dataclass(frozen=True)
class Outcome:
    """One batch gone through a model.

    Attributes:
        loss: What the task returned, a tensor of any shape that carries the graph.
        output: The model's output, or None when a `step` does not tell.
        target: What it was compared with, or None likewise.
        metrics: Further scalars that a `step` returned.
    """

    loss: torch.Tensor
    output: Any = None
    target: Any = None
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def scalar(self) -> torch.Tensor:
        """The loss as a tensor of no dimension.

        Raises:
            TaskError: If it holds more than one number.
        """
        if self.loss.numel() != 1:
            shape = list(self.loss.shape)
            raise TaskError(f"Task.loss: expected a scalar, got a tensor of shape {shape}; take its mean")
        return self.loss.reshape(())


def run_batch(task: Task, model: torch.nn.Module, batch: Any) -> Outcome:
    """Compute the task's loss on one batch; whatever the model does to its input, the batch stays as it is.

    A program that takes gradients of its own (a penalty on them, a differential equation) gets them also where none
    are recorded: it runs again with a graph, which is dropped.

    Raises:
        TaskError: If the batch or what the task returns has the wrong form.
        UserCodeError: If the user's code raises.
    """
    outcome: Outcome = _with_graph_if_needed(lambda: _run(task, model, batch), _without_graph)
    return outcome


def _with_graph_if_needed(run: Callable[[], Any], dropped: Callable[[Any], Any]) -> Any:
    try:
        return run()
    except UserCodeError as error:
        if torch.is_grad_enabled() or _NO_GRAPH not in str(error.__cause__):
            raise
    with torch.enable_grad():
        return dropped(run())


def _run(task: Task, model: torch.nn.Module, batch: Any) -> Outcome:
    batch = map_nest(torch.clone, batch)  # an operation in place would change what the next member sees
    if task.step is not None:
        with user_code("calling the task's step"), autocasting(task):
            returned = task.step(model, batch)
        return _from_step(widened(task, returned))
    inputs, target = split_pair(batch)
    with user_code("calling the model"), autocasting(task):
        output = model(inputs)
    output = widened(task, output)
    assert task.loss is not None
    with user_code(lambda: f"calling the task's loss{_shapes(output, target)}"), autocasting(task):
        loss = task.loss(output, target)
    if not isinstance(loss, torch.Tensor):
        raise TaskError(f"Task.loss: expected it to return a Tensor, got {type(loss).__name__}")
    return Outcome(widened(task, loss), output, target)


def _without_graph(outcome: Outcome) -> Outcome:
    output, target = (map_nest(torch.Tensor.detach, part) for part in (outcome.output, outcome.target))
    return Outcome(outcome.loss.detach(), output, target, outcome.metrics)


def call_model(task: Task, model: torch.nn.Module, inputs: Any) -> Any:
    """Return the output of a task's model, whatever it does to its inputs, with the same regard for its gradients.

    Raises:
        UserCodeError: If the model raises.
    """

    def run() -> Any:
        with user_code("calling the model"), autocasting(task):
            output = model(map_nest(torch.clone, inputs))
        return widened(task, output)

    return _with_graph_if_needed(run, lambda output: map_nest(torch.Tensor.detach, output))


def dry_run(task: Task, model: torch.nn.Module, batch: Any) -> None:
    """Send a batch through a model without its loss, which targets that nobody has checked yet may break."""
    if task.step is not None:
        run_batch(task, model, batch)
        return
    call_model(task, model, split_pair(batch)[0])


def split_pair(batch: Any) -> tuple[Any, Any]:
    """Return input and target of a batch.

    Raises:
        TaskError: If the batch is not a pair.
    """
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, Mapping):
        found = f"a dict with the keys {', '.join(map(repr, batch))}"
    elif isinstance(batch, list | tuple):
        found = f"{len(batch)} elements"
    else:
        found = type(batch).__name__
    raise TaskError(f"Task.loss: needs batches (input, target), got {found}; use Task.step for these batches")


def measured_metrics(task: Task, output: Any, target: Any) -> dict[str, torch.Tensor]:
    """Return the task's metrics as detached scalars; none when there is no output to measure."""
    if output is None or target is None:
        return {}
    measured = {}
    for name, metric in task.metrics.items():
        with user_code(f"calling the metric '{name}'"):
            measured[name] = _scalar(f"Task.metrics[{name!r}]", metric(output, target))
    return measured


def _from_step(returned: Any) -> Outcome:
    if isinstance(returned, torch.Tensor):
        return Outcome(returned)
    if not isinstance(returned, Mapping):
        raise TaskError(f"Task.step: expected a Tensor or a dict, got {type(returned).__name__}")
    if not isinstance(returned.get("loss"), torch.Tensor):
        keys = ", ".join(map(repr, returned)) or "none"
        raise TaskError(f"Task.step: expected a dict with a Tensor under 'loss', got the keys {keys}")
    metrics = {
        str(key): _scalar(f"Task.step[{key!r}]", value)
        for key, value in returned.items()
        if key not in _STEP_KEYS and _is_metric(value)
    }
    for name in metrics.keys() & RESERVED_COLUMNS:
        raise TaskError(f"Task.step[{name!r}]: the name is taken by a column of the curves; choose another")
    return Outcome(returned["loss"], returned.get("output"), returned.get("target"), metrics)


def _is_metric(value: Any) -> bool:
    """Say whether an entry of a step's dict is one number; models also return logits, hidden states and None."""
    if isinstance(value, torch.Tensor):
        return value.ndim <= 1 and value.numel() == 1 and not value.is_complex()
    return isinstance(value, Real | np.bool_)


def _scalar(place: str, value: Any) -> torch.Tensor:
    """Return a number as a tensor of its own, where it is: reading it, or MPS without float64, would not do here."""
    if not isinstance(value, torch.Tensor):
        value = torch.as_tensor(value, dtype=torch.float64)
    tensor: torch.Tensor = value.detach()
    if tensor.numel() != 1:
        raise TaskError(f"{place}: expected a scalar, got a tensor of shape {list(tensor.shape)}")
    return tensor.reshape(()).clone()


def _shapes(output: Any, target: Any) -> str:
    if isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor):
        return (
            f" (output {list(output.shape)} {str(output.dtype).removeprefix('torch.')}, "
            f"target {list(target.shape)} {str(target.dtype).removeprefix('torch.')})"
        )
    return ""
