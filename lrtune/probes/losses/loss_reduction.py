"""What the loss makes of a batch that holds every example twice, and three times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, map_nest
from lrtune.probes.model.model_calls import one_row_each, plain_attention

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 2  # examples, where outputs are large: three copies of them are six
_TINY = 1e-12  # a loss below it has no ratio


@dataclass(frozen=True)
class LossReduction:
    """Losses of repeated batches, in units of the batch's own: 1 for a mean, the number of copies for a sum.

    Attributes:
        twice: With two copies.
        thrice: With three: a loss over pairs of examples may double by chance, but not treble then.
        loss: Of the batch.
        count: Examples in it.
        elements: Numbers in the target for each example, None where it is not known.
    """

    twice: float
    thrice: float
    loss: float
    count: int
    elements: int | None


def loss_reduction(sample: Sample) -> LossReduction | None:
    """Measure the loss in evaluation mode, None where a batch cannot be repeated by rows or the loss is not finite."""
    batch = sample.few(_FEWEST)
    if not one_row_each(batch):
        return None
    losses = [_loss(sample, map_nest(lambda tensor: _repeated(tensor, n), batch)) for n in (1, 2, 3)]  # noqa: B023
    if not all(map(math.isfinite, losses)) or abs(losses[0]) < _TINY:
        return None
    count, target = example_count(sample.batches[0]), sample.first.target
    elements = target.numel() // count if isinstance(target, torch.Tensor) else None
    return LossReduction(losses[1] / losses[0], losses[2] / losses[0], losses[0], count, elements)


def _loss(sample: Sample, batch: Any) -> float:
    with plain_attention():
        return float(sample.run(sample.model, batch, training=False).scalar.detach())


def _repeated(tensor: torch.Tensor, copies: int) -> torch.Tensor:
    return torch.cat([tensor] * copies) if tensor.ndim else tensor
