from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from memory_programs import BATCH, TASKS, allocated
from programs import CPU, program_of

from lrtune.config import PopulationConfig
from lrtune.data.source import open_data
from lrtune.population.fused.footprint import Footprint, peak
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.groups import Groups
from lrtune.population.plans import Plan
from lrtune.population.protocol import Member
from lrtune.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    import lrtune

MEMBERS = [Member(0.001 * (at + 1), 1e-4, at) for at in range(12)]
STEPS = 10  # more than are measured: nothing may grow with them


def test_known_bytes() -> None:
    """What is alive at once counts, once however many views it has, and nothing after its end."""

    def run() -> None:
        one = torch.zeros(1000)  # 4,000 bytes
        view = one.view(10, 100)[2:]
        two = view + 1  # 3,200 bytes
        del one, view
        three = two.repeat(2, 1)  # 6,400 bytes, when the first 4,000 are gone
        del two, three

    assert peak(run) == 3200 + 6400
    assert peak(lambda: None) == 0


def test_a_footprint_is_a_line() -> None:
    """What all share once, and each member's own."""
    assert Footprint(shared=10.0, member=3.0).of(4) == 22.0


@pytest.mark.parametrize("traced", [True, False], ids=["recorded", "computed"])
@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_the_forecast(make: Callable[[], lrtune.Task], traced: bool) -> None:
    """From programs of two and four members, what twelve take is foretold within 10 % of what the allocator counts."""
    program = program_of(make(), name="adamw")
    train = open_data(program.task, BATCH, 0, CPU, Silent()).train
    train.head(1, 0)
    plan = Plan("fused", traced, "")
    forecast = Groups(program, PopulationConfig()).forecast(plan, MEMBERS, train)
    found = allocated(lambda: FusedPopulation(program, MEMBERS, train, {}, traced).advance(STEPS))
    assert forecast == pytest.approx(found, rel=0.1)


def test_members_with_batches_of_their_own() -> None:
    """Several orders cost a batch a member, which the forecast knows."""
    program = program_of(TASKS["perceptron"]())
    train = open_data(program.task, BATCH, 0, CPU, Silent()).train
    members = [Member(0.01, 0.0, at, at % 3) for at in range(12)]
    groups = Groups(program, PopulationConfig())
    plan = Plan("fused", False, "")
    found = allocated(lambda: FusedPopulation(program, members, train, {}, False).advance(STEPS))
    assert groups.forecast(plan, members, train) == pytest.approx(found, rel=0.1)
    assert groups.forecast(plan, members, train) > groups.forecast(plan, MEMBERS, train)


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_recording_takes_no_more(make: Callable[[], lrtune.Task]) -> None:
    """A recorded program takes at most a tenth more than a computed one: nothing is held for the tape's sake."""
    program = program_of(make())
    train = open_data(program.task, BATCH, 0, CPU, Silent()).train
    groups = Groups(program, PopulationConfig())
    recorded, computed = (
        groups.forecast(Plan("fused", traced, ""), MEMBERS, train) for traced in (True, False)
    )
    assert recorded <= 1.1 * computed
