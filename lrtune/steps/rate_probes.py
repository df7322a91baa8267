"""The probes of step 3: constant rates trained side by side, the hopeless ones given up after a few steps.

Successive halving in two rounds (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization", 2016): all candidates for a few steps, those around the best to the end. All start from the same
initialisation and see the same batches, so that they differ by their rates alone.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from lrtune.checks.grid import has_exploded
from lrtune.data.batches import FixedBatches
from lrtune.errors import UserCodeError
from lrtune.population.protocol import Member
from lrtune.probes.learning.constant_rates import (
    FIRST_STEPS,
    JUDGED_STEPS,
    RECENT,
    STEPS,
    ProbedRate,
    RateProbes,
)
from lrtune.probes.learning.probe_reading import beyond_the_best, worth_going_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.protocol import Population
    from lrtune.probes.learning.candidates import Candidates
    from lrtune.progress import Bar
    from lrtune.steps.context import Context

_EXAMPLES = 512  # that the loss is measured on
_MOST_GO_ON, _FEWEST_GO_ON = 4, 2


def probe(context: Context, candidates: Candidates, initial: float, budget: int) -> RateProbes:
    """Train at each rate for a few steps, then at those around the best one on.

    Where the best rate so far is the lowest or the highest of all, the one beyond it joins.

    Args:
        context: The task made ready.
        candidates: Where to begin.
        initial: Minibatch loss before any training, as the sweeps saw it.
        budget: Gradient steps that all of it may take.

    Raises:
        TaskError: If the task's parts do not fit together.
        UserCodeError: If the user's code raises at every rate.
    """
    probing = _Probing(context, initial, budget)
    rates, highest = candidates.rates, candidates.highest
    with context.progress.bar("training at constant rates", len(rates) * FIRST_STEPS) as bar:
        probing.begin(rates, bar)
        while probing.may_widen and (further := beyond_the_best(probing.probes, highest)):
            bar.extend(FIRST_STEPS)
            probing.begin([further], bar)
        chosen = worth_going_on(probing.probes, probing.may_go_on, highest)
        bar.extend(len(chosen) * (STEPS - FIRST_STEPS))
        probing.go_on(chosen, bar)
    return probing.probes


class _Probing:
    """The probes under way, in one population a round of candidates."""

    def __init__(self, context: Context, initial: float, budget: int) -> None:
        self.probes = RateProbes({RECENT: initial})
        self._context = context
        self._budget = budget
        self._splits: dict[str, Batches] = _splits(context)
        self._populations: list[Population] = []

    @property
    def may_widen(self) -> bool:
        """Whether one more candidate leaves enough for those that go on."""
        needed = FIRST_STEPS + (_FEWEST_GO_ON + 1) * (STEPS - FIRST_STEPS)
        return self.probes.gradient_steps + needed <= self._budget

    @property
    def may_go_on(self) -> int:
        """How many candidates the budget lets go on."""
        left = self._budget - self.probes.gradient_steps
        return min(_MOST_GO_ON, max(_FEWEST_GO_ON, left // (STEPS - FIRST_STEPS)))

    def begin(self, rates: Sequence[float], bar: Bar) -> None:
        """Take the first steps at some rates."""
        config = self._context.config
        members = [Member(rate, config.find_lr.weight_decay, config.seed, config.seed) for rate in rates]
        population = self._population(members)
        if not self.probes.tried:
            before = self._evaluated(population)
            if not all(
                map(math.isfinite, before.values())
            ):  # the validation data's fault: every rate would fail
                self._splits = _training_examples(self._context)
                population = self._population(members)
                before = self._evaluated(population)
            self.probes.initial |= before
        self.probes.tried = sorted([*self.probes.tried, *map(ProbedRate, rates)], key=lambda one: one.rate)
        self._populations.append(population)
        self._advance(population, FIRST_STEPS, bar)

    def _population(self, members: Sequence[Member]) -> Population:
        return self._context.planner.population(members, self._context.data.train, self._splits, STEPS)

    def _evaluated(self, population: Population) -> dict[str, float]:
        """Return the first member's losses on the fixed examples."""
        return {split: float(population.evaluate(split).loss[0]) for split in self._splits}

    def go_on(self, rates: Sequence[float], bar: Bar) -> None:
        """Take the other steps at some rates, and let go of the rest."""
        for population in self._populations:
            members = population.members
            population.keep([at for at, member in enumerate(members) if member.learning_rate in rates])
            for done, steps in pairwise((FIRST_STEPS, *JUDGED_STEPS)):
                if population.members:
                    self._advance(population, steps - done, bar)
            population.keep([])

    def _advance(self, population: Population, steps: int, bar: Bar) -> None:
        tried = [self.probes.at(member.learning_rate) for member in population.members]
        bar.advance(steps * len(tried))
        try:
            rows = population.advance(steps).tolist()
        except UserCodeError as error:
            self._failed(tried, [error] * len(tried))
            return
        evaluations = {split: population.evaluate(split).loss.tolist() for split in self._splits}
        for at, one in enumerate(tried):
            measured = {split: losses[at] for split, losses in evaluations.items()}
            finite = all(map(math.isfinite, [*rows[at], *measured.values()]))
            one.diverged = not finite or self._has_exploded(one, measured)
            one.losses += [loss for loss in rows[at] if math.isfinite(loss)]
            if not one.diverged:
                one.measure(measured)
        self._failed(tried, population.failures)
        population.keep([at for at, one in enumerate(tried) if not one.diverged])

    def _has_exploded(self, one: ProbedRate, measured: dict[str, float]) -> bool:
        """Whether a finite loss has left where it began by far, as the grids judge it."""
        return any(
            has_exploded(self.probes.initial[split], loss, min(loss, one.last.get(split, loss)))
            for split, loss in measured.items()
        )

    def _failed(self, tried: Sequence[ProbedRate], failures: Sequence[Exception | None]) -> None:
        """Note what the user's code raised; a rate at which it does counts as diverged."""
        for one, failure in zip(tried, failures, strict=True):
            if failure is not None:
                one.diverged = True
                self.probes.failures.append((f"learning rate {one.rate:.3g}", failure))
        if tried and len(self.probes.failures) == len(self.probes.tried):
            raise self.probes.failures[0][1]


def _splits(context: Context) -> dict[str, Batches]:
    """Return the fixed examples: validation data where there are any, since that is what the grids rank by."""
    data = context.data
    if data.val is None:
        return _training_examples(context)
    return {"val": FixedBatches(data.val.subset(_EXAMPLES, data.seed))}


def _training_examples(context: Context) -> dict[str, Batches]:
    return {"train": FixedBatches(context.data.train.subset(_EXAMPLES, context.data.seed))}
