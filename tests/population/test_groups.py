from __future__ import annotations

import pytest
from programs import CPU, blob_task, blobs, program_of
from torch.utils.data import DataLoader

from lrtune.config import PopulationConfig
from lrtune.data.source import open_data
from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.groups import Groups
from lrtune.population.memory import member_bytes
from lrtune.population.plans import Plan
from lrtune.population.protocol import Member
from lrtune.progress import Silent

MEMBERS = [Member(rate) for rate in (0.01, 0.03, 0.1, 0.3, 0.05, 0.02, 0.2, 0.15)]

SIZES: dict[str, tuple[Plan, bool, dict[str, int], int]] = {
    "one by one": (Plan("serial", False, ""), True, {}, 1),
    "read anew": (Plan("serial", False, ""), False, {}, 8),
    "one program": (Plan("fused", True, ""), True, {}, 8),
    "one program, at most 3": (Plan("fused", True, ""), True, {"members": 3}, 3),
    "workers": (Plan("sharded", False, "", 3), True, {}, 3),
    "workers, at most 2": (Plan("sharded", False, "", 3), True, {"members": 2}, 2),
    "workers, read anew": (Plan("sharded", False, "", 3), False, {}, 8),
    "workers, read anew, at most 4": (Plan("sharded", False, "", 3), False, {"members": 4}, 3),
    "a program each": (Plan("sharded", True, "", 2, "fused"), True, {}, 8),
    "a program each, at most 5": (Plan("sharded", True, "", 2, "fused"), True, {"members": 5}, 4),
}


@pytest.mark.parametrize(("plan", "resident", "settings", "size"), SIZES.values(), ids=SIZES)
def test_groups(plan: Plan, resident: bool, settings: dict[str, int], size: int) -> None:
    """How many of eight members are held at once: one a worker, or as many as gain from company, within the limit."""
    task = blob_task(train=blobs() if resident else DataLoader(blobs(), 16))
    train = open_data(task, 16, 0, CPU, Silent()).train
    groups = Groups(program_of(task), PopulationConfig(**settings))
    assert groups.size(plan, MEMBERS, train) == size


def test_memory_bounds_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is scarce a program has as many members as its measured footprint leaves room for."""
    program = program_of(blob_task())
    train = open_data(program.task, 16, 0, CPU, Silent()).train
    groups = Groups(program, PopulationConfig())
    one, five = (groups.forecast(Plan("fused", True, ""), MEMBERS[:count], train) for count in (1, 5))
    plan, both = Plan("fused", True, ""), Plan("sharded", True, "", 2, "fused")
    for free, wanted in ((2 * five + 2, 5), (2 * five - 2, 4), (2 * one + 2, 1), (0, 1)):
        monkeypatch.setattr("lrtune.population.memory.free_bytes", lambda device, free=free: free)
        assert groups.size(plan, MEMBERS, train) == wanted
    shared = groups.forecast(both, MEMBERS[:1], train) - one
    monkeypatch.setattr("lrtune.population.memory.free_bytes", lambda device: 2 * (five + shared) + 2)
    assert groups.size(both, MEMBERS, train) == 4  # five would leave one worker with three


def test_a_program_that_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory while it is measured means one member at a time; other failures the training tells."""
    program = program_of(blob_task())
    train = open_data(program.task, 16, 0, CPU, Silent()).train
    monkeypatch.setattr("lrtune.population.memory.free_bytes", lambda device: 2 * 5 * member_bytes(program))
    batch = train.head(1, 0)[0]
    estimated = int(5 * member_bytes(program) / member_bytes(program, batch))
    for error, size in ((MemoryError(), 1), (CannotFuseError("models differ"), max(1, estimated))):

        def failing(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("lrtune.population.groups.footprint", failing)
        groups = Groups(program, PopulationConfig())
        assert groups.size(Plan("fused", True, ""), MEMBERS, train) == size
