"""Modules that a task uses besides its model: a loss with parameters, a teacher, a running mean inside a step.

The caller made them once, and every model that lrtune builds shares them. They are kept as they were.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lrtune.task import Task


class KeptTensors:
    """Tensors outside a model with the values and gradients that they had when they were first kept."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = {}

    def keep(self, tensors: Iterable[torch.Tensor]) -> None:
        """Remember tensors, each once; training and backward passes may change them afterwards."""
        for one in tensors:
            if id(one) not in self._kept:
                gradient = None if one.grad is None else one.grad.clone()
                self._kept[id(one)] = one, one.detach().clone(), gradient

    def put_back(self) -> None:
        """Give each tensor its value and its gradient again."""
        with torch.no_grad():
            for tensor, value, gradient in self._kept.values():
                if not torch.equal(tensor, value):
                    tensor.copy_(value)
                tensor.grad = gradient


@contextmanager
def outside_kept(task: Task) -> Iterator[None]:
    """Give the modules behind a task's loss, step and metrics back their values, gradients and modes afterwards."""
    modules = modules_behind(task)
    modes = [(module, module.training) for module in modules]
    tensors = chain.from_iterable(
        chain(one.parameters(recurse=False), one.buffers(recurse=False)) for one in modules
    )
    kept = KeptTensors()
    kept.keep(one for one in tensors if not is_lazy(one))
    try:
        yield
    finally:
        kept.put_back()
        for module, mode in modes:
            module.training = mode


def modules_behind(task: Task) -> list[nn.Module]:
    """Return the modules behind a task's loss, step and metrics, each of their parts once."""
    functions = (task.loss, task.step, *task.metrics.values())
    found = chain.from_iterable(modules_of(function) for function in functions if function is not None)
    return list({id(part): part for module in found for part in module.modules()}.values())


def modules_of(function: Any) -> Iterator[nn.Module]:
    """Yield the modules that a loss or step is, or holds as arguments, defaults, closure, globals or own object."""
    if isinstance(function, nn.Module):
        yield function
    elif isinstance(function, partial):
        for part in (function.func, *function.args, *function.keywords.values()):
            yield from modules_of(part)
    elif hasattr(function, "__code__"):
        cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        used = [function.__globals__.get(name) for name in function.__code__.co_names]
        held = [*cells, *used, *(function.__defaults__ or ()), getattr(function, "__self__", None)]
        yield from (value for value in held if isinstance(value, nn.Module))


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is bound later
        return False
