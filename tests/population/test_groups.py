from __future__ import annotations

import pytest
from programs import CPU, blob_task, blobs, program_of
from torch.utils.data import DataLoader

from lrtune.config import PopulationConfig
from lrtune.data.source import open_data
from lrtune.population.groups import Groups
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
