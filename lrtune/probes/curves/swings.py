"""Oscillation: rises and falls of the smoothed loss beyond its noise, and a loss that alternates from step to step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.curves.noise import error_of_mean
from lrtune.probes.curves.smoothing import moving_average, running_median, window_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_AVERAGE, _MEDIAN = 1 / 30, 1 / 8  # of the steps
_ERRORS = 6.0  # of the smoothed loss: of 100 independent stretches of noise the extremes are 5 apart
_LEAST_STEPS = 40


@dataclass(frozen=True)
class Swings:
    """How a loss goes up and down.

    Attributes:
        rises: Heights of the rises that stand out of the noise, of the smoothed losses or of the evaluations.
        alternation: Correlation of the loss with the step after it, once its course is taken out: 0 for independent
            noise, -1 for a loss that flips at every step; 0 where there are too few steps.
        chance: How far below 0 that correlation comes by chance.
        scatter: Standard deviation around the course.
    """

    rises: tuple[float, ...]
    alternation: float
    chance: float
    scatter: float


def swings_of(losses: Floats, train: Floats, least: float) -> Swings:
    """Measure the swings of a training.

    Args:
        losses: Of the minibatches, one a step.
        train: On a fixed subset, one an evaluation: these have no noise but that of the training itself.
        least: Height that a rise must have, whatever the noise.
    """
    seen = tuple(rises_of(train, least)) if least > 0 else ()
    if len(losses) < _LEAST_STEPS or least <= 0:
        return Swings(seen, 0.0, 1.0, 0.0)
    half = window_for(len(losses), _MEDIAN) // 2  # at the ends the median has fewer neighbours
    left = (losses - _course(losses))[half : len(losses) - half]
    alternation, scatter = _alternation(left), float(np.median(np.abs(left))) * 1.4826
    window = window_for(len(losses), _AVERAGE)
    error = error_of_mean(losses, window)
    rises = tuple(rises_of(moving_average(losses, window), max(least, _ERRORS * error)))
    return Swings(max(rises, seen, key=len), alternation, 4 / math.sqrt(len(left)), scatter)


def rises_of(values: Floats, least: float) -> list[float]:
    """Return the heights of the rises of at least `least`, each from a low to the high before the next such fall.

    >>> rises_of(np.array([3.0, 1.0, 2.0, 1.5, 2.5, 0.0, 0.4]), least=1.0)
    [1.5]
    """
    heights: list[float] = []
    low, high, rising = math.inf, -math.inf, False
    for value in values:
        if rising:
            high = max(high, value)
            if high - value >= least:
                heights.append(float(high - low))
                low, rising = value, False
        else:
            low = min(low, value)
            if value - low >= least:
                high, rising = value, True
    return [*heights, float(high - low)] if rising else heights


def _course(losses: Floats) -> Floats:
    """The running median, its neighbours averaged: of a loss that flips, the median of an odd number flips as well."""
    median = running_median(losses, window_for(len(losses), _MEDIAN))
    inner = (median[:-2] + 2 * median[1:-1] + median[2:]) / 4
    return np.concatenate((median[:1], inner, median[-1:]))


def _alternation(left: Floats) -> float:
    """Lag-1 correlation, with outliers cut off: one spike would hide all others."""
    bound = 5 * 1.4826 * float(np.median(np.abs(left)))
    cut = np.clip(left, -bound, bound)
    total = float(cut @ cut)
    return float(cut[1:] @ cut[:-1]) / total if total > 0 else 0.0
