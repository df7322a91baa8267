"""What objects keep in their attributes, which a stack has no rows for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from lrtune.data.nest import equal_nests, leaves_of, map_nest
from lrtune.population.outside import modules_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.task import Task

_KINDS = (torch.Tensor, int, float, complex, str, type(None))  # a bool is an int
_TENSORS = ("_parameters", "_buffers")


class HeldState:
    """Some objects' attributes that are tensors, numbers or nests of them, as they were when this was made.

    Args:
        holders: The objects, by what a message calls them.
        registered: Whether a module's parameters and buffers count too.
    """

    def __init__(self, holders: Mapping[str, Any], registered: bool = False) -> None:
        self._holders = dict(holders)
        self._registered = registered
        self._bound = {name: dict(self._attributes(one)) for name, one in self._holders.items()}
        self._values = {name: _copied(bound) for name, bound in self._bound.items()}

    def _attributes(self, one: Any) -> dict[str, Any]:
        own = {name: value for name, value in vars(one).items() if name != "training" and _is_plain(value)}
        if not (self._registered and isinstance(one, torch.nn.Module)):
            return {name: value for name, value in own.items() if name not in _TENSORS}
        registered = {name: dict(vars(one)[name]) for name in _TENSORS}
        return own | {name: held for name, held in registered.items() if not any(map(is_lazy, held.values()))}

    def changed(self) -> list[tuple[str, str]]:
        """Return holder and attribute of whatever is new or has another value now."""
        return [
            (name, attribute)
            for name, one in self._holders.items()
            for attribute, value in self._attributes(one).items()
            if attribute not in self._values[name] or not _equal(value, self._values[name][attribute])
        ]

    def put_back(self) -> None:
        """Give every attribute the value that it had, in the tensor that held it."""
        for name, one in self._holders.items():
            for attribute in self._attributes(one).keys() - self._bound[name].keys():
                delattr(one, attribute)
            for attribute, held in self._bound[name].items():
                own: dict[str, Any] = one.__dict__
                value = self._values[name][attribute]
                if attribute in _TENSORS:
                    own[attribute].update(_restored(held, value))
                else:
                    own |= _restored({attribute: held}, {attribute: value})


def _restored(held: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors that were there with the values that they had; copies of all else."""
    for name, one in held.items():
        if isinstance(one, torch.Tensor) and not _equal(one.detach(), values[name]):
            one.detach().copy_(values[name])
    return {name: one if isinstance(one, torch.Tensor) else values[name] for name, one in held.items()}


def outside_holders(task: Task) -> dict[str, Any]:
    """Return the objects behind a task's loss and step that may keep state, by name."""
    holders: dict[str, Any] = {}
    for role, function in (("loss", task.loss), ("step", task.step)):
        for one in (function, getattr(function, "__self__", None)):
            if hasattr(one, "__dict__") and not isinstance(one, torch.nn.Module | type):
                holders[f"the task's {role}"] = one
        for module in modules_of(function) if function is not None else ():
            for path, part in module.named_modules():
                holders[f"{type(module).__name__} of the task's {role}{path and f' ({path})'}"] = part
    return holders


def poisoned(model: torch.nn.Module, attributes: list[tuple[str, str]]) -> bool:
    """Overwrite tensors of a model with NaN; whoever reads them before writing them shows it. False if one is none."""
    modules = dict(model.named_modules())
    for path, name in attributes:
        value = vars(modules[path])[name]
        if not isinstance(value, torch.Tensor) or not (value.is_floating_point() or value.is_complex()):
            return False
        modules[path].__dict__[name] = torch.full_like(value.detach(), torch.nan)
    return True


def _is_plain(value: Any) -> bool:
    return isinstance(value, np.ndarray) or all(isinstance(leaf, _KINDS) for leaf in leaves_of(value))


def _copied(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.copy()
        if isinstance(value, np.ndarray)
        else map_nest(lambda one: one.detach().clone(), value)
        for name, value in attributes.items()
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return one is other or equal_nests(one, other)
