"""How many batches are taken at a time, between looks at how the members do."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from lrtune.data.nest import byte_count
from lrtune.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Swapping random states costs per block in a serial execution, and reading the losses waits for an accelerator.
_BLOCK_STEPS = 32
_BLOCK_BYTES = 64 * 2**20


def next_block(stream: Iterable[Any], most: int) -> list[Any]:
    """Take the next batches, as many as the block's limits allow and at least one.

    Raises:
        TaskError: If there is none.
    """
    batches: list[Any] = []
    held = 0
    for batch in islice(stream, min(most, _BLOCK_STEPS)):
        batches.append(batch)
        held += byte_count(batch)
        if held >= _BLOCK_BYTES:
            break
    if not batches:
        raise TaskError("Task.train: gave no batch at all")
    return batches
