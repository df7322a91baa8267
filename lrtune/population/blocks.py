"""How many batches are taken at a time, between looks at how the members do."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from lrtune.data.nest import byte_count
from lrtune.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Swapping random states costs per block in a serial execution, and reading the losses waits for an accelerator.
BLOCK_STEPS = 32
_BLOCK_BYTES = 64 * 2**20
_END = object()


def next_block(stream: Iterable[Any], most: int) -> list[Any]:
    """Take the next batches for several members, as many as the block's limits allow and at least one.

    Raises:
        TaskError: If there is none.
    """
    batches: list[Any] = []
    held = 0
    for batch in islice(stream, min(most, BLOCK_STEPS)):
        batches.append(batch)
        held += byte_count(batch)
        if held >= _BLOCK_BYTES:
            break
    if not batches:
        raise _nothing()
    return batches


def one_at_a_time(stream: Iterator[Any], count: int) -> Iterator[Any]:
    """Return so many next batches, of which only one is in memory; the first is read at once.

    Raises:
        TaskError: If there is none.
    """
    first = next(stream, _END)
    if first is _END:
        raise _nothing()
    return chain([first], islice(stream, count - 1))


def _nothing() -> TaskError:
    return TaskError("Task.train: gave no batch at all")
