"""Spikes: losses far above their neighbours, for one step or for several, that come down again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.curves.smoothing import running_median, window_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MEDIAN = 1 / 8  # of the steps: what lasts for half of that is no spike
_NEIGHBOURS = 5  # whose median shows what lasts for three steps or more
# Quantile of the scatter, and how many times it a spike must reach. Of 300 curves of 500 steps of nothing but noise, a
# single step was taken for a spike in none with normal, Laplace or gamma noise and in 5% with Student's t with 4
# degrees of freedom (10,000 steps, 20 curves: 10%); a median of five in 0.3% at most.
_TAIL, _SINGLE_MULTIPLES, _LASTING_MULTIPLES = 0.95, 4.6, 3.5
_TAIL_STEPS, _TAIL_POWER = (
    500,
    0.25,
)  # the largest of n draws of Student's t with 4 degrees of freedom grows as n^(1/4)
_LEAST_STEPS = 100  # with fewer, the 95% point rests on one or two of them


@dataclass(frozen=True)
class Spike:
    """One spike.

    Attributes:
        step: Of its highest loss, counted from 1.
        height: Above its neighbours.
        steps: For how many it lasts.
    """

    step: int
    height: float
    steps: int


def spikes_of(losses: Floats, single: float, lasting: float) -> list[Spike]:
    """Return the spikes among minibatch losses, `[steps]`, in their order.

    Args:
        losses: One a step.
        single: Height that a spike of one or two steps must have, whatever the noise.
        lasting: The same for one that lasts.
    """
    if len(losses) < _LEAST_STEPS or min(single, lasting) <= 0:
        return []
    window = window_for(len(losses), _MEDIAN)
    left = losses - running_median(losses, window)
    left[: window // 2] = 0.0  # there the median has few neighbours, and momentum overshoots
    held = running_median(left, _NEIGHBOURS)
    growth = max(1.0, len(losses) / _TAIL_STEPS) ** _TAIL_POWER
    tails = [growth * float(np.quantile(np.abs(part[window // 2 :]), _TAIL)) for part in (left, held)]
    beyond = left > max(single, _SINGLE_MULTIPLES * tails[0])
    beyond |= held > max(lasting, _LASTING_MULTIPLES * tails[1])
    return _events(beyond, left, window // 2)


def _events(beyond: NDArray[np.bool_], left: Floats, apart: int) -> list[Spike]:
    """Return what lies beyond as spikes; what is close together is one."""
    found: list[Spike] = []
    places = np.flatnonzero(beyond)
    if not places.size:
        return found
    for group in np.split(places, np.flatnonzero(np.diff(places) > apart) + 1):
        top = int(group[np.argmax(left[group])])
        found.append(Spike(top + 1, float(left[top]), len(group)))
    return [spike for spike in found if math.isfinite(spike.height)]
