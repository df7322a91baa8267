"""From trainings at constant rates to the rates that go on, and to the suggestion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.learning.candidates import SPACING
from lrtune.probes.learning.constant_rates import FIRST_STEPS, JUDGED_STEPS, RECENT, RECENT_STEPS
from lrtune.probes.learning.reading import Reading

if TYPE_CHECKING:
    from lrtune.probes.learning.constant_rates import ProbedRate, RateProbes

# Regret that counts as being as good. At 0.02 to 0.05 the suggestions of 24 programs miss 1.0% of the fall in the mean;
# the higher, the steadier over seeds, and the worse where the valley is narrow (at worst 3.2, 3.2, 3.7 and 5.2%).
_TOLERANCE = 0.03
# Before any probe, the best rate is thought to lie a decade below the highest candidate, give or take 0.75 decades: so
# it did on the same programs (mean -1.0, standard deviation 0.72). It decides where the probes do not.
_PRIOR_DECADES, _PRIOR_WIDTH = -1.0, 0.75

# Decades from the best rate of 100 steps to that of the trainings that follow, which are longer: on 24 programs with
# horizons of 150 to 528 steps, none of which a constant above was set on, what the probes favour lay 0.16 decades above
# the best at the median. With 0, 0.1 and 0.15 decades off, the suggestions miss 2.5%, 2.2% and 2.2% of the fall in the
# mean, 1.5%, 1.0% and 0.8% at the median; on the 24 programs that the others were set on it makes no difference.
_LONGER = -0.1

_RESOLUTION = math.log10(SPACING) / 2  # of the candidates, in decades
_HALF_WIDTHS = (
    1.5  # standard deviations to either side: the best rate of those programs lay inside in 92% of runs
)
_MOST_HALF_WIDTH = 0.5  # decades: an interval spans a factor of 10 at most

_MOST_NOISE = 0.25  # a fall of less than four standard errors is none
_LEAST_FALL = 1e-4  # of the initial loss, likewise


def beyond_the_best(probes: RateProbes, highest: float | None) -> float | None:
    """Return the rate beyond the best after the first steps, where that is the lowest or the highest of all.

    Args:
        probes: What was measured so far.
        highest: The highest candidate that the sweeps proposed, None where they were blind.
    """
    doubts = _doubts(probes, (FIRST_STEPS,), highest)
    if not doubts:
        return None
    best = min(doubts, key=lambda rate: doubts[rate])
    rates = [one.rate for one in probes.tried]
    if best == rates[0]:
        return best / SPACING
    return best * SPACING if best == rates[-1] else None


def worth_going_on(probes: RateProbes, count: int, highest: float | None) -> list[float]:
    """Return up to `count` neighbouring rates around the one that is best after the first steps, ascending.

    Of an even number one more lies below it than above: short trainings favour high rates.
    """
    doubts = _doubts(probes, (FIRST_STEPS,), highest)
    if not doubts:
        return []
    rates = list(doubts)
    best = rates.index(min(doubts, key=lambda rate: doubts[rate]))
    first = max(0, min(best - count // 2, len(rates) - count))
    return rates[first : first + count]


def read_probes(probes: RateProbes, highest: float | None) -> Reading | None:
    """Return the rate that training at constant rates recommends, None where the loss falls at none of them.

    It is the rates' geometric mean, weighted by `exp(-regret / tolerance)` and the prior: where one rate is clearly
    best that one, in a flat valley its middle; a little lower, since longer trainings want lower rates.
    """
    doubts = _doubts(probes, JUDGED_STEPS, highest)
    if not doubts:
        return None
    noise = _noise(probes, probes.at(min(doubts, key=lambda rate: doubts[rate])))
    if noise > _MOST_NOISE:
        return None
    decades = np.log10(list(doubts))
    weights = np.exp(min(doubts.values()) - np.array(list(doubts.values())))
    weights /= weights.sum()
    middle = float(weights @ decades)
    width = math.sqrt(float(weights @ (decades - middle) ** 2) + _RESOLUTION**2)
    half = min(_HALF_WIDTHS * width, _MOST_HALF_WIDTH)
    return Reading(10 ** (middle + _LONGER), 10 ** (middle - half), 10 ** (middle + half), noise)


def _doubts(probes: RateProbes, steps: tuple[int, ...], highest: float | None) -> dict[float, float]:
    """Return for each rate that did not diverge the negative logarithm of its weight: regret, and prior if any."""
    regrets = {rate: regret for rate, regret in probes.regrets(*steps).items() if math.isfinite(regret)}
    return {rate: regret / _TOLERANCE + _prior(rate, highest) for rate, regret in regrets.items()}


def _prior(rate: float, highest: float | None) -> float:
    if highest is None:
        return 0.0
    return ((math.log10(rate / highest) - _PRIOR_DECADES) / _PRIOR_WIDTH) ** 2 / 2


def largest_stable(probes: RateProbes) -> float | None:
    """Return the highest rate that neither diverged nor ended with more loss than it began with, or None."""
    return max((one.rate for one in probes.tried if _has_held(one, probes)), default=None)


def lowest_diverged(probes: RateProbes) -> float | None:
    """Return the lowest rate at which training diverged, None where none did."""
    return min((one.rate for one in probes.tried if one.diverged), default=None)


def any_fell(probes: RateProbes) -> bool:
    """Return whether the loss on the fixed examples fell at any rate, by however little; True where none was tried."""
    fixed = [name for name in probes.initial if name != RECENT]
    falls = [
        probes.initial[name] - one.last.get(name, math.inf) > _LEAST_FALL * abs(probes.initial[name])
        for one in probes.tried
        for name in fixed
    ]
    return any(falls) or not falls


def _has_held(one: ProbedRate, probes: RateProbes) -> bool:
    return (
        not one.diverged
        and bool(one.last)
        and all(one.last[name] < probes.initial[name] for name in one.last)
    )


def _noise(probes: RateProbes, one: ProbedRate) -> float:
    """Return the standard error of a rate's recent minibatch losses around their trend, as a share of their fall."""
    recent = np.array(one.losses[-RECENT_STEPS:])
    initial = probes.initial[RECENT]
    fall = initial - float(recent.mean())
    if not fall > _LEAST_FALL * abs(initial):
        return math.inf
    steps = np.arange(len(recent))
    scatter = recent - np.polyval(np.polyfit(steps, recent, 1), steps)
    return float(scatter.std(ddof=2) / math.sqrt(len(recent)) / fall)
