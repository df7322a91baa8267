from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from lrtune.population.timing import Budget, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = 5.0  # seconds that the first step takes longer than the others


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        """Return the time."""
        return self.now


class Steps:
    """A population whose steps take a known time on that clock."""

    def __init__(self, clock: Clock, seconds: float, first: float = FIRST) -> None:
        self.clock, self.seconds, self.taken = clock, seconds, 0
        self.waiting = first

    def advance(self, steps: int) -> torch.Tensor:
        """Let the time pass."""
        self.clock.now += steps * self.seconds + self.waiting
        self.taken, self.waiting = self.taken + steps, 0.0
        return torch.zeros(1, steps)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The clock that budgets and timings go by."""
    clock = Clock()
    monkeypatch.setattr("lrtune.population.timing.time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def built(population: Steps) -> Any:
    """Stand for what builds a population."""
    return lambda: population


def test_start_and_step(clock: Clock) -> None:
    """What the first steps take longer is the start; a step is the median of what follows."""
    budget = Budget()
    budget.expect(1e6)
    found = timed(built(Steps(clock, 0.25)), budget)
    assert found == (FIRST, 0.25, True)


@pytest.mark.parametrize(
    ("expected", "allowed"), [(0.0, 2.0), (10.0, 2.0), (40.0, 2.0), (400.0, 20.0), (4000.0, 200.0)]
)
def test_the_budget(expected: float, allowed: float, clock: Clock) -> None:
    """Planning may take 2 seconds, or 5 % of the training where that is more."""
    budget = Budget()
    budget.expect(expected)
    assert budget.left == pytest.approx(allowed)
    clock.now += 1.5
    assert budget.left == pytest.approx(allowed - 1.5)


@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.45, 0.7, 3.0, 50.0])
def test_past_the_budget_by_one_block_at_most(seconds: float, clock: Clock) -> None:
    """However slow the steps, measuring stops when the time is up; what was timed too little is not sure."""
    population = Steps(clock, seconds, first=0.0)
    budget = Budget()
    found = timed(built(population), budget)
    assert budget.left >= -2 * seconds
    assert found.step == pytest.approx(seconds)
    assert found.sure == (2 * seconds < 2.0)  # when the third step begins
    assert population.taken <= 9


def test_a_slow_population_takes_one_step(clock: Clock) -> None:
    """With no time left a single step is taken, which is all that is known then."""
    population = Steps(clock, 3.0, first=0.0)
    budget = Budget()
    clock.now += 10.0
    assert timed(built(population), budget) == (0.0, 3.0, False)
    assert population.taken == 1
