"""Optimizers by name: any class of `torch.optim`, `file.py:function`, or the task's own."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.errors import ConfigError, did_you_mean, user_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.config import OptimizerConfig
    from lrtune.population.program import OptimizerFactory
    from lrtune.task import Task

_NEEDS_CLOSURE = frozenset({"LBFGS"})  # evaluates the loss several times a step: no minibatch recipe fits


def optimizer_factory(
    task: Task, config: OptimizerConfig, load: Callable[[str, str], Callable[..., Any]]
) -> tuple[OptimizerFactory, bool]:
    """Return `(model, lr, weight_decay) -> Optimizer`, and whether it takes a weight decay.

    The task's own optimizer comes before the configuration's.

    Args:
        task: May bring an optimizer.
        config: Names one otherwise.
        load: Imports a function by its name; the second argument is its role.

    Raises:
        ConfigError: If the name or a keyword is unknown.
    """
    if task.optimizer is not None:
        return _called(task.optimizer, "the task's optimizer", {}), True
    if ":" in config.name:
        return _called(load(config.name, "optimizer"), config.name, config.keywords), True
    return _from_class(optimizer_class(config.name), config.keywords)


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """Return the class of `torch.optim` with this name, in any case.

    Raises:
        ConfigError: If there is none, or it cannot be trained with minibatches.
    """
    classes = {
        key.lower(): value
        for key, value in vars(torch.optim).items()
        if inspect.isclass(value)
        and issubclass(value, torch.optim.Optimizer)
        and value is not torch.optim.Optimizer
    }
    found = classes.get(name.lower())
    if found is None:
        known = ", ".join(sorted(classes))
        raise ConfigError(
            f"optimizer.name: torch.optim has no '{name}'{did_you_mean(name.lower(), classes)} ({known})"
        )
    if found.__name__ in _NEEDS_CLOSURE:
        raise ConfigError(
            f"optimizer.name: {found.__name__} needs a closure and the full batch; choose another"
        )
    return found


def _from_class(cls: type[torch.optim.Optimizer], keywords: dict[str, Any]) -> tuple[OptimizerFactory, bool]:
    parameters = inspect.signature(cls).parameters
    for key in keywords:
        if key not in parameters or key == "params":
            known = [name for name in parameters if name not in ("params", "lr", "weight_decay")]
            hint = f"{did_you_mean(key, known)} ({', '.join(known)})"
            raise ConfigError(f"optimizer.{key}: torch.optim.{cls.__name__} takes no such keyword{hint}")
    decays = "weight_decay" in parameters
    # YAML has no tuples and torch wants betas as one.
    keywords = {key: tuple(value) if isinstance(value, list) else value for key, value in keywords.items()}

    return NamedOptimizer(cls, keywords, decays), decays


@dataclass(frozen=True)
class NamedOptimizer:
    """A class of `torch.optim` on all parameters of a model.

    Attributes:
        cls: The class.
        keywords: Its keywords besides rate and decay.
        decays: Whether it knows a weight decay.
    """

    cls: type[torch.optim.Optimizer]
    keywords: dict[str, Any]
    decays: bool

    def __call__(self, model: torch.nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return an instance.

        Raises:
            ConfigError: If the class refuses its settings.
        """
        rates: dict[str, Any] = {"lr": lr, **({"weight_decay": weight_decay} if self.decays else {})}
        try:
            return self.cls(model.parameters(), **rates, **self.keywords)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"optimizer: torch.optim.{self.cls.__name__} refuses its settings: {error}"
            ) from error


def _called(function: Callable[..., Any], name: str, keywords: dict[str, Any]) -> OptimizerFactory:
    def build(model: torch.nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        with user_code(f"calling {name}"):
            return function(model, lr, weight_decay, **keywords)  # type: ignore[no-any-return]

    return build
