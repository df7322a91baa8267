"""How many members are held at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.population.memory import fitting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.config import PopulationConfig
    from lrtune.data.batches import Batches
    from lrtune.population.plans import Plan
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member


@dataclass(frozen=True)
class Groups:
    """How many members are held at once.

    Attributes:
        program: Model, loss and optimizer.
        settings: What the user decided.
    """

    program: Program
    settings: PopulationConfig

    def size(self, plan: Plan, members: Sequence[Member], train: Batches) -> int:
        """Return how many members are best held at once under a plan.

        A fused program gains from company. Data that are read anew each time are read once for as many members as fit
        in memory. Otherwise a serial execution gains nothing from it: one at a time (in each worker) takes the least
        memory, and an interruption costs little work.
        """
        if plan.fuses:
            most = fitting(
                self.program, train.head(1, members[0].order)[0]
            )  # their activations at the same time
        elif train.resident:
            most = plan.workers
        else:
            most = fitting(self.program)
        most = min(most, self.settings.members or most)
        each = min(-(-len(members) // plan.workers), most // plan.workers)
        return min(len(members), most, max(each, 1) * plan.workers)
