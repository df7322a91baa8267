"""Step 3: the learning rate that makes the loss fall, from sweeps over several seeds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lrtune.checks import learning_rate as checks
from lrtune.checks.grid import trial_failed
from lrtune.errors import UserCodeError
from lrtune.population.planner import make_population
from lrtune.population.protocol import Member
from lrtune.probes.learning.sweep import (
    Sweep,
    geometric_median,
    mean_losses,
    median_curve,
    read_sweep,
    sweep_rates,
)
from lrtune.results import StepResult
from lrtune.steps.trials import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.config import FindLrConfig
    from lrtune.steps.context import Context

SUGGESTION = 2 / 3  # of the way down the valley, in log rate: fastai's rule of the same name ("valley")
_LOW, _HIGH = 1 / 3, 1.0  # the interval's ends
_PRETRAINED_DECADES = 2  # lower: fine-tuning takes rates that training from scratch does not
_BLOCK = 10  # steps between looks at who has diverged


def find_lr(context: Context) -> StepResult:
    """Sweep the rate from `find_lr.min` to `find_lr.max` and read the valley.

    The sweeps of all seeds are one population: each has its own initialisation and data order. All training data,
    the task's own optimizer, and a small weight decay. A pretrained model's sweep starts two decades lower.

    Raises:
        TaskError: If the task's parts do not fit together.
        UserCodeError: If the user's code raises in every sweep, at the lowest rates already.
    """
    settings = context.config.find_lr
    rates = _rates_to_sweep(settings, context.task.pretrained)
    seeds = [context.config.seed + repeat for repeat in range(settings.repeats)]
    members = [Member(rates[0], settings.weight_decay, seed, seed, rates) for seed in seeds]
    swept = _Swept(context, members)
    swept.run(len(rates))
    losses = list(swept.losses.values())
    result = _judged([read_sweep(rates, row) for row in losses], losses, seeds)
    if failed := trial_failed(swept.failures, len(members)):
        result.findings.append(failed)
    return result


def _rates_to_sweep(settings: FindLrConfig, pretrained: bool) -> tuple[float, ...]:
    if not pretrained or "min" in settings.model_fields_set:
        return sweep_rates(settings.min, settings.max, settings.steps)
    least = settings.min / 10**_PRETRAINED_DECADES
    decades = math.log10(settings.max / settings.min)
    steps = round(settings.steps * (1 + _PRETRAINED_DECADES / decades))  # as dense as without
    return sweep_rates(least, settings.max, steps)


class _Swept:
    """The sweeps' losses, each up to where it diverged or the user's code raised."""

    def __init__(self, context: Context, members: Sequence[Member]) -> None:
        self._progress = context.progress
        self._population = make_population(context.program, members, context.data.train, {})
        self.losses: dict[int, list[float]] = {member.seed: [] for member in members}
        self.failures: list[tuple[str, Exception]] = []

    def run(self, steps: int) -> None:
        with self._progress.bar("sweeping the learning rate", steps) as bar:
            for done in range(0, steps, _BLOCK):
                block = min(_BLOCK, steps - done)
                if not self._advance(done, block):
                    return
                bar.advance(block)

    def _advance(self, done: int, block: int) -> bool:
        """Take some steps; return whether any sweep goes on."""
        try:
            rows = self._population.advance(block).tolist()
        except UserCodeError as error:
            if done == 0:  # not the rate's fault
                raise
            self.failures += [(f"seed {member.seed}", error) for member in self._population.members]
            return False
        alive = []
        failures = self._population.failures
        for index, (member, row) in enumerate(zip(self._population.members, rows, strict=True)):
            kept = self.losses[member.seed]
            kept.extend(loss for loss in row if math.isfinite(loss))
            if failure := failures[index]:
                self.failures.append((f"seed {member.seed}", failure))
            elif len(kept) == done + block and read_sweep(member.schedule, kept).diverged in (
                None,
                len(kept),
            ):
                alive.append(index)
        self._population.keep(alive)
        return bool(alive)


def _judged(sweeps: list[Sweep], losses: list[list[float]], seeds: list[int]) -> StepResult:
    mean = read_sweep(sweeps[0].rates.tolist(), mean_losses(losses))
    suggestions = _rates(sweeps, SUGGESTION)
    hopeless = [
        found for found in (checks.diverges_everywhere(sweeps), checks.no_descent(sweeps, mean)) if found
    ]
    doubts = (
        checks.never_diverged(sweeps),
        checks.best_at_range_edge(sweeps),
        checks.noisy_suggestion(suggestions),
    )
    findings = hopeless or [found for found in doubts if found]
    divergences = [float(sweep.rates[sweep.diverged]) for sweep in sweeps if sweep.diverged is not None]
    summary: dict[str, Any] = {
        "suggestion": None,
        "low": None,
        "high": None,
        "diverged_at": geometric_median(divergences) if divergences else None,
        "confidence": "low",
        "repeats": len(sweeps),
        "gradient_steps": sum(len(row) for row in losses),
    }
    if not hopeless:
        summary |= _suggestion(sweeps, mean)
    return StepResult("find-lr", findings, summary, details=_details(sweeps, losses, seeds))


def _suggestion(sweeps: list[Sweep], mean: Sweep) -> dict[str, Any]:
    """Return suggestion, interval and confidence; where few sweeps rise out of the noise, of their mean."""
    most = 2 * sum(sweep.descends for sweep in sweeps) > len(sweeps)
    read = sweeps if most else [mean]
    suggestions = _rates(read, SUGGESTION)
    return {
        "suggestion": rounded(geometric_median(suggestions)),
        "low": rounded(min(*suggestions, geometric_median(_rates(read, _LOW)))),
        "high": rounded(max(*suggestions, geometric_median(_rates(read, _HIGH)))),
        "confidence": checks.confidence(suggestions, sweeps),
    }


def _rates(sweeps: Sequence[Sweep], share: float) -> list[float]:
    return [rate for sweep in sweeps if (rate := sweep.along(share)) is not None]


def _details(sweeps: list[Sweep], losses: list[list[float]], seeds: list[int]) -> dict[str, Any]:
    steps = len(sweeps[0].rates)
    return {
        "learning_rates": sweeps[0].rates.tolist(),
        "median": median_curve([sweep.smoothed for sweep in sweeps], steps),
        "sweeps": [
            {
                "seed": seed,
                "loss": _padded(row, steps),
                "smoothed": _padded(sweep.smoothed.tolist(), steps),
                "suggestion": sweep.along(SUGGESTION),
                "diverged_at": None if sweep.diverged is None else float(sweep.rates[sweep.diverged]),
            }
            for sweep, row, seed in zip(sweeps, losses, seeds, strict=True)
        ],
    }


def _padded(values: list[float], length: int) -> list[float | None]:
    return [*values, *[None] * (length - len(values))]
