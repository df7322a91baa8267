"""What the loss makes of a batch that holds every example twice, and three times, and of its parts."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, map_nest
from lrtune.errors import LrtuneError
from lrtune.probes.losses.pair_products import PairProducts
from lrtune.probes.model.model_calls import chosen, one_row_each, plain_attention

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 2  # examples, where outputs are large: three copies of them are six
_PART = 4  # examples in a quarter of the batch: fewer have hardly any pairs
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
        parts: Losses of the batch, of its halves and of its quarters (means over these), each divided by its number of
            examples, for a step whose loss may compare these; empty where they cannot be taken.
        pairs: Whether the program multiplies all examples with each other, so that copies are other examples' partners.
    """

    twice: float
    thrice: float
    loss: float
    count: int
    elements: int | None
    parts: tuple[float, ...] = ()
    pairs: bool = False


def loss_reduction(sample: Sample) -> LossReduction | None:
    """Measure the loss in evaluation mode, None where a batch cannot be repeated by rows or the loss is not finite."""
    batch = sample.few(_FEWEST)
    if not one_row_each(batch):
        return None
    losses, squares = [], []
    for copies in (1, 2, 3):
        with PairProducts() as products:
            losses.append(_loss(sample, map_nest(functools.partial(_repeated, copies=copies), batch)))
        squares.append({size / copies for size in products.sizes})
    if not all(map(math.isfinite, losses)) or abs(losses[0]) < _TINY:
        return None
    count, target = example_count(sample.batches[0]), sample.first.target
    elements = target.numel() // count if isinstance(target, torch.Tensor) else None
    parts = _parts(sample, batch)
    return LossReduction(
        losses[1] / losses[0],
        losses[2] / losses[0],
        losses[0],
        count,
        elements,
        parts,
        pairs=bool(set.intersection(*squares)),
    )


def _parts(sample: Sample, batch: Any) -> tuple[float, ...]:
    count = example_count(batch) // 4 * 4
    if sample.program.task.step is None or count < 4 * _PART:
        return ()
    found = []
    for pieces in (1, 2, 4):
        size = count // pieces
        places = [range(start, start + size) for start in range(0, count, size)]
        losses = [_loss_or_nan(sample, chosen(batch, place)) for place in places]
        found.append(math.fsum(losses) / pieces / size)
    return tuple(found) if all(map(math.isfinite, found)) else ()


def _loss_or_nan(sample: Sample, batch: Any) -> float:
    try:
        return _loss(sample, batch)
    except LrtuneError:  # the batch's size is written into the program
        return math.nan


def _loss(sample: Sample, batch: Any) -> float:
    with plain_attention():
        return float(sample.run(sample.model, batch, training=False).scalar.detach())


def _repeated(tensor: torch.Tensor, copies: int) -> torch.Tensor:
    return torch.cat([tensor] * copies) if tensor.ndim else tensor
