"""From trainings at constant rates to the rates that go on, and to the suggestion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.learning.candidates import SPACING
from lrtune.probes.learning.constant_rates import FIRST_STEPS, JUDGED_STEPS, STEPS
from lrtune.probes.learning.reading import Reading

if TYPE_CHECKING:
    from lrtune.probes.learning.constant_rates import ProbedRate, RateProbes

_LOWER = (
    2  # that go on below the best after the first steps, and one above: short trainings favour high rates
)

# Regret that counts as being as good: at 0.02 to 0.06 the suggestions of 17 programs miss as much of the fall, 0.9 to
# 1.1% in the mean; the higher, the steadier over seeds.
_TOLERANCE = 0.04
# Before any probe, the best rate is thought to lie a decade below the highest candidate, give or take 0.75 decades: so
# it did on the same programs (median -0.97, standard deviation 0.74). It decides where the probes do not.
_PRIOR_DECADES, _PRIOR_WIDTH = -1.0, 0.75

_RESOLUTION = math.log10(SPACING) / 2  # of the candidates, in decades
_HALF_WIDTHS = (
    1.2  # standard deviations to either side of the suggestion: the best rate lay inside in 88% of runs
)
_MOST_HALF_WIDTH = 0.5  # decades: an interval spans a factor of 10 at most

_MOST_NOISE = 0.25  # a fall of less than four standard errors is none
_LEAST_FALL = 1e-3  # of the initial loss, likewise


def beyond_the_best(probes: RateProbes) -> float | None:
    """Return the rate beyond the best after the first steps, where that is the lowest or the highest of all."""
    regrets = probes.regrets(FIRST_STEPS)
    if not regrets:
        return None
    best = min(regrets, key=lambda rate: regrets[rate])
    if best == min(regrets):
        return best / SPACING
    return best * SPACING if best == max(regrets) else None


def worth_going_on(probes: RateProbes, count: int) -> list[float]:
    """Return up to `count` neighbouring rates around the one that is best after the first steps, ascending."""
    regrets = probes.regrets(FIRST_STEPS)
    alive = [rate for rate, regret in regrets.items() if math.isfinite(regret)]
    if not alive:
        return []
    best = alive.index(min(alive, key=lambda rate: regrets[rate]))
    first = max(0, min(best - _LOWER, len(alive) - count))
    return alive[first : first + count]


def read_probes(probes: RateProbes, highest: float) -> Reading | None:
    """Return the rate that training at constant rates recommends, None where the loss falls at none of them.

    It is the rates' geometric mean, weighted by `exp(-regret / tolerance)` and the prior: where one rate is clearly
    best that one, in a flat valley its middle.

    Args:
        probes: What was measured.
        highest: The highest candidate that the sweeps proposed.
    """
    regrets = {
        rate: regret for rate, regret in probes.regrets(*JUDGED_STEPS).items() if math.isfinite(regret)
    }
    if not regrets:
        return None
    noise = _noise(probes, probes.at(min(regrets, key=lambda rate: regrets[rate])))
    if noise > _MOST_NOISE:
        return None
    decades = np.log10(list(regrets))
    prior = ((decades - math.log10(highest) - _PRIOR_DECADES) / _PRIOR_WIDTH) ** 2 / 2
    exponents = np.array(list(regrets.values())) / _TOLERANCE + prior
    weights = np.exp(exponents.min() - exponents)
    weights /= weights.sum()
    middle = float(weights @ decades)
    width = math.sqrt(float(weights @ (decades - middle) ** 2) + _RESOLUTION**2)
    half = min(_HALF_WIDTHS * width, _MOST_HALF_WIDTH)
    return Reading(10**middle, 10 ** (middle - half), 10 ** (middle + half), noise)


def largest_stable(probes: RateProbes) -> float | None:
    """Return the highest rate that neither diverged nor ended with more loss than it began with, or None."""
    return max((one.rate for one in probes.tried if _has_held(one, probes)), default=None)


def _has_held(one: ProbedRate, probes: RateProbes) -> bool:
    return not one.diverged and one.last.get("train", math.inf) < probes.initial["train"]


def _noise(probes: RateProbes, one: ProbedRate) -> float:
    """Return the standard error of a rate's mean minibatch loss over the second half, as a share of the fall."""
    late = np.array(one.losses[STEPS // 2 :])
    initial = probes.initial["train"]
    fall = initial - one.last["train"]
    return (
        float(late.std(ddof=1) / math.sqrt(len(late)) / fall)
        if fall > _LEAST_FALL * abs(initial)
        else math.inf
    )
