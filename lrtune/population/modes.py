"""A model's mode and buffers, which a forward pass that is no training step must leave as they were."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from collections.abc import Iterator


class KeptBuffers:
    """Buffers with the values that they had when they were first kept."""

    def __init__(self) -> None:
        self._kept: dict[tuple[torch.nn.Module, str], tuple[torch.Tensor, torch.Tensor]] = {}

    def keep(self, module: torch.nn.Module, *_: Any) -> None:
        """Remember a module's own buffers, those without a shape yet excepted; serves as a forward pre-hook."""
        for name, buffer in module.named_buffers(recurse=False):
            if (module, name) not in self._kept and not is_lazy(buffer):
                self._kept[module, name] = buffer, buffer.detach().clone()

    def put_back(self) -> None:
        """Give each buffer its value again."""
        with torch.no_grad():
            for (module, name), (buffer, value) in self._kept.items():
                buffer.copy_(value)
                setattr(module, name, buffer)


@contextmanager
def in_mode(model: torch.nn.Module, training: bool) -> Iterator[KeptBuffers]:
    """Put a model into training or evaluation mode for a block; modes and buffers are as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    # Forward passes move running statistics and counters, in place or by putting another tensor there.
    buffers = KeptBuffers()
    for module, _ in modes:
        buffers.keep(module)
    model.train(training)
    try:
        yield buffers
    finally:
        for module, mode in modes:
            module.training = mode
        buffers.put_back()
