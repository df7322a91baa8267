"""The sweeps of step 3: one population of several seeds, whose rate rises from step to step."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lrtune.errors import UserCodeError
from lrtune.population.protocol import Member
from lrtune.probes.learning.sweep import has_moved, read_sweep, sweep_rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.config import FindLrConfig
    from lrtune.progress import Bar
    from lrtune.steps.context import Context

_PRETRAINED_DECADES = 2  # lower: fine-tuning takes rates that training from scratch does not
_BEYOND_DECADES = 3  # above `find_lr.max`, where no sweep has diverged up to there
_START_SHARE = 0.1  # of the steps
_STILL = 1000  # times lower a rate moves next to nothing in these few steps
_BLOCK = 10  # steps between looks at who has diverged


@dataclass
class RateSweeps:
    """What was swept.

    Attributes:
        asked: The rate of each step from `find_lr.min` to `find_lr.max`, `[steps]`.
        losses: By seed, the minibatch losses up to where the sweep diverged or the user's code raised.
        failures: What the user's code raised, with the seed's name.
        higher: The rates above `find_lr.max` that the sweeps went on to, since none had diverged; else empty.
    """

    asked: tuple[float, ...]
    losses: dict[int, list[float]]
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    higher: tuple[float, ...] = ()

    @property
    def rates(self) -> tuple[float, ...]:
        """All rates that were to be swept, `[steps]`."""
        return self.asked + self.higher

    def initial(self, highest: float) -> float:
        """Return the mean loss before anything moves: of every sweep at rates far below the highest of interest."""
        first = sum(rate <= highest / _STILL for rate in self.asked[: round(_START_SHARE * len(self.asked))])
        return statistics.fmean(loss for row in self.losses.values() for loss in row[: max(first, 1)])

    @property
    def gradient_steps(self) -> int:
        """Steps taken, of all sweeps."""
        return sum(len(row) for row in self.losses.values())


def sweep(context: Context, seeds: Sequence[int]) -> RateSweeps:
    """Sweep the rate from `find_lr.min` to `find_lr.max` on each seed; where none diverges, once beyond it.

    Each seed has its own initialisation and data order. A pretrained model's sweep starts two decades lower, unless
    the settings say where.

    Raises:
        TaskError: If the task's parts do not fit together.
        UserCodeError: If the user's code raises in every sweep, at the lowest rates already.
    """
    asked = _asked(context.config.find_lr, context.task.pretrained)
    higher = _beyond(asked)
    decay = context.config.find_lr.weight_decay
    members = [Member(asked[0], decay, seed, seed, (*asked, *higher)) for seed in seeds]
    sweeping = _Sweeping(context, asked, members)
    with context.progress.bar("sweeping the learning rate", len(asked)) as bar:
        sweeping.run(len(asked), bar)
        if sweeping.all_alive:
            context.progress.note(f"no sweep diverged up to {asked[-1]:.3g}: going on to {higher[-1]:.3g}")
            bar.extend(len(higher))
            sweeping.swept.higher = higher
            sweeping.run(len(higher), bar)
    return sweeping.swept


def _asked(settings: FindLrConfig, pretrained: bool) -> tuple[float, ...]:
    if not pretrained or "min" in settings.model_fields_set:
        return sweep_rates(settings.min, settings.max, settings.steps)
    least = settings.min / 10**_PRETRAINED_DECADES
    decades = math.log10(settings.max / settings.min)
    steps = round(settings.steps * (1 + _PRETRAINED_DECADES / decades))  # as dense as without
    return sweep_rates(least, settings.max, steps)


def _beyond(rates: Sequence[float]) -> tuple[float, ...]:
    """Return the rates that go on above the last one, as densely."""
    factor = rates[-1] / rates[-2]
    steps = math.ceil(_BEYOND_DECADES / math.log10(factor))
    return tuple(rates[-1] * factor**step for step in range(1, steps + 1))


class _Sweeping:
    """The sweeps under way."""

    def __init__(self, context: Context, rates: tuple[float, ...], members: Sequence[Member]) -> None:
        self._population = context.planner.population(members, context.data.train, {}, len(rates))
        self._done = 0
        self._seeds = len(members)
        self.swept = RateSweeps(rates, {member.seed: [] for member in members})

    @property
    def all_alive(self) -> bool:
        """Whether no sweep has diverged or failed."""
        return len(self._population.members) == self._seeds

    def run(self, steps: int, bar: Bar) -> None:
        """Take up to `steps` more steps, fewer when every sweep ends."""
        left = steps
        while left and self._population.members:
            block = min(_BLOCK if self._done else 1, left)
            self._advance(block)
            bar.advance(block)
            left -= block

    def _has_moved(self) -> bool:
        """Whether the rate has done anything to any loss yet, and so may be to blame for what happens."""
        swept = self.swept
        return any(has_moved(read_sweep(swept.rates, losses)) for losses in swept.losses.values())

    def _advance(self, steps: int) -> None:
        """Take some steps and let go of the sweeps that have ended."""
        try:
            rows = self._population.advance(steps).tolist()
        except UserCodeError as error:
            if not self._has_moved():
                raise
            self.swept.failures += [(f"seed {member.seed}", error) for member in self._population.members]
            self._population.keep([])
            return
        self._done += steps
        failures = self._population.failures
        alive = []
        for index, (member, row) in enumerate(zip(self._population.members, rows, strict=True)):
            kept = self.swept.losses[member.seed]
            kept.extend(loss for loss in row if math.isfinite(loss))
            if failure := failures[index]:
                self.swept.failures.append((f"seed {member.seed}", failure))
            elif len(kept) == self._done and not self._has_diverged(kept):
                alive.append(index)
        self._population.keep(alive)

    def _has_diverged(self, losses: list[float]) -> bool:
        # Of the rates swept so far only: what is to come must not change how the curve is smoothed.
        return read_sweep(self.swept.rates, losses).diverged not in (None, len(losses))
