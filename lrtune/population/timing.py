"""What a step of a population takes, measured within a budget."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from lrtune.random_state import preserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.population.protocol import Population

_FIRST_STEPS = 3  # set things up: an optimizer's state, a recording
_BLOCKS, _BLOCK_STEPS = 3, 2
_LEAST_SECONDS = 2.0  # that planning may take,
_SHARE = 0.05  # or this much of the training planned, whichever is more


class Timed(NamedTuple):
    """What was measured.

    Attributes:
        start: Seconds that setting up takes besides the steps.
        step: Seconds of a step of all members.
        sure: Whether the budget was enough for all the steps that set things up.
    """

    start: float
    step: float
    sure: bool = True


class Budget:
    """The time that planning may take, counted from when this is made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._seconds = _LEAST_SECONDS

    def expect(self, seconds: float) -> None:
        """Allow a share of a training that would take so long one member after the other."""
        self._seconds = max(_LEAST_SECONDS, _SHARE * seconds)

    @property
    def left(self) -> float:
        """Seconds left, below 0 where it is spent."""
        return self._began + self._seconds - time.perf_counter()


def timed(build: Callable[[], Population], budget: Budget) -> Timed:
    """Build a population and time its start and its steps; it goes past the budget by one step at most."""
    with preserved():
        population = build()
        first: list[float] = []
        while len(first) < _FIRST_STEPS and (not first or budget.left > 0):
            first.append(_seconds(population, 1))
        blocks: list[float] = []
        while len(blocks) < _BLOCKS and len(first) == _FIRST_STEPS and budget.left > 0:
            blocks.append(_seconds(population, _BLOCK_STEPS) / _BLOCK_STEPS)
    step = statistics.median(blocks) if blocks else min(first)
    return Timed(max(sum(first) - len(first) * step, 0.0), step, len(first) == _FIRST_STEPS)


def _seconds(population: Population, steps: int) -> float:
    started = time.perf_counter()
    population.advance(steps)
    return time.perf_counter() - started
