"""Checks of the learning-rate sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lrtune.checks.catalogue import finding
from lrtune.probes.learning.sweep import least_drop, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.learning.sweep import Sweep
    from lrtune.results import Finding

MOST_SPREAD = 3.0  # of the suggestions over seeds: neighbouring rates of a coarse grid lie this far apart
_CLOSE_SPREAD = 2.0
_EDGE_SHARE = 0.04  # of the sweep's steps


def no_descent(sweeps: Sequence[Sweep], mean: Sweep) -> Finding | None:
    """The loss falls by more than the noise in most sweeps, or else in their mean."""
    descending = sum(sweep.descends for sweep in sweeps)
    if 2 * descending > len(sweeps) or mean.descends or diverges_everywhere(sweeps):
        return None
    message = (
        f"The loss falls at no rate from {mean.rates[0]:.2g} to {mean.rates[-1]:.2g} in {len(sweeps) - descending} of "
        f"{len(sweeps)} sweeps, nor in their mean, whose largest drop, {mean.drop:.3g} from {mean.initial:.4g}, is "
        "within the noise."
    )
    return finding("no-descent", message, mean.drop, f"> {least_drop(mean.initial, mean.noise):.3g}")


def diverges_everywhere(sweeps: Sequence[Sweep]) -> Finding | None:
    """Some rate of the range is small enough."""
    at_once = [sweep for sweep in sweeps if _ends_at_once(sweep)]
    if 2 * len(at_once) <= len(sweeps):
        return None
    least = float(sweeps[0].rates[0])
    message = f"The loss diverges within the first steps, already at the lowest rate, {least:.2g}."
    return finding("diverges-everywhere", message, least, "a rate at which the loss stays finite")


def never_diverged(sweeps: Sequence[Sweep]) -> Finding | None:
    """The range goes on until the loss diverges, so that the largest stable rate is known."""
    if any(sweep.diverged is not None for sweep in sweeps):
        return None
    most = float(sweeps[0].rates[-1])
    message = f"The loss does not diverge up to the highest rate, {most:.3g}: higher ones may be better."
    return finding("never-diverged", message, most, "a rate that diverges")


def best_at_range_edge(sweeps: Sequence[Sweep]) -> Finding | None:
    """The lowest loss lies inside the range of rates."""
    at_edge = [sweep for sweep in sweeps if sweep.descends and sweep.lowest >= _last_inner(sweep)]
    if 2 * len(at_edge) <= len(sweeps):
        return None
    rate = float(at_edge[0].rates[at_edge[0].lowest])
    message = f"The loss is lowest at the end of the range of rates, {rate:.3g}: it may go on falling beyond."
    return finding("best-at-range-edge", message, rate, f"< {float(at_edge[0].rates[-1]):.3g}")


def noisy_suggestion(suggestions: Sequence[float]) -> Finding | None:
    """Sweeps over different seeds agree."""
    if len(suggestions) < 2 or spread(suggestions) <= MOST_SPREAD:
        return None
    ratio = spread(suggestions)
    message = (
        f"Over {len(suggestions)} seeds the suggestion spreads by a factor of {ratio:.1f} "
        f"({min(suggestions):.2g} to {max(suggestions):.2g})."
    )
    return finding("noisy-suggestion", message, ratio, f"<= {MOST_SPREAD:g}")


def confidence(suggestions: Sequence[float], sweeps: Sequence[Sweep]) -> Literal["high", "medium", "low"]:
    """Return how far the suggestion can be trusted: all sweeps descend and agree, most do, or neither."""
    if len(suggestions) < 2 or spread(suggestions) > MOST_SPREAD:
        return "low"
    agree = spread(suggestions) <= _CLOSE_SPREAD and len(suggestions) == len(sweeps)
    return "high" if agree and not best_at_range_edge(sweeps) else "medium"


def _ends_at_once(sweep: Sweep) -> bool:
    return sweep.diverged is not None and not sweep.descends and sweep.diverged <= 0.1 * len(sweep.rates)


def _last_inner(sweep: Sweep) -> int:
    return len(sweep.rates) - 1 - round(_EDGE_SHARE * len(sweep.rates))
