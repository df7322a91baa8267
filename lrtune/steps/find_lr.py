"""Step 3: the learning rate that makes the loss fall, from sweeps over several seeds and probes at constant rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lrtune.checks import learning_rate as checks
from lrtune.checks.grid import trial_failed
from lrtune.probes.learning.candidates import SPACING, rates_to_probe
from lrtune.probes.learning.constant_rates import FIRST_STEPS, STEPS, RateProbes
from lrtune.probes.learning.momentum import momentum_of
from lrtune.probes.learning.peer_rules import PEER_RULES, peer_suggestions
from lrtune.probes.learning.probe_reading import any_fell, largest_stable, lowest_diverged, read_probes
from lrtune.probes.learning.reading import Reading
from lrtune.probes.learning.sweep import (
    VALLEY,
    geometric_median,
    mean_losses,
    median_curve,
    read_sweep,
    read_valley,
)
from lrtune.results import StepResult
from lrtune.steps.rate_probes import probe
from lrtune.steps.rate_sweeps import sweep
from lrtune.steps.trials import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.learning.sweep import Sweep
    from lrtune.results import Finding
    from lrtune.steps.context import Context
    from lrtune.steps.rate_sweeps import RateSweeps

_MOST_STEPS = 800  # gradient steps in all, with the default settings
_PROBE_STEPS = 475  # where longer sweeps were asked for: 7 candidates, 4 of which go on
_LONG_SWEEPS = 500
_FEWEST, _MOST = 4, 7  # candidates
_DIGITS = 2  # of a rate that is good give or take a factor; more would be the machine's rounding


def find_lr(context: Context) -> StepResult:
    """Sweep the rate from `find_lr.min` to `find_lr.max`, then train at constant rates below the divergence.

    The sweeps of all seeds are one population, each with its own initialisation and data order; the constant rates
    are another, with one initialisation and one order. All training data, the task's own optimizer, and a small
    weight decay. The sweeps say where to look; the suggestion is the constant rate after which the loss on fixed
    examples is lowest.

    Raises:
        TaskError: If the task's parts do not fit together.
        UserCodeError: If the user's code raises in every sweep, at the lowest rates already.
    """
    seeds = [context.config.seed + repeat for repeat in range(context.config.find_lr.repeats)]
    swept = sweep(context, seeds)
    sweeps = [read_sweep(swept.rates, row) for row in swept.losses.values()]
    probes, reading = RateProbes(), None
    if not checks.diverges_everywhere(sweeps):
        used = swept.gradient_steps
        budget = _MOST_STEPS - used if used <= _LONG_SWEEPS else _PROBE_STEPS
        # So many that three of them can go on.
        count = min(_MOST, max(_FEWEST, (budget - 3 * (STEPS - FIRST_STEPS)) // FIRST_STEPS))
        candidates = rates_to_probe(sweeps, count)
        probes = probe(context, candidates, swept.initial(candidates.rates[-1]), budget)
        reading = read_probes(probes, candidates.highest)
    return _Judgement(context, swept, sweeps, probes, reading).result()


class _Judgement:
    """From what was measured to the step's result."""

    def __init__(
        self,
        context: Context,
        swept: RateSweeps,
        sweeps: list[Sweep],
        probes: RateProbes,
        reading: Reading | None,
    ) -> None:
        self._context = context
        self._swept = swept
        self._sweeps = sweeps
        self._probes = probes
        self._mean = read_sweep(swept.rates, mean_losses(list(swept.losses.values())))
        # Where few sweeps rise out of the noise, their mean is read.
        most = 2 * sum(sweep.descends for sweep in sweeps) > len(sweeps)
        self._valley = read_valley(sweeps if most else [self._mean])
        self._reading = reading
        self._rules = self._peers()

    def result(self) -> StepResult:
        """Return findings, summary and details."""
        hopeless = [found for found in self._hopeless() if found]
        findings = hopeless or [found for found in self._doubts() if found]
        trainings = len(self._sweeps) + len(self._probes.tried)
        if failed := trial_failed([*self._swept.failures, *self._probes.failures], trainings):
            findings.append(failed)
        summary = self._summary() | ({} if hopeless else self._suggested())
        return StepResult("find-lr", findings, summary, details=self._details())

    def _hopeless(self) -> Sequence[Finding | None]:
        return (
            checks.diverges_everywhere(self._sweeps),
            checks.no_descent(self._sweeps, self._mean, self._reading, any_fell(self._probes)),
        )

    def _doubts(self) -> Sequence[Finding | None]:
        explicit = "max" in self._context.config.find_lr.model_fields_set
        asked = self._swept.asked[-1] if self._swept.higher and explicit else None
        return (
            checks.never_diverged(self._sweeps, asked),
            checks.best_at_range_edge(self._sweeps, self._reading, self._probes),
            checks.noisy_suggestion(self._valleys(), self._reading),
            checks.peers_disagree(rounded(self._found().suggestion, _DIGITS), self._rules),
        )

    def _valleys(self) -> list[float]:
        return [rate for sweep in self._sweeps if (rate := sweep.along(VALLEY)) is not None]

    def _summary(self) -> dict[str, Any]:
        raised = {name for name, _ in self._swept.failures}
        diverged = [
            float(sweep.rates[sweep.diverged])
            for sweep, seed in zip(self._sweeps, self._swept.losses, strict=True)
            if sweep.diverged is not None and f"seed {seed}" not in raised
        ]
        return {
            "suggestion": None,
            "low": None,
            "high": None,
            "largest_stable": largest_stable(self._probes),
            "diverged_at": geometric_median(diverged) if diverged else None,
            "confidence": "low",
            "repeats": len(self._sweeps),
            "effective": None,
            "gradient_steps": self._swept.gradient_steps + self._probes.gradient_steps,
        }

    def _suggested(self) -> dict[str, Any]:
        """Return suggestion, interval and confidence; of the sweeps' valley where the probes show nothing."""
        found = self._found()
        momentum = momentum_of(self._context.program, found.suggestion, self._context.config.seed)
        return {
            "suggestion": rounded(found.suggestion, _DIGITS),
            "low": rounded(found.low, _DIGITS),
            "high": rounded(max(found.suggestion, min(found.high, self._stable_edge())), _DIGITS),
            "confidence": checks.confidence(self._valleys(), self._sweeps, self._reading),
            "effective": rounded(found.suggestion / (1 - momentum), _DIGITS) if momentum else None,
        }

    def _found(self) -> Reading:
        return self._reading or self._unconfirmed()

    def _stable_edge(self) -> float:
        """Return where stability is thought to end: between the highest rate that held and the next one tried."""
        held = largest_stable(self._probes)
        return math.inf if held is None else held * math.sqrt(SPACING)

    def _unconfirmed(self) -> Reading:
        """Return the sweeps' valley, below every rate at which training was seen to diverge."""
        assert self._valley is not None, "neither sweeps nor probes descend"
        diverged = lowest_diverged(self._probes)
        if diverged is None or self._valley.suggestion < diverged / SPACING:
            return self._valley
        most = diverged / SPACING
        return Reading(most, min(self._valley.low, most / SPACING), most, math.nan)

    def _peers(self) -> dict[str, float | None]:
        """Return what other tools' rules say of the same sweeps, the median over seeds."""
        asked = self._swept.asked
        rows = [peer_suggestions(asked, row[: len(asked)]) for row in self._swept.losses.values()]
        found = {name: [rate for row in rows if (rate := row[name]) is not None] for name in PEER_RULES}
        return {name: geometric_median(rates) if rates else None for name, rates in found.items()}

    def _details(self) -> dict[str, Any]:
        steps = len(self._swept.rates)
        return {
            "learning_rates": list(self._swept.rates),
            "median": median_curve([sweep.smoothed for sweep in self._sweeps], steps),
            "sweeps": [
                {
                    "seed": seed,
                    "loss": _padded(row, steps),
                    "smoothed": _padded(sweep.smoothed.tolist(), steps),
                    "suggestion": sweep.along(VALLEY),
                    "diverged_at": None if sweep.diverged is None else float(sweep.rates[sweep.diverged]),
                }
                for sweep, (seed, row) in zip(self._sweeps, self._swept.losses.items(), strict=True)
            ],
            "probes": self._probes.as_details(),
            "rules": self._rules,
        }


def _padded(values: list[float], length: int) -> list[float | None]:
    return [*values, *[None] * (length - len(values))]
