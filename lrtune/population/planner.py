"""Which execution trains a set of members, and how many of them at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.data.device import free_bytes
from lrtune.data.nest import byte_count
from lrtune.population.serial import SerialPopulation
from lrtune.random_state import preserved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member, Population

_COPIES = 4  # of the parameters that a member in training holds: themselves, a gradient, Adam's two moments
_MEMORY_SHARE = 0.5  # of what is free: data and activations need the rest


def make_population(
    program: Program, members: Sequence[Member], train: Batches, splits: Mapping[str, Batches]
) -> Population:
    """Return a population ready to advance; see `SerialPopulation` for the arguments."""
    return SerialPopulation(program, members, train, splits)


def group_size(program: Program, members: int, train: Batches) -> int:
    """Return how many members are best held at once.

    Data that are read anew each time are read once for as many members as fit in memory. Where reading costs
    nothing a serial execution gains nothing from company: one at a time takes the least memory, and an
    interruption costs one member's work.
    """
    if train.resident:
        return 1
    with preserved():
        model = program.build_model()
    held = byte_count([*model.parameters(), *model.buffers()]) * _COPIES
    return max(1, min(members, int(_MEMORY_SHARE * free_bytes(program.device) / max(held, 1))))
