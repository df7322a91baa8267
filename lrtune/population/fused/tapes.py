"""The tapes of one computation: one for each shape of batch that comes often enough."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from lrtune.data.nest import leaves_of, tensors_of
from lrtune.population.fused.tape import NotTapeableError
from lrtune.random_state import preserved

RECORDED_AT = 3  # appearance of a shape of batch: the short one that ends an epoch is not worth it at once

Tensors = dict[str, torch.Tensor]
Played = Callable[[Sequence[torch.Tensor]], Any]

_PLAIN = (bool, int, float, str, type(None))


class Tapes:
    """Keeps what plays a computation on batches of each shape.

    Args:
        recorded_at: The appearance of a shape of batch at which it is recorded; None for never.
    """

    def __init__(self, recorded_at: int | None = RECORDED_AT) -> None:
        self._recorded_at = recorded_at
        self._seen: dict[Hashable, int] = {}
        self._tapes: dict[Hashable, Played | None] = {}

    def tape_for(self, batch: Any, setting: Hashable, record: Callable[[], Played]) -> Played | None:
        """Return what plays the computation on such a batch; None as long as recording is not worth it.

        Args:
            batch: What it is to be played on.
            setting: What else makes it another computation.
            record: Runs it once and returns what plays it; what it draws is drawn from nobody's stream.
        """
        if self._recorded_at is None:
            return None
        shapes = ((one.shape, one.stride(), one.dtype) for one in tensors_of(batch))
        # What is no tensor is frozen into a tape: another number is another program.
        others = [leaf for leaf in leaves_of(batch) if not isinstance(leaf, torch.Tensor)]
        if not all(isinstance(leaf, _PLAIN) for leaf in others):
            return None
        key = (setting, *shapes, *map(repr, others))
        if key not in self._tapes:
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] < self._recorded_at:
                return None
            self._tapes[key] = _recorded(record)
        return self._tapes[key]


def _recorded(record: Callable[[], Played]) -> Played | None:
    try:
        with preserved():
            return record()
    except NotTapeableError:
        return None


def inputs_of(trained: Tensors, varied: Tensors, shared: Tensors, batch: Any) -> list[torch.Tensor]:
    """Return all that a tape of a stack's computation takes, in the order in which it is recorded and played."""
    return [*trained.values(), *varied.values(), *shared.values(), *tensors_of(batch)]
