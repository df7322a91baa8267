"""What is in the batches: values that are not finite, and the targets' type and range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, tensors_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class NotFinite:
    """Values that are NaN or infinite in a set of batches.

    Attributes:
        values: How many.
        examples: In how many examples (a tensor without a batch dimension counts as one).
        of_examples: Out of how many.
    """

    values: int
    examples: int
    of_examples: int


def not_finite(parts: Sequence[Any]) -> NotFinite:
    """Count the values that are not finite in the floating-point tensors of some nests, one nest a batch."""
    values = examples = total = 0
    for part in parts:
        total += example_count(part)
        hit: torch.Tensor | None = None
        for tensor in tensors_of(part):
            if not (tensor.is_floating_point() or tensor.is_complex()):
                continue
            bad = ~torch.isfinite(_stored(tensor))
            values += int(bad.sum())
            rows = bad.flatten(1).any(1) if bad.ndim > 1 else bad.reshape(-1)
            hit = rows if hit is None or hit.shape != rows.shape else hit | rows
        examples += 0 if hit is None else int(hit.sum())
    return NotFinite(values, examples, total)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers that a tensor holds: all of them, or those of a sparse one."""
    if tensor.layout == torch.strided:
        return tensor
    return (tensor.coalesce() if tensor.layout == torch.sparse_coo else tensor).values()


def joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return the batches' tensors as one, or None where their shapes do not join."""
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        return None
    same = all(tensor.ndim and tensor.shape[1:] == tensors[0].shape[1:] for tensor in tensors)
    return torch.cat(list(tensors)) if tensors and same else None
