"""What a model's tables of embeddings are asked for: a category that is the same in every example says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import tensors_of
from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_BATCHES = 2  # of the sample
_FEWEST_ROWS = 3  # of a table: one of two rows is for segments and flags, which are often all zero


@dataclass(frozen=True)
class Categories:
    """The tables of a model.

    Attributes:
        constant: The one row that each table was asked for which was asked for no other, by the table's name.
        tables: How many tables were used.
        lookups: The fewest rows that one of them was asked for, repetitions included.
    """

    constant: dict[str, int]
    tables: int
    lookups: int


def categories(sample: Sample) -> Categories | None:
    """Watch the tables over the first batches; None where the model has none."""
    asked: dict[str, list[torch.Tensor]] = {}

    def entered(name: str, module: nn.Module, positional: Any, named: Any) -> None:
        given = next(tensors_of([positional, named]), None)
        if given is not None and given.numel() and not given.is_floating_point():
            asked.setdefault(name, []).append(given.detach().flatten())

    with hooked(sample.model, pre=entered, only=_is_table):
        for batch in sample.batches[:_BATCHES]:
            sample.run(sample.model, batch, training=False)
    if not asked:
        return None
    seen = {name: torch.cat([one.cpu() for one in found]) for name, found in asked.items()}
    constant = {name: int(one[0]) for name, one in seen.items() if bool((one == one[0]).all())}
    return Categories(constant, len(seen), min(len(one) for one in seen.values()))


def _is_table(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.num_embeddings >= _FEWEST_ROWS
