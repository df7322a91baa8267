"""How many members are held at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lrtune.errors import LrtuneError
from lrtune.population.fused.footprint import Footprint, footprint
from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.memory import fitting, member_bytes, ran_out_of_memory, usable_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.config import PopulationConfig
    from lrtune.data.batches import Batches
    from lrtune.population.plans import Plan
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member

# Times an estimate from one forward pass: where even so much is free nothing is measured. Over the models of
# tests/population/fused/test_footprint.py a member of a fused program takes 0.6 to 1.3 times the estimate.
_AMPLE = 2


@dataclass(frozen=True)
class Groups:
    """How many members are held at once.

    Attributes:
        program: Model, loss and optimizer.
        settings: What the user decided.
    """

    program: Program
    settings: PopulationConfig
    _measured: dict[tuple[bool, bool], Footprint] = field(default_factory=dict, init=False, repr=False)

    def size(self, plan: Plan, members: Sequence[Member], train: Batches) -> int:
        """Return how many members are best held at once under a plan.

        A fused program gains from company. Data that are read anew each time are read once for as many members as fit
        in memory. Otherwise a serial execution gains nothing from it: one at a time (in each worker) takes the least
        memory, and an interruption costs little work.
        """
        if plan.fuses:
            most = self._most_fused(plan, members, train)
        elif train.resident:
            most = plan.workers
        else:
            most = fitting(self.program)
        most = min(most, self.settings.members or most)
        each = min(-(-len(members) // plan.workers), most // plan.workers)
        return min(len(members), most, max(each, 1) * plan.workers)

    def forecast(self, plan: Plan, members: Sequence[Member], train: Batches) -> float:
        """Return the bytes that a plan's fused programs will take for all these members, data left out.

        Raises:
            CannotFuseError: If these members cannot be one program.
            UserCodeError: If the user's code raises.
        """
        measured = self._footprint(plan, members, train)
        return plan.workers * measured.shared + len(members) * measured.member

    def _footprint(self, plan: Plan, members: Sequence[Member], train: Batches) -> Footprint:
        key = plan.traced, len({member.order for member in members}) > 1
        if key not in self._measured:
            self._measured[key] = footprint(self.program, members, train, plan.traced)
        return self._measured[key]

    def _most_fused(self, plan: Plan, members: Sequence[Member], train: Batches) -> int:
        """Return how many members fit whose activations are held at the same time."""
        free = usable_bytes(self.program)
        estimate = member_bytes(self.program, train.head(1, members[0].order)[0])
        if _AMPLE * len(members) * estimate <= free:
            return len(members)
        try:
            measured = self._footprint(plan, members, train)
        except (CannotFuseError, LrtuneError) as error:  # the training itself will tell
            return 1 if ran_out_of_memory(error) else max(1, int(free / max(estimate, 1)))
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            return 1
        return max(1, int((free - plan.workers * measured.shared) / max(measured.member, 1.0)))
