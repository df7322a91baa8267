"""Optimizers by name: any class of `torch.optim`, a function or a class by its file, or the task's own."""

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
        load: Imports a function or a class by its name; the second argument is its role.

    Raises:
        ConfigError: If the name or a keyword is unknown, or what is named takes other arguments.
    """
    if task.optimizer is not None:
        return _own(task.optimizer, "the task's optimizer", "Task.optimizer", {})
    if ":" in config.name:
        return _own(load(config.name, "optimizer"), config.name, "optimizer.name", config.keywords)
    cls = optimizer_class(config.name)
    return _from_class(cls, f"torch.optim.{cls.__name__}", config.keywords)


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


def _own(
    found: Callable[..., Any], name: str, key: str, keywords: dict[str, Any]
) -> tuple[OptimizerFactory, bool]:
    """Return the factory of an optimizer that is the user's: a class like those of torch, or a function."""
    if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer):
        return _from_class(found, name, keywords)
    return _called(found, name, key, keywords), True


def _from_class(
    cls: type[torch.optim.Optimizer], shown: str, keywords: dict[str, Any]
) -> tuple[OptimizerFactory, bool]:
    parameters = inspect.signature(cls).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for key in keywords:
        if key == "params" or (key not in parameters and not takes_any):
            known = [name for name in parameters if name not in ("params", "lr", "weight_decay")]
            hint = f"{did_you_mean(key, known)} ({', '.join(known)})"
            raise ConfigError(f"optimizer.{key}: {shown} takes no such keyword{hint}")
    decays = takes_any or "weight_decay" in parameters
    # YAML has no tuples and torch wants betas as one.
    keywords = {key: tuple(value) if isinstance(value, list) else value for key, value in keywords.items()}
    factory = NamedOptimizer(cls, shown, keywords, decays)
    if fault := _misfit(cls, [()], {**factory.rates(0.0, 0.0), **keywords}):
        raise ConfigError(
            f"optimizer.name: {shown} is called with model.parameters(), lr= and the keys under "
            f"optimizer:, which it does not take: {fault}"
        )
    return factory, decays


@dataclass(frozen=True)
class NamedOptimizer:
    """A class of optimizers, of `torch.optim` or the user's, on all parameters of a model.

    Attributes:
        cls: The class.
        shown: What messages call it.
        keywords: Its keywords besides rate and decay.
        decays: Whether it knows a weight decay.
    """

    cls: type[torch.optim.Optimizer]
    shown: str
    keywords: dict[str, Any]
    decays: bool

    def __call__(self, model: torch.nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return an instance.

        Raises:
            ConfigError: If a class of torch refuses its settings.
            UserCodeError: If a class of the user's raises.
        """
        if self.cls.__module__.startswith("torch."):
            try:
                return self._built(model, lr, weight_decay)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"optimizer: {self.shown} refuses its settings: {error}") from error
        with user_code(f"building {self.shown}(model.parameters(), lr=...)"):
            return self._built(model, lr, weight_decay)

    def rates(self, lr: float, weight_decay: float) -> dict[str, float]:
        """Return rate and decay as the keywords that the class takes."""
        return {"lr": lr, **({"weight_decay": weight_decay} if self.decays else {})}

    def _built(self, model: torch.nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        rates: dict[str, Any] = self.rates(lr, weight_decay)
        return self.cls(model.parameters(), **rates, **self.keywords)


def _called(function: Callable[..., Any], name: str, key: str, keywords: dict[str, Any]) -> OptimizerFactory:
    if fault := _misfit(function, [None, 0.0, 0.0], keywords):
        more = "".join(f", {name}" for name in keywords)
        raise ConfigError(
            f"{key}: expected (model, lr, weight_decay{more}) -> torch.optim.Optimizer, or a class of optimizers; "
            f"{name} takes {inspect.signature(function)} ({fault})"
        )

    def build(model: torch.nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        with user_code(f"calling {name} with (model, lr, weight_decay)"):
            return function(model, lr, weight_decay, **keywords)  # type: ignore[no-any-return]

    return build


def _misfit(function: Callable[..., Any], arguments: list[Any], keywords: dict[str, Any]) -> str | None:
    """Return why a function cannot be called so; None where it can, or nothing is known of what it takes."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature: calling it will tell
        return None
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        return str(error)
    return None
