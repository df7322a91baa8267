"""Which tensors of a batch are inputs and which is the target, and the same batch with one of them changed.

A pair is told apart by place. A step hands out a target, but not where it came from: the batch's tensors are then
told apart by their values, since the step works on copies. Where that is not clear nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from lrtune.data.nest import example_count, map_nest, tensors_of

Change = Callable[[torch.Tensor], torch.Tensor]


def unchanged(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor itself."""
    return tensor


def is_target(value: Any, target: torch.Tensor) -> bool:
    """Say whether a tensor of the batch holds the target's values, of whatever type and shape."""
    if not isinstance(value, torch.Tensor) or value.numel() != target.numel():
        return False
    return bool((value.flatten().cpu() == target.flatten().cpu()).all())


def inputs_of(batch: Any, target: torch.Tensor | None) -> list[torch.Tensor]:
    """Return the batch's tensors of one row per example, each once and without the target."""
    if (
        isinstance(batch, list | tuple)
        and len(batch) == 2
        and (target is None or is_target(batch[1], target))
    ):
        tensors = list(tensors_of(batch[0]))  # by place: an autoencoder's input equals its target
    else:
        tensors = [one for one in tensors_of(batch) if target is None or not is_target(one, target)]
    count = example_count(batch)
    kept: list[torch.Tensor] = []
    for tensor in tensors:
        if tensor.ndim and tensor.shape[0] == count and not any(torch.equal(tensor, other) for other in kept):
            kept.append(tensor)
    return kept


def with_parts(batch: Any, target: Any, inputs: Change = unchanged, targets: Change = unchanged) -> Any:
    """Return a batch whose inputs or targets went through a function, None where they cannot be told apart.

    Args:
        batch: As the data give it.
        target: What a step said that it compared with; pairs need none.
        inputs: Applied to each tensor that is no target.
        targets: Applied to the target.
    """
    if isinstance(batch, list | tuple) and len(batch) == 2:
        pair = [map_nest(inputs, batch[0]), map_nest(targets, batch[1])]
        rebuild: Any = getattr(batch, "_make", type(batch))  # named tuples take their fields one by one
        return rebuild(pair)
    if not isinstance(batch, Mapping) or not isinstance(target, torch.Tensor):
        return None
    names = [name for name, value in batch.items() if is_target(value, target)]
    if len(names) != 1:
        return None
    return {name: map_nest(targets if name in names else inputs, value) for name, value in batch.items()}
