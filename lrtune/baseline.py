"""A baseline: the numbers of a healthy training, and what later results are compared with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lrtune.checks import baseline as checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.checks.baseline import Compared
    from lrtune.results import StepResult

Values = dict[str, Any]


@dataclass(frozen=True)
class Baseline:
    """What is known of a healthy training.

    Attributes:
        values: The numbers, by step.
        same_machine: Whether they were measured on a machine like this one: times tell something only then.
        place: Where they come from, for messages.
    """

    values: Mapping[str, Values]
    same_machine: bool
    place: str

    def compared(self, result: StepResult) -> StepResult:
        """Return a step's result with what has moved among its findings, and all that was compared in its details.

        What the baseline holds nothing of, or what found nothing, stays as it is.

        Args:
            result: Of a step.
        """
        before, now = self.values.get(result.step), values_of(result)
        if not before or not now:
            return result
        rows = [row for row in _JUDGES[result.step](self, before, now) if row]
        moved = [row.finding for row in rows if row.finding]
        root = next((found.code for found in result.findings if found.severity == "error"), None)
        if root is not None:  # what fails in itself has moved for that very reason
            moved = [replace(found, follows_from=root) for found in moved]
        told = [{key: value for key, value in asdict(row).items() if key != "finding"} for row in rows]
        details = {**result.details, "baseline": told}
        return replace(result, findings=[*result.findings, *moved], details=details)

    def left_out(self, steps: Sequence[str]) -> str:
        """Return, as a sentence, what of the baseline is not compared when these steps are run; empty if all is."""
        parts = [f"{step} is not run" for step in self.values if step not in steps]
        if not self.same_machine and any(_TIME in values for values in self.values.values()):
            parts.append("times are of another machine")
        return f"{self.place}: not compared: {'; '.join(parts)}" if parts else ""


KINDS = ("validation", "training")  # of the coarse grid's loss
_TIME = "milliseconds_per_step"


def values_of(result: StepResult) -> Values | None:
    """Return the numbers that a baseline holds of a step's result; None where it has none."""
    if result.step not in _VALUES or result.details.get("skipped"):  # one that was not done
        return None
    found = _VALUES[result.step](result)
    return found if all(found[key] is not None for key in NUMBERS[result.step]) else None


def over_seeds(runs: Sequence[Sequence[StepResult]]) -> dict[str, Values]:
    """Return the numbers of the first run, by step, with how far those of all lie apart.

    Args:
        runs: The steps' results of each seed; a step that found nothing with some seed is left out of its spread.
    """
    first = {result.step: found for result in runs[0] if (found := values_of(result))}
    for step, found in first.items():
        results = (result for run in runs for result in run if result.step == step)
        all_found = [one for result in results if (one := values_of(result))]
        if step in _SPREADS and len(all_found) > 1:
            found |= _SPREADS[step](all_found)
    return first


def _spread_of(key: str) -> Callable[[Sequence[Values]], Values]:
    return lambda found: {"spread": max(one[key] for one in found) - min(one[key] for one in found)}


def _spread_of_rates(found: Sequence[Values]) -> Values:
    suggestions = [one["suggestion"] for one in found]
    together = [checks.moved_together(one, other) for one in found for other in found]
    return {"spread": max(suggestions) / min(suggestions), "range_spread": max(together)}


_SPREADS: Mapping[str, Callable[[Sequence[Values]], Values]] = {
    "check-init": _spread_of("initial_loss"),
    "overfit": _spread_of("steps"),
    "find-lr": _spread_of_rates,
}


def _initial_loss(result: StepResult) -> Values:
    keys = ("initial_loss", "standard_error", "expected_low", "expected_high")
    return {key: result.summary.get(key) for key in keys}


def _overfit(result: StepResult) -> Values:
    keys = ("steps", "learning_rate", "loss_first", "loss_last")
    tried = len(result.details.get("members") or ())
    return {key: result.summary.get(key) for key in keys} | ({"rates": tried} if tried else {})


def _learning_rate(result: StepResult) -> Values:
    keys = ("suggestion", "low", "high", "largest_stable", "diverged_at")
    found = {key: result.summary.get(key) for key in keys}
    swept: list[float] = result.details.get("learning_rates") or []
    found["spacing"] = swept[1] / swept[0] if len(swept) > 1 else 1.0
    steps = result.summary.get("gradient_steps")
    # What comes from the run directory was not timed now.
    return found | ({_TIME: 1000 * result.seconds / steps} if steps and not result.reused else {})


def _coarse_loss(result: StepResult) -> Values:
    best = result.summary.get("best") or {}
    kind = KINDS[best.get("val_loss") is None]
    loss = best.get("train_loss" if kind == "training" else "val_loss")
    return {"loss": loss, "kind": kind, "initial_loss": result.details.get("initial_loss", loss)}


# A step with numbers worth keeping: a function above, a line here, those it cannot do without, and a judge below.
_VALUES: Mapping[str, Callable[[StepResult], Values]] = {
    "check-init": _initial_loss,
    "overfit": _overfit,
    "find-lr": _learning_rate,
    "coarse-grid": _coarse_loss,
}
NUMBERS: Mapping[str, tuple[str, ...]] = {
    "check-init": ("initial_loss",),
    "overfit": ("steps", "learning_rate", "loss_first", "loss_last"),
    "find-lr": ("suggestion", "low", "high"),
    "coarse-grid": ("loss", "initial_loss"),
}


def _judge_initial_loss(baseline: Baseline, before: Values, now: Values) -> list[Compared | None]:
    learnt = baseline.values.get("overfit")
    fall = learnt["loss_first"] - learnt["loss_last"] if learnt else 0.0
    return [checks.initial_loss(before, now, fall)]


def _judge_overfit(baseline: Baseline, before: Values, now: Values) -> list[Compared | None]:
    # A slow model is tried at fewer rates: a machine may be slow that the baseline's was not.
    alike = before.get("rates") in (None, now.get("rates"))
    return [checks.overfit_steps(before, now) if alike else checks.other_rates(before, now)]


def _judge_learning_rate(baseline: Baseline, before: Values, now: Values) -> list[Compared | None]:
    timed = baseline.same_machine and before.get(_TIME) and now.get(_TIME)
    time = checks.time_per_step(before[_TIME], now[_TIME]) if timed else None
    return [checks.learning_rate(before, now), time]


def _judge_coarse(baseline: Baseline, before: Values, now: Values) -> list[Compared | None]:
    return [checks.coarse_loss(before, now) if before.get("kind") == now["kind"] else None]


_JUDGES: Mapping[str, Callable[[Baseline, Values, Values], list[Compared | None]]] = {
    "check-init": _judge_initial_loss,
    "overfit": _judge_overfit,
    "find-lr": _judge_learning_rate,
    "coarse-grid": _judge_coarse,
}
