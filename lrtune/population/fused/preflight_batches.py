"""The few batches on which two executions are compared."""

from __future__ import annotations

from collections import Counter
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, map_nest, tensors_of
from lrtune.errors import TaskError
from lrtune.population.fused.stack import CannotFuseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.data.batches import Batches


def preflight_batches(train: Batches, orders: Sequence[int], steps: int) -> list[list[Any]]:
    """Return for each step each member's batch, all of one shape: a tape is played only on such.

    Args:
        train: The training batches.
        orders: Each member's order.
        steps: How many.

    Raises:
        CannotFuseError: If the orders' batches have no shape in common.
        TaskError: If there is no batch at all.
    """
    read = {order: train.head(steps, order) for order in dict.fromkeys(orders)}
    if not all(read.values()):
        raise TaskError("Task.train: gave no batch at all")
    shape = Counter(_shape(batch) for batch in read[orders[0]]).most_common(1)[0][0]
    alike = {order: [one for one in batches if _shape(one) == shape] for order, batches in read.items()}
    if not all(alike.values()):
        raise CannotFuseError("batches of different orders have different shapes")
    for batches in alike.values():
        if len(batches) == 1 and train.collated:
            batches.append(_resampled(batches[0]))
    per_order = {order: list(islice(cycle(batches), steps)) for order, batches in alike.items()}
    return [[per_order[order][step] for order in orders] for step in range(steps)]


def _shape(batch: Any) -> tuple[Any, ...]:
    return tuple((one.shape, one.stride(), one.dtype) for one in tensors_of(batch))


def _resampled(batch: Any) -> Any:
    """Return another batch of the same shape: the first half of the examples, each twice."""
    rows = example_count(batch)

    def drawn(one: torch.Tensor) -> torch.Tensor:
        if one.ndim == 0 or one.shape[0] != rows:
            return one
        return one[torch.arange(rows, device=one.device) // 2]

    return map_nest(drawn, batch)
