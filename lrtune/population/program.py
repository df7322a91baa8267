"""What members share: the task's model, loss and optimizer, and how one batch goes through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lrtune.data.nest import map_nest
from lrtune.errors import TaskError, user_code
from lrtune.population.lazy import has_lazy_layers, materialise
from lrtune.population.placement import placed
from lrtune.random_state import preserved
from lrtune.task import RESERVED_COLUMNS

if TYPE_CHECKING:
    from lrtune.task import Task

_STEP_KEYS = frozenset({"loss", "output", "target"})

OptimizerFactory = Callable[[torch.nn.Module, float, float], torch.optim.Optimizer]


@dataclass(frozen=True)
class Program:
    """A task with its optimizer on a device.

    Attributes:
        task: The user's task; its loss and metrics are on the device.
        optimizer: `(model, learning_rate, weight_decay) -> Optimizer`.
        device: Where models live.
        decays: Whether the optimizer knows a weight decay at all.
        plain: Whether it is one of torch's classes by name, built on all parameters: nothing to get wrong.
        first_batch: Returns a training batch on the device, which lazy layers take their shapes from.
    """

    task: Task
    optimizer: OptimizerFactory
    device: torch.device
    decays: bool = True
    plain: bool = False
    first_batch: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", placed(self.task, self.device))

    def build_model(self) -> torch.nn.Module:
        """Return a fresh model on the device, every parameter with its shape; the caller seeds.

        Raises:
            TaskError: If the task builds something other than an `nn.Module`.
            UserCodeError: If building raises.
        """
        model = self._built()
        if self.first_batch is not None and has_lazy_layers(model):
            with preserved():
                batch = self.first_batch()
            materialise(model, lambda: _dry_run(self.task, model, batch))
        return model

    def _built(self) -> torch.nn.Module:
        with user_code("building the task's model"):
            model = self.task.model()
        if not isinstance(model, torch.nn.Module):
            raise TaskError(f"Task.model: expected it to return an nn.Module, got {type(model).__name__}")
        with user_code(f"moving the model to {self.device}"):
            return model.to(self.device)

    def build_optimizer(
        self, model: torch.nn.Module, lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Return the optimizer for a model.

        Raises:
            TaskError: If the model has no parameter, or the task's function returns something else, or an
                optimizer without learning rates.
            UserCodeError: If building it raises.
        """
        if next(model.parameters(), None) is None:
            raise TaskError(
                f"Task.model: {type(model).__name__} has no parameters, so nothing can be trained"
            )
        optimizer = self.optimizer(model, lr, weight_decay if self.decays else 0.0)
        if not isinstance(optimizer, torch.optim.Optimizer):
            got = type(optimizer).__name__
            raise TaskError(f"Task.optimizer: expected it to return a torch.optim.Optimizer, got {got}")
        if not all(isinstance(group.get("lr"), Real | torch.Tensor) for group in optimizer.param_groups):
            raise TaskError(
                f"Task.optimizer: {type(optimizer).__name__} has a parameter group without a learning rate; "
                "each needs a number under 'lr', which is what lrtune sets"
            )
        return optimizer

    def check_models_are_fresh(self) -> None:
        """Refuse a task whose `model` hands out the same module, or the same parameters, at each call.

        Raises:
            TaskError: If two calls share a parameter: training one member would train them all.
        """
        with preserved():
            one, other = self._built(), self._built()
        shared = {id(parameter) for parameter in one.parameters()} & {id(p) for p in other.parameters()}
        if one is other or shared:
            raise TaskError(
                "Task.model: two calls returned the same module; build a new one in each call "
                "(model=lambda: make_net()), or copy.deepcopy a trained one"
            )


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

    Raises:
        TaskError: If the batch or what the task returns has the wrong form.
        UserCodeError: If the user's code raises.
    """
    batch = map_nest(torch.clone, batch)  # an operation in place would change what the next member sees
    if task.step is not None:
        with user_code("calling the task's step"):
            returned = task.step(model, batch)
        return _from_step(returned)
    inputs, target = split_pair(batch)
    with user_code("calling the model"):
        output = model(inputs)
    assert task.loss is not None
    with user_code(lambda: f"calling the task's loss{_shapes(output, target)}"):
        loss = task.loss(output, target)
    if not isinstance(loss, torch.Tensor):
        raise TaskError(f"Task.loss: expected it to return a Tensor, got {type(loss).__name__}")
    return Outcome(loss, output, target)


def _dry_run(task: Task, model: torch.nn.Module, batch: Any) -> None:
    """Send a batch through a model without its loss, which targets that nobody has checked yet may break."""
    if task.step is not None:
        run_batch(task, model, batch)
        return
    inputs, _ = split_pair(map_nest(torch.clone, batch))
    with user_code("calling the model"):
        model(inputs)


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
