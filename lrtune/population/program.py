"""What members share: the task's model, loss and optimizer on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch

from lrtune.errors import TaskError, user_code
from lrtune.population.forward import dry_run
from lrtune.population.group_rates import fixed_groups
from lrtune.population.lazy import has_lazy_layers, materialise
from lrtune.population.placement import placed
from lrtune.random_state import preserved

if TYPE_CHECKING:
    from lrtune.population.precision import Precision
    from lrtune.task import Task


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
        precision: What forward passes compute in; `tf32` is torch's to know, for the length of the work.
        channels_last: Whether the weights of convolutions lie in memory channel by channel, as their results then do.
    """

    task: Task
    optimizer: OptimizerFactory
    device: torch.device
    decays: bool = True
    plain: bool = False
    first_batch: Callable[[], Any] | None = None
    precision: Precision = "float32"
    channels_last: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", placed(self.task, self.device, self.precision))

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
            materialise(model, lambda: dry_run(self.task, model, batch))
        return model.to(memory_format=torch.channels_last) if self.channels_last else model  # type: ignore[call-overload]

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

    @cached_property
    def fixed_groups(self) -> frozenset[int]:
        """The positions of the optimizer's groups that have rates of their own, whatever the learning rate."""
        return frozenset() if self.plain else fixed_groups(self)

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
