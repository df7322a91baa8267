"""Checks against a baseline: what a training did when it was known to be healthy, and what it does now.

Each takes the numbers then and now and returns what it compared, with a finding where they lie further apart than
another seed moves them. All constants come from `tests/benchmarks/baseline/`, see the texts of the catalogue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import Finding

LOSS_ERRORS = 4.0  # standard errors of the difference of two initial losses
LOSS_SHARE = 0.5  # of the initial loss, which another initialisation moves as well
STEPS_FACTOR = 3.0  # times as many steps to overfit
STEPS_MORE = 50  # and more: steps are counted in blocks of 25
RATE_FACTOR = 6.0  # between two suggestions
RANGE_STEPS = 2.5  # of the sweep, by which all rates that tell the stable range have moved the same way
COARSE_SHARE = 0.15  # of what training takes off the loss
SEEDS_MORE = 2.0  # times what the baseline's own seeds lay apart (rates: to that power)
TIME_FACTOR = 3.0


@dataclass(frozen=True)
class Compared:
    """One number then and now.

    Attributes:
        code: Of the finding that says it has moved.
        what: The number's name.
        baseline: What it was, as text.
        now: What it is, as text.
        allowed: What it may be, as text.
        finding: That it has moved, else None.
    """

    code: str
    what: str
    baseline: str
    now: str
    allowed: str
    finding: Finding | None


def initial_loss(before: Mapping[str, Any], now: Mapping[str, Any], fall: float) -> Compared:
    """The loss of the untrained model has not moved away from what theory expects.

    Args:
        before: `initial_loss`, `standard_error`, and `spread`: how far those of some seeds lay apart.
        now: The same, with `expected_low` and `expected_high`.
        fall: How far the loss fell when the baseline learnt a few batches by heart: its scale where it is near 0.
    """
    was, found = before["initial_loss"], now["initial_loss"]
    error = math.hypot(before.get("standard_error") or 0.0, now.get("standard_error") or 0.0)
    seeds = SEEDS_MORE * _spread(before, 0.0)
    noise = max(LOSS_ERRORS * error, LOSS_SHARE * max(abs(was), fall), seeds)
    allowed = f"{was - noise:.4g} to {was + noise:.4g}"
    moved = None
    if abs(found - was) > noise:
        message = f"The initial loss is {found:.4g}, where the baseline has {was:.4g}: beyond {allowed}."
        away = _distance(found, now) >= _distance(was, now)
        moved = (
            finding("regression-initial-loss", message, found, allowed)
            if away
            else finding("better-than-baseline", message, found, allowed)
        )
    return Compared("regression-initial-loss", "initial loss", _number(was), _number(found), allowed, moved)


def _distance(loss: float, now: Mapping[str, Any]) -> float:
    """Return how far a loss is from what theory expects; 0 where nothing is expected: any move is then away."""
    low, high = now.get("expected_low"), now.get("expected_high")
    if low is None or high is None:
        return 0.0
    return float(max(low - loss, loss - high, 0.0))


def overfit_steps(before: Mapping[str, Any], now: Mapping[str, Any]) -> Compared:
    """A few batches are learnt by heart in about as many steps.

    Args:
        before: `steps`, and `spread`: how far those of some seeds lay apart.
        now: `steps`.
    """
    was, found = before["steps"], now["steps"]
    seeds = SEEDS_MORE * _spread(before, 0.0)
    most = max(STEPS_FACTOR * was, was + STEPS_MORE, was + seeds)
    moved = None
    if found > most:
        message = f"It takes {found} steps to overfit a few batches, where the baseline took {was}."
        moved = finding("regression-overfit-steps", message, found, f"<= {most:.0f}")
    elif was > max(STEPS_FACTOR * found, found + STEPS_MORE, found + seeds):
        message = f"It takes {found} steps to overfit a few batches, where the baseline took {was}."
        moved = finding("better-than-baseline", message, found, f"about {was}")
    return Compared(
        "regression-overfit-steps", "steps to overfit", str(was), str(found), f"<= {most:.0f}", moved
    )


def other_rates(before: Mapping[str, Any], now: Mapping[str, Any]) -> Compared:
    """Steps at other numbers of rates are shown beside each other, and not judged.

    Args:
        before: `steps`, and at how many `rates`.
        now: The same.
    """
    was, found = (f"{one['steps']} at {one['rates']} rates" for one in (before, now))
    return Compared("regression-overfit-steps", "steps to overfit", was, found, "not compared", None)


def learning_rate(before: Mapping[str, Any], now: Mapping[str, Any]) -> Compared:
    """The rates that suit lie where they lay.

    Three numbers tell where: the suggestion, the highest rate that held when trained at, and where the sweeps
    diverge. Another seed moves one of them; what moves the range of stable rates moves all three.

    Args:
        before: `suggestion`, `low`, `high`, `largest_stable` and `diverged_at`; and by what factor seeds lay apart, as
            `spread` the suggestions and as `range_spread` all three at once.
        now: The same rates, and `spacing`: by what factor the sweep raises the rate in a step.
    """
    was, found = before["suggestion"], now["suggestion"]
    all_moved = moved_together(before, now)
    most = max(now["spacing"] ** RANGE_STEPS, _spread(before, 1.0, "range_spread") ** SEEDS_MORE)
    factor = max(RATE_FACTOR, _spread(before, 1.0) ** SEEDS_MORE)
    alone = max(was / found, found / was)
    expected = f"{was / factor:.2g} to {was * factor:.2g}"
    moved = None
    if all_moved > most or alone > factor:
        side = "lower" if found < was else "higher"
        whole = (
            f"; all rates that hold lie {side}, by a factor of {all_moved:.2g} at least"
            if all_moved > most
            else ""
        )
        message = (
            f"The suggested learning rate is {_rates(now)}, where the baseline has {_rates(before)}{whole}."
        )
        moved = finding("regression-learning-rate", message, found, expected)
    what = "learning rate"
    return Compared("regression-learning-rate", what, _rates(before), _rates(now), expected, moved)


def moved_together(before: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """Return the factor by which all three rates have moved at least; 1 where they disagree or one lacks."""
    keys = ("suggestion", "largest_stable", "diverged_at")
    ratios = [before[key] / now[key] for key in keys if before.get(key) and now.get(key)]
    if len(ratios) < len(keys):
        return 1.0
    return float(max(min(ratios), 1 / max(ratios), 1.0))


def coarse_loss(before: Mapping[str, Any], now: Mapping[str, Any]) -> Compared:
    """The coarse grid's best loss is no higher.

    Args:
        before: `loss`, `initial_loss` and `kind` (`validation` or `training`).
        now: The same.
    """
    was, found, kind = before["loss"], now["loss"], before["kind"]
    noise = COARSE_SHARE * abs(before["initial_loss"] - was)
    allowed = f"<= {was + noise:.4g}"
    message = f"The coarse grid's best {kind} loss is {found:.4g}, where the baseline has {was:.4g}."
    moved = None
    if found > was + noise:
        moved = finding("regression-coarse-loss", message, found, allowed)
    elif found < was - noise:
        moved = finding("better-than-baseline", message, found, f"about {was:.4g}")
    return Compared(
        "regression-coarse-loss", f"best {kind} loss", _number(was), _number(found), allowed, moved
    )


def time_per_step(before: float, now: float) -> Compared:
    """A gradient step takes no longer on the same machine.

    Args:
        before: Milliseconds.
        now: Milliseconds.
    """
    most = TIME_FACTOR * before
    moved = None
    if now > most:
        message = (
            f"A gradient step takes {now:.3g} ms, where the baseline took {before:.3g} ms on this machine."
        )
        moved = finding("regression-time", message, now, f"<= {most:.3g}")
    return Compared(
        "regression-time",
        "time a step",
        f"{before:.3g} ms",
        f"{now:.3g} ms",
        f"<= {most:.3g} ms",
        moved,
    )


def _spread(before: Mapping[str, Any], alike: float, key: str = "spread") -> float:
    """Return how far the baseline's seeds lay apart; `alike`, which is not at all, where that was not measured."""
    known = before.get(key)
    return alike if known is None else float(known)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _rates(found: Mapping[str, Any]) -> str:
    return f"{found['suggestion']:.2g} ({found['low']:.2g} to {found['high']:.2g})"
