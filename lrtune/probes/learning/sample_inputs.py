"""Which parts of a batch a target is predicted from, and which of these inputs are equal.

Where they cannot be told apart (`batch_parts`) nothing is claimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count
from lrtune.probes.data.batch_parts import inputs_of, is_target
from lrtune.probes.data.examples import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

_HASH = (
    6364136223846793005  # multiplier of Knuth's MMIX generator: odd, so that a rolling hash keeps every bit
)


def input_keys(batches: Sequence[Any], targets: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return a number for what each target is predicted from; equal inputs have equal numbers.

    Args:
        batches: The batches.
        targets: What each batch's output was compared with.

    Returns:
        int64 on the CPU: one per example where each example has one target (of any shape), one per position for
        sequences of tokens; None where the inputs cannot be told.
    """
    tokens = one_per_position(batches[0], targets[0])
    find = _prefixes if tokens else _rows
    parts = [find(batch, target) for batch, target in zip(batches, targets, strict=True)]
    if any(part is None for part in parts):
        return None
    whole = joined([part for part in parts if part is not None])
    if whole is None or whole.numel() == 0:
        return None
    if tokens:
        return _prefix_keys(whole)
    _, groups = torch.unique(whole, dim=0, return_inverse=True)
    return groups  # type: ignore[no-any-return]


def one_per_position(batch: Any, target: torch.Tensor) -> bool:
    """Say whether an example has several labels: `[batch, time, ...]`, or `[batch * time]` as a step flattens it."""
    if target.is_floating_point():
        return False
    return target.numel() > max(example_count(batch), 1)


def _rows(batch: Any, target: torch.Tensor) -> torch.Tensor | None:
    """Return all inputs of each example side by side, `[examples, values]`."""
    inputs = inputs_of(batch, target)
    if not inputs or target.shape[0] != example_count(batch):
        return None
    real = [torch.view_as_real(part) if part.is_complex() else part for part in inputs]
    return torch.cat([part.detach().cpu().double().reshape(part.shape[0], -1) for part in real], dim=1)


def _prefixes(batch: Any, target: torch.Tensor) -> torch.Tensor | None:
    """Return the one tensor of tokens that go with the targets, `[examples, time]`."""
    fitting = [tensor for tensor in inputs_of(batch, target) if _could_be_tokens(tensor, target)]
    if len(fitting) > 1:  # labels that the step moves by one are the target under another name
        fitting = [tensor for tensor in fitting if not is_target(tensor[:, 1:], target)]
    if len(fitting) != 1:
        return None
    return fitting[0][:, : target.numel() // fitting[0].shape[0]].cpu().long()


def _could_be_tokens(tensor: torch.Tensor, target: torch.Tensor) -> bool:
    if tensor.ndim != 2 or tensor.dtype == torch.bool or tensor.is_floating_point() or tensor.is_complex():
        return False
    count, length = tensor.shape
    mask = bool(((tensor == 0) | (tensor == 1)).all())
    return not mask and target.numel() in (count * length, count * (length - 1))


def _prefix_keys(tokens: torch.Tensor) -> torch.Tensor:
    keys = torch.empty_like(tokens)
    state = torch.zeros_like(tokens[:, 0])
    for position in range(tokens.shape[1]):
        state = (state + tokens[:, position] + 1) * _HASH  # int64 wraps, as a hash may
        state = state ^ (state >> 29)
        keys[:, position] = state
    return keys.flatten()
