"""Members' own batches as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import equal_nests, leaves_of, map_nest, tensors_of
from lrtune.population.fused.stack import CannotFuseError

if TYPE_CHECKING:
    from collections.abc import Sequence


def merged(own: Sequence[Any]) -> Any:
    """Return one nest of each member's batch in a first dimension.

    Raises:
        CannotFuseError: If the batches differ in shape or in what is no tensor, of which there can be only one.
    """
    parts = [list(tensors_of(batch)) for batch in own]
    if len({tuple(one.shape for one in part) for part in parts}) > 1:
        raise CannotFuseError("batches of different orders have different shapes")
    others = [[leaf for leaf in leaves_of(batch) if not isinstance(leaf, torch.Tensor)] for batch in own]
    if any(not equal_nests(other, others[0]) for other in others):
        raise CannotFuseError("batches of different orders differ in what is no tensor")
    stacked = iter([torch.stack(same) for same in zip(*parts, strict=True)])
    return map_nest(lambda _: next(stacked), own[0])
