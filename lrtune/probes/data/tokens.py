"""How much a sample's tokens say: how many kinds there are, and how much one of them prevails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORTEST = 4  # of a sequence: fewer integers are categories side by side


@dataclass(frozen=True)
class Tokens:
    """The tokens of a sample, without the runs that begin and end each sequence (padding).

    Attributes:
        counted: How many.
        most_common: The most frequent one.
        share: Of the most frequent one.
        kinds: How many different ones.
        vocabulary: How many the model's embedding has room for.
    """

    counted: int
    most_common: int
    share: float
    kinds: int
    vocabulary: int


def tokens(rows: Sequence[Sequence[torch.Tensor]], vocabulary: int) -> Tokens | None:
    """Measure the one tensor of integers `[batch, time]` that a model is fed.

    Args:
        rows: A list of the model's inputs a batch.
        vocabulary: Rows of its embedding.
    """
    found = [[one for one in parts if _sequences(one)] for parts in rows]
    if vocabulary == 0 or any(len(one) != 1 for one in found):
        return None
    values = torch.cat([within_runs(one[0].cpu().long()) for one in found])
    if values.numel() == 0:
        return None
    kinds, counts = torch.unique(values, return_counts=True)
    at = int(counts.argmax())
    return Tokens(values.numel(), int(kinds[at]), int(counts[at]) / values.numel(), len(kinds), vocabulary)


def _sequences(part: torch.Tensor) -> bool:
    whole = not (part.is_floating_point() or part.is_complex() or part.dtype == torch.bool)
    return (
        whole
        and part.ndim == 2
        and part.shape[1] >= _SHORTEST
        and not bool(((part == 0) | (part == 1)).all())
    )


def within_runs(sequences: torch.Tensor) -> torch.Tensor:
    """Return the tokens of `[batch, time]` between the run that begins each sequence and the one that ends it.

    >>> within_runs(torch.tensor([[5, 5, 1, 2, 0, 0]]))
    tensor([1, 2])
    """
    begun = (sequences != sequences[:, :1]).cumsum(1) > 0
    unended = (sequences != sequences[:, -1:]).flip(1).cumsum(1).flip(1) > 0
    return sequences[begun & unended]
