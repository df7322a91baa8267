"""Models with layers that take their shapes from the first batch: `nn.LazyLinear` and its like."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch.nn.parameter import is_lazy

from lrtune.errors import TaskError
from lrtune.population.modes import in_mode

if TYPE_CHECKING:
    from collections.abc import Callable


def has_lazy_layers(model: torch.nn.Module) -> bool:
    """Say whether parameters or buffers of a model have no shape yet."""
    return any(map(is_lazy, chain(model.parameters(), model.buffers())))


def materialise(model: torch.nn.Module, dry_run: Callable[[], object]) -> None:
    """Give every lazy layer its shape by one forward pass in training mode, which some layers alone take part in.

    What the layers' initialisation and the pass draw comes from the caller's random stream, as in the script that
    runs a batch through the model before it builds the optimizer. The pass is no training step: buffers end with
    the values that their initialisation gave them.

    Args:
        model: Its modes are as before afterwards.
        dry_run: Sends a batch through it.

    Raises:
        TaskError: If layers without a shape are left.
    """
    with in_mode(model, training=True) as buffers, torch.no_grad():
        # A lazy layer's own pre-hook, which initialises it, comes first.
        hooks = [
            module.register_forward_pre_hook(buffers.keep)
            for module in model.modules()
            if any(map(is_lazy, module.buffers(recurse=False)))
        ]
        try:
            dry_run()
        finally:
            for hook in hooks:
                hook.remove()
    if has_lazy_layers(model):
        pairs = chain(model.named_parameters(), model.named_buffers())
        left = ", ".join(name for name, tensor in pairs if is_lazy(tensor))
        raise TaskError(f"Task.model: a forward pass on the first batch leaves {left} without a shape")
