"""Which plan is the fastest: measured on the members themselves, within the budget."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lrtune.errors import UserCodeError
from lrtune.population.channels_last import (
    FORMAT_STEPS,
    convolves_images,
    laid_out,
    why_not_channels_last,
)
from lrtune.population.fused.equivalence import why_not_fused
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.groups import Groups
from lrtune.population.memory import ran_out_of_memory
from lrtune.population.plans import AS_SET, Plan, one_by_one
from lrtune.population.serial import SerialPopulation
from lrtune.population.sharded.population import ShardedPopulation
from lrtune.population.sharded.refusal import CannotShardError
from lrtune.population.sharded.worker import Nested
from lrtune.population.timing import Budget, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.config import PopulationConfig
    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member, Population
    from lrtune.population.sharded.pool import WorkerPool

_WORTH_SECONDS = 1.5  # of serial training: planning less would cost as much as it saves
_GAIN = 1.1  # times as fast as serial that another execution must be measured: timings are noisy
_NO_OTHER = "another execution could not save enough"
_PREFLIGHT_STEPS = (
    80  # of one member, that the preflight costs: of a small transformer 55 to 80 were measured
)
_MUCH = 0.25  # of the budget: measuring workers takes about as much


class Choice:
    """The candidates measured so far, for one set of members.

    Args:
        program: Model, loss and optimizer.
        settings: What the user decided.
        pool: Where workers come from; None where there are none.
        members: What is to be trained.
        train: The training batches.
        steps: Gradient steps that each member is expected to take.
        trusted: Whether the preflight has passed already.

    Attributes:
        trusted: Whether it has passed by now.
    """

    def __init__(
        self,
        program: Program,
        settings: PopulationConfig,
        pool: WorkerPool | None,
        members: Sequence[Member],
        train: Batches,
        steps: int,
        trusted: bool,
    ) -> None:
        self._program, self._settings, self._pool = program, settings, pool
        self._members, self._train, self._steps = members, train, steps
        self.trusted = trusted
        self._groups = Groups(program, settings)
        self._budget = Budget()
        self._alone = 0.0  # seconds of a step of one member
        self._serial = 0.0  # seconds of the whole training, one after the other
        self._found: list[tuple[float, Plan]] = []  # seconds of the whole training, and how
        self._refused: list[str] = []

    def made(self) -> Plan | None:
        """Return the plan; None where the training is too short to be worth one, or the user's code raises."""
        wanted = self._settings.execution
        if wanted == "sharded":
            return self._as_set()
        try:
            start = self._measure_serial()
        except UserCodeError:  # the training itself will tell, and go on with the others
            return None
        if self._serial < _WORTH_SECONDS and wanted == "auto":
            return None
        self._budget.expect(self._serial)
        if wanted == "auto":
            self._measure_channels_last()
        workers = wanted != "fused" and self._has_workers(start)
        # Of a model whose preflight takes much of the budget, workers are what is most likely to be faster.
        workers_first = _PREFLIGHT_STEPS * self._alone > _MUCH * self._budget.left
        if workers and workers_first:
            self._measure_sharded()
        fused = self._why_not_fused()
        if fused is not None:
            self._refused.append(fused)
        else:
            self._measure_fused()
        if workers and not workers_first:
            self._measure_sharded()
        if workers and fused is None:
            self._measure_sharded_fused()
        return self._fastest()

    def _as_set(self) -> Plan:
        """Return the plan of a user who wants workers: members one by one in each, so that every run is the same."""
        if self._pool is None or self._pool.refused is not None:
            return one_by_one(
                "there are no worker processes" if self._pool is None else str(self._pool.refused)
            )
        return Plan("sharded", False, AS_SET, self._workers)

    def _fastest(self) -> Plan:
        ranked = sorted(self._found, key=lambda found: found[0])
        seconds, plan = ranked[0] if ranked else (math.inf, one_by_one(""))
        if self._serial < _GAIN * seconds and (self._settings.execution == "auto" or not ranked):
            said = [f"{', '.join(map(self._said, ranked))} times as fast"] if ranked else []
            return one_by_one("; ".join([*said, *self._refused]) or _NO_OTHER)
        how, ratio = self._said(ranked[0]).rsplit(" ", 1)
        others = f" ({', '.join(map(self._said, ranked[1:]))})" if len(ranked) > 1 else ""
        reason = f"{how}, measured {ratio} times as fast as one by one{others}"
        return replace(plan, reason="; ".join([reason, *self._refused]))

    def _said(self, found: tuple[float, Plan]) -> str:
        seconds, plan = found
        return f"{plan.reason} {self._serial / max(seconds, 1e-9):.2g}"

    def _measure_serial(self) -> float:
        """Measure training one by one; return what its start took. Data that are read anew are read once for all."""
        tamest = sorted(self._members, key=lambda member: member.rate_at(0))[:2]
        first = timed(lambda: SerialPopulation(self._program, tamest[:1], self._train, {}), self._budget)
        self._alone = each = first.step
        count = len(self._members)
        self._serial = count * each * self._steps
        if not self._train.resident:
            self._budget.expect(self._serial)
            both = timed(lambda: SerialPopulation(self._program, tamest, self._train, {}), self._budget)
            self._serial = (each + max(both.step - each, 0.0) * (count - 1)) * self._steps
        return first.start

    def _measure_channels_last(self) -> None:
        """Measure one by one again with convolutions' weights channel by channel; trusted where it is faster."""
        if self._budget.left <= 0 or not convolves_images(self._program):
            return
        tamest = min(self._members, key=lambda member: member.rate_at(0))
        laid = laid_out(self._program, True)
        try:
            found = timed(lambda: SerialPopulation(laid, [tamest], self._train, {}), self._budget)
        except Exception as error:
            if not _is_refusal(error):
                raise
            self._refused.append(f"channels last: {error}")
            return
        if not found.sure or self._alone < _GAIN * found.step:
            return
        if FORMAT_STEPS * self._alone > self._budget.left:
            self._refused.append("to see whether channels last gives the same numbers would take too long")
            return
        refused = why_not_channels_last(self._program, tamest, self._train)
        if refused is not None:
            self._refused.append(f"channels last: {refused}")
            return
        saved = (self._alone - found.step) * self._steps - found.start
        plan = Plan("serial", False, "channels last", channels_last=True)
        self._found.append((self._serial - saved * len(self._members), plan))

    # --- as one program -------------------------------------------------------------------------------------------

    def _why_not_fused(self) -> str | None:
        if not self._train.resident and len({member.order for member in self._members}) > 1:
            return "batches of several orders may differ in shape"
        if self.trusted:
            return None
        forced = self._settings.execution == "fused"
        if _PREFLIGHT_STEPS * self._alone > self._budget.left and not forced:
            return "to see whether one program gives the same numbers would take too long"
        refused = why_not_fused(self._program, self._members, self._train)
        self.trusted = refused is None
        return refused

    def _measure_fused(self) -> None:
        for traced, how in ((True, "recorded and played"), (False, "one program")):
            plan = Plan("fused", traced, how)
            at_once = self._members[: self._groups.size(plan, self._members, self._train)]
            build = partial(FusedPopulation, self._program, at_once, self._train, {}, traced)
            self._measure(plan, build, len(at_once))

    # --- in worker processes --------------------------------------------------------------------------------------

    @property
    def _workers(self) -> int:
        assert self._pool is not None
        return min(self._pool.size, len(self._members), self._settings.members or len(self._members))

    def _has_workers(self, start: float) -> bool:
        """Say whether there are worker processes to measure, and keep the reason where there are none."""
        if self._pool is None or self._workers < 2:
            return False
        if self._pool.reads_again and start > self._budget.left:
            refused: str | None = f"worker processes would read the data once more ({start:.1f} s)"
        else:
            refused = self._pool.refused
        if refused is not None:
            self._refused.append(refused)
        return refused is None

    def _measure_sharded(self) -> None:
        laid = next((found for found in self._found if found[1].channels_last), None)
        how = f"{self._workers} workers" if laid is None else f"{self._workers} workers, channels last"
        plan = Plan("sharded", False, how, self._workers, channels_last=laid is not None)
        self._measure_in_workers(plan, self._serial if laid is None else laid[0])

    def _measure_sharded_fused(self) -> None:
        fused = [found for found in self._found if found[1].execution == "fused"]
        seconds, best = min(fused, key=lambda found: found[0]) if fused else (self._serial, None)
        how = f"{self._workers} workers with one program each"
        traced = best is None or best.traced
        self._measure_in_workers(Plan("sharded", traced, how, self._workers, "fused"), seconds)

    def _measure_in_workers(self, plan: Plan, alone: float) -> None:
        """Measure, unless workers that share what takes so long `alone` could not save enough."""
        best = min([self._serial, *(seconds for seconds, _ in self._found)])
        if best - alone / plan.workers < _WORTH_SECONDS and self._settings.execution == "auto":
            return
        assert self._pool is not None
        size = self._groups.size(plan, self._members, self._train)
        nested = Nested(plan.nested, plan.traced, plan.channels_last)
        members, workers = self._members[:size], plan.workers
        build = partial(
            ShardedPopulation, self._program, members, self._train, {}, self._pool, workers, nested
        )
        self._measure(plan, build, size)

    # --- both -----------------------------------------------------------------------------------------------------

    def _measure(self, plan: Plan, build: Callable[[], Population], at_once: int) -> None:
        """Take one more candidate, unless it fails or the budget is spent."""
        forced = self._settings.execution != "auto"
        if not forced and self._budget.left < at_once * self._alone / plan.workers:
            self._refused.append(f"{plan.reason} would take too long to measure")
            return
        try:
            found = timed(build, self._budget)
        except Exception as error:
            if not _is_refusal(error):
                raise
            self._refused.append(f"{plan.reason}: {error}")
            return
        if not (found.sure or forced):
            self._refused.append(f"{plan.reason} took too long to measure")
            return
        groups = -(-len(self._members) // at_once)
        self._found.append((groups * (found.start + found.step * self._steps), plan))


def _is_refusal(error: Any) -> bool:
    expected = (CannotFuseError, CannotShardError, UserCodeError)
    return isinstance(error, expected) or ran_out_of_memory(error)
