"""What a task's functions remember, a copy for each member.

A loss with a running scale, a teacher that follows the model, a counter of calls: the caller has one of each, but every
member is to find what it left there itself, or one that diverges would spoil all that follow.
"""

from __future__ import annotations

from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import nn

from lrtune.data.nest import byte_count, leaves_of
from lrtune.population.fused.held_state import HeldState
from lrtune.population.outside import modules_behind

if TYPE_CHECKING:
    import torch

    from lrtune.task import Task

# An object that is no module may hold anything, a whole dataset: what would take long to compare is no running number.
_MOST_LEAVES, _MOST_BYTES = 1000, 2**20


class Outside:
    """The modules and objects behind a task's functions, and what they held before any training.

    Args:
        task: Its loss, step and metrics are looked through.
    """

    def __init__(self, task: Task) -> None:
        modules = modules_behind(task)
        owners = [one for one in _owners(task) if _light(one)]
        self._holders = {str(id(one)): one for one in (*modules, *owners)}
        self._start = {name: _Kept({name: one}) for name, one in self._holders.items()}
        self.parameters = [one for module in modules for one in module.parameters(recurse=False)]

    def __bool__(self) -> bool:
        return bool(self._holders)

    def taken(self) -> _Kept:
        """Return what has changed since the start, which is put back.

        Only what has changed is copied: of a frozen teacher there is one copy, however many members.
        """
        changed = [name for name, kept in self._start.items() if kept.changed()]
        taken = _Kept({name: self._holders[name] for name in changed})
        for name in changed:
            self._start[name].put_back()
        return taken


class _Kept:
    """Some objects' state, to be put back any number of times."""

    def __init__(self, holders: dict[str, Any]) -> None:
        self._holders = holders
        self._state = HeldState(holders, registered=True)

    def changed(self) -> bool:
        return bool(self._state.changed())

    def put_back(self) -> None:
        self._state.put_back()
        self._state = HeldState(self._holders, registered=True)  # the lists it kept are the objects' own now


class OwnOutside:
    """What one member finds behind the task's functions, swapped in for a block as its random stream is.

    Args:
        outside: What all members begin with.
    """

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._held = _Kept({})
        self._gradients: list[torch.Tensor | None] = _copied(outside.parameters)
        self._outer: list[torch.Tensor | None] = []

    def __enter__(self) -> OwnOutside:
        if self._outside:
            self._outer = [one.grad for one in self._outside.parameters]
            _set(self._outside.parameters, self._gradients)
            self._held.put_back()
        return self

    def __exit__(self, *_: object) -> None:
        if self._outside:
            self._held = self._outside.taken()
            self._gradients = [one.grad for one in self._outside.parameters]
            _set(self._outside.parameters, self._outer)

    def lent(self) -> OwnOutside:
        """Return a copy for a block whose changes do not count, as those of an evaluation."""
        copied = OwnOutside(self._outside)
        copied._held = self._held
        return copied


def _owners(task: Task) -> list[Any]:
    """Return the objects that are functions of the task, or that its functions are methods of."""
    functions = [one for one in (task.loss, task.step, *task.metrics.values()) if one is not None]
    owners = [*functions, *(getattr(one, "__self__", None) for one in functions)]
    others = (nn.Module, type, ModuleType)
    return [one for one in owners if getattr(one, "__dict__", None) and not isinstance(one, others)]


def _light(one: Any) -> bool:
    leaves = list(islice(leaves_of(vars(one)), _MOST_LEAVES + 1))
    return len(leaves) <= _MOST_LEAVES and byte_count(leaves) <= _MOST_BYTES


def _copied(parameters: list[nn.Parameter]) -> list[torch.Tensor | None]:
    return [None if one.grad is None else one.grad.clone() for one in parameters]


def _set(parameters: list[nn.Parameter], gradients: list[torch.Tensor | None]) -> None:
    for one, gradient in zip(parameters, gradients, strict=True):
        one.grad = gradient
