"""Which execution trains a set of members, and how many of them at a time: decided by measuring."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lrtune.errors import UserCodeError
from lrtune.population.fused.equivalence import why_not_fused
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.memory import fitting, ran_out_of_memory
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent
from lrtune.random_state import preserved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.config import PopulationConfig
    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member, Population
    from lrtune.progress import Progress

Execution = Literal["serial", "fused"]

_WORTH_SECONDS = 1.5  # of serial training: planning less would cost as much as it saves
_FIRST_STEPS = 3  # set things up: an optimizer's state, a recording
_TIMED_BLOCKS, _BLOCK_STEPS = 3, 2
_TOO_SHORT = "too short to be worth planning"
_SEVERAL = " in several orders"
_GAIN = 1.1  # times as fast as serial that a fused program must be measured: timings are noisy


@dataclass(frozen=True)
class Plan:
    """How members are trained.

    Attributes:
        execution: What trains them.
        traced: Whether a fused program is recorded and played again.
        reason: Why, in a line.
    """

    execution: Execution
    traced: bool
    reason: str


class _Timed(NamedTuple):
    """Seconds that setting up takes, and a step of all members."""

    start: float
    step: float


class Planner:
    """Chooses, and remembers what it chose.

    Args:
        program: Model, loss and optimizer.
        settings: What the user decided.
        progress: Told each choice.
        known: What an earlier planner of the same program remembered.
        remember: Called with all that is known, whenever there is more of it.
    """

    def __init__(
        self,
        program: Program,
        settings: PopulationConfig,
        progress: Progress | None = None,
        known: Mapping[str, Any] | None = None,
        remember: Callable[[dict[str, Any]], object] = lambda known: None,
    ) -> None:
        self._program = program
        self._settings = settings
        self._progress = progress or Silent()
        self._remember = remember
        self._plans: dict[str, Plan] = {}
        self._short: dict[str, int] = {}  # steps that were too few to be worth planning
        self._trusted: set[bool] = set()  # the preflight has passed, for one order and for several
        self._recall(known or {})

    def population(
        self,
        members: Sequence[Member],
        train: Batches,
        splits: Mapping[str, Batches],
        steps: int,
        program: Program | None = None,
    ) -> Population:
        """Return a population ready to advance.

        Args:
            members: What is trained.
            train: The training batches.
            splits: What `evaluate` measures on, by name.
            steps: Gradient steps that each member is expected to take.
            program: The planner's with other metrics, where they are needed.

        Raises:
            TaskError: If the task builds something that cannot be trained.
            UserCodeError: If the user's code raises.
        """
        program = program or self._program
        plan = self.plan(members, train, steps)
        if plan.execution == "fused":
            try:
                return FusedPopulation(program, members, train, splits, plan.traced)
            except CannotFuseError as error:
                self._progress.note(f"trained one after the other: {error}")
        return SerialPopulation(program, members, train, splits)

    def group_size(self, members: Sequence[Member], train: Batches, steps: int) -> int:
        """Return how many members are best held at once.

        A fused program gains from company. Data that are read anew each time are read once for as many members as fit
        in memory. Otherwise a serial execution gains nothing from it: one at a time takes the least memory, and an
        interruption costs one member's work.
        """
        fused = self.plan(members, train, steps).execution == "fused"
        if train.resident and not fused:
            return 1
        if fused:
            return self._most_fused(members, train)
        most = min(len(members), fitting(self._program))
        return min(most, self._settings.members or most)

    def note(self, text: str) -> None:
        """Tell the user something of how members are trained."""
        self._progress.note(text)

    def plan(self, members: Sequence[Member], train: Batches, steps: int) -> Plan:
        """Return how to train so many members, measuring where it is not known and worth it."""
        wanted = self._settings.execution
        if wanted == "serial" or len(members) < 2:
            return _one_by_one("as set" if wanted == "serial" else "one member")
        several = len({member.order for member in members}) > 1
        if several and not train.resident:
            return _one_by_one("batches of several orders may differ in shape")
        key = f"{len(members)}{_SEVERAL if several else ''}"
        known = self._plans.get(key)
        if known is not None:
            return known
        if steps <= self._short.get(key, 0):
            return _one_by_one(_TOO_SHORT)
        known = self._planned(members, train, steps, several)
        if known is None:  # a longer training may be worth it
            self._short[key] = steps
            return _one_by_one(_TOO_SHORT)
        self._plans[key] = known
        self._progress.note(f"{len(members)} members: {known.execution}, {known.reason}")
        if wanted == "auto":
            self._remember(self._known())
        return known

    def _planned(self, members: Sequence[Member], train: Batches, steps: int, several: bool) -> Plan | None:
        forced = self._settings.execution == "fused"
        try:
            serial = self._serial_seconds(members, train) * steps
        except UserCodeError:  # the training itself will tell, and go on with the others
            return None
        if serial < _WORTH_SECONDS and not forced:
            return None
        if several not in self._trusted:
            refused = why_not_fused(self._program, members, train)
            if refused is not None:
                return _one_by_one(refused)
            self._trusted.add(several)
        return self._measured(members, train, steps, serial, forced)

    def _serial_seconds(self, members: Sequence[Member], train: Batches) -> float:
        """Return what a step of all members takes one by one; data that are read anew are read once for all."""
        tamest = sorted(members, key=lambda member: member.rate_at(0))[:2]
        alone = self._timed(lambda: SerialPopulation(self._program, tamest[:1], train, {})).step
        if train.resident:
            return alone * len(members)
        both = self._timed(lambda: SerialPopulation(self._program, tamest, train, {})).step
        return alone + max(both - alone, 0.0) * (len(members) - 1)

    def _measured(
        self, members: Sequence[Member], train: Batches, steps: int, serial: float, forced: bool
    ) -> Plan:
        at_once = members[: self._most_fused(members, train)]
        groups = -(-len(members) // len(at_once))
        seconds: dict[bool, float] = {}
        for traced in (False, True):
            try:
                timed = self._timed(partial(FusedPopulation, self._program, at_once, train, {}, traced))
            except Exception as error:
                if not isinstance(error, CannotFuseError | UserCodeError) and not ran_out_of_memory(error):
                    raise
                return _one_by_one(f"as one program: {error}")
            seconds[traced] = groups * (timed.start + timed.step * steps)
        traced = seconds[True] < seconds[False]
        ratio = serial / seconds[traced]
        if ratio < _GAIN and not forced:
            return _one_by_one(f"one program was measured to be {ratio:.2g} times as fast")
        how = "recorded and played" if traced else "one program"
        return Plan("fused", traced, f"{how}, measured {ratio:.2g} times as fast as one by one")

    def _most_fused(self, members: Sequence[Member], train: Batches) -> int:
        batch = train.head(1, members[0].order)[0]
        most = min(len(members), fitting(self._program, batch))
        return min(most, self._settings.members or most)

    def _timed(self, build: Callable[[], Population]) -> _Timed:
        """Time a population's start and its steps; of the steps the median of a few."""
        with preserved():
            population = build()
            started = time.perf_counter()
            population.advance(_FIRST_STEPS)
            start = time.perf_counter() - started
            seconds = []
            for _ in range(_TIMED_BLOCKS):
                started = time.perf_counter()
                population.advance(_BLOCK_STEPS)
                seconds.append((time.perf_counter() - started) / _BLOCK_STEPS)
        step = statistics.median(seconds)
        return _Timed(max(start - _FIRST_STEPS * step, 0.0), step)

    # --- what is remembered ---------------------------------------------------------------------------------------

    def _known(self) -> dict[str, Any]:
        return {key: asdict(plan) for key, plan in self._plans.items()}

    def _recall(self, known: Mapping[str, Any]) -> None:
        if self._settings.execution != "auto":
            return
        try:
            self._plans = {key: Plan(**plan) for key, plan in known.items()}
        except (TypeError, AttributeError):  # of another version
            return
        fused = (key for key, plan in self._plans.items() if plan.execution == "fused")
        self._trusted = {key.endswith(_SEVERAL) for key in fused}


def _one_by_one(reason: str) -> Plan:
    return Plan("serial", traced=False, reason=reason)
