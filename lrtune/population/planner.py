"""Which execution trains a set of members, and how many of them at a time: decided by measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.population.channels_last import laid_out
from lrtune.population.choosing import Choice
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.groups import Groups
from lrtune.population.plans import AS_SET, Plan, as_values, from_values, key_of, one_by_one, trusted_orders
from lrtune.population.serial import SerialPopulation
from lrtune.population.sharded.population import ShardedPopulation
from lrtune.population.sharded.refusal import CannotShardError
from lrtune.population.sharded.worker import Nested
from lrtune.population.told import Told
from lrtune.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.config import PopulationConfig
    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member, Population
    from lrtune.population.sharded.pool import WorkerPool
    from lrtune.progress import Progress

_TOO_SHORT = "too short to be worth planning"


class Planner:
    """Chooses, and remembers what it chose.

    Args:
        program: Model, loss and optimizer.
        settings: What the user decided.
        progress: Told each choice.
        known: What an earlier planner of the same program on the same machine remembered.
        remember: Called with all that is known, whenever there is more of it.
        pool: Where worker processes come from; None where there are to be none.
        told: Tells a person what is chosen; by default as `progress` notes that name no step.
    """

    def __init__(
        self,
        program: Program,
        settings: PopulationConfig,
        progress: Progress | None = None,
        known: Mapping[str, Any] | None = None,
        remember: Callable[[dict[str, Any]], object] = lambda known: None,
        pool: WorkerPool | None = None,
        told: Told | None = None,
    ) -> None:
        self._program = program
        self._settings = settings
        self._progress = progress or Silent()
        self._remember = remember
        self._pool = pool
        self._told = told or Told(self._progress)
        self._groups = Groups(program, settings)
        self._plans = from_values(known or {}) if settings.execution == "auto" else {}
        self._short: dict[str, int] = {}  # steps that were too few to be worth planning
        self._trusted = trusted_orders(self._plans)  # the preflight has passed, for one order and for several
        self._noted: set[str] = set()

    def population(
        self,
        members: Sequence[Member],
        train: Batches,
        splits: Mapping[str, Batches],
        steps: int,
        program: Program | None = None,
        of: int | None = None,
    ) -> Population:
        """Return a population ready to advance.

        Args:
            members: What is trained.
            train: The training batches.
            splits: What `evaluate` measures on, by name.
            steps: Gradient steps that each member is expected to take.
            program: The planner's with other metrics, where they are needed.
            of: How many members are to be trained in all, where these are one group of them.

        Raises:
            TaskError: If the task builds something that cannot be trained.
            UserCodeError: If the user's code raises.
        """
        program = program or self._program
        plan = self.plan(members, train, steps, of)
        self._told.use(max(len(members), of or 0), plan)
        try:
            if plan.execution == "sharded":
                assert self._pool is not None
                nested = Nested(plan.nested, plan.traced, plan.channels_last)
                return ShardedPopulation(program, members, train, splits, self._pool, plan.workers, nested)
            if plan.execution == "fused":
                return FusedPopulation(program, members, train, splits, plan.traced)
        except (CannotFuseError, CannotShardError) as error:
            self._note_once(f"trained one after the other: {error}")
        return SerialPopulation(laid_out(program, plan.channels_last), members, train, splits)

    def group_size(self, members: Sequence[Member], train: Batches, steps: int) -> int:
        """Return how many members are best held at once."""
        return self._groups.size(self.plan(members, train, steps), members, train)

    def note(self, text: str) -> None:
        """Tell the user something of how members are trained."""
        self._progress.note(text)

    def _note_once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self.note(text)

    def plan(self, members: Sequence[Member], train: Batches, steps: int, of: int | None = None) -> Plan:
        """Return how to train so many members (`of`: these are a group of so many), measuring where it is worth it."""
        wanted, count = self._settings.execution, max(len(members), of or 0)
        if wanted == "serial":
            return one_by_one(AS_SET)
        if count < 2:
            return self._lone_member()
        several = len({member.order for member in members}) > 1
        key = key_of(count, several)
        known = self._plans.get(key)
        if known is not None and (known.execution != "sharded" or self._has_workers):
            return known
        if len(members) < count or steps <= self._short.get(key, 0):
            return one_by_one(_TOO_SHORT)
        trusted = several in self._trusted
        choice = Choice(self._program, self._settings, self._pool, members, train, steps, trusted)
        known = choice.made()
        if choice.trusted:
            self._trusted.add(several)
        if known is None:  # a longer training may be worth it
            self._short[key] = steps
            return one_by_one(_TOO_SHORT)
        self._plans[key] = known
        if wanted == "auto":
            self._remember(as_values(self._plans))
        if known.reason != AS_SET:
            self._told.choose(count, known, refused=wanted not in ("auto", known.execution))
        return known

    def _lone_member(self) -> Plan:
        """Return how to train one member: here, unless workers have died, as this process would after them."""
        apart = self._settings.execution == "sharded" or (self._pool is not None and self._pool.lost)
        return Plan("sharded", False, AS_SET, 1) if apart and self._has_workers else one_by_one("one member")

    @property
    def _has_workers(self) -> bool:
        return self._pool is not None and self._pool.refused is None
