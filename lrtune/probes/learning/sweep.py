"""What a learning-rate sweep shows: the smoothed loss, where it falls, where it diverges.

The range test is Smith's ("Cyclical learning rates for training neural networks", 2017): the rate grows by a constant
factor each step. Smoothing is a Gaussian kernel in log rate, normalised by the weights that lie inside the sweep
(which is the bias correction): unlike a moving average it does not shift the curve towards higher rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.learning.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

VALLEY, _VALLEY_LOW = (
    2 / 3,
    1 / 3,
)  # of the way down, in log rate: the suggestion, and the interval's lower end
KERNEL_DECADES = 0.12  # standard deviation of the smoothing kernel
_KERNEL_STEPS = 1.5  # at least, where the sweep is coarse
_START_SHARE = 0.1  # of the steps: at rates so low that the loss stands still
_START_STEPS = 5
# A fall below this many standard errors is noise. On flat losses with Gaussian noise, 800 runs of three sweeps each of
# 20, 30 and 100 steps were taken for a descent in 0.3, 0.1 and 0% of runs (at 4.5: 4, 4 and 3%); with the heavy tails
# of Student's t with 3 degrees of freedom in 0.3, 0 and 0.7% of 300 runs.
NOISE_MULTIPLES = 7.5
DIVERGENCE_MULTIPLES = 12.0  # likewise for a rise: sweeps are looked at again and again while they run
_FEWEST_STEPS = 20  # before a noise can be estimated
# Of the initial loss: below it a sweep is flat, even one that begins without noise (a full batch, a head of zeros).
_LEAST_CHANGE = 1e-4
_CEILING = 3.0  # falls of the loss above where it began; a divergence is one
_BOTTOM_SHARE = 0.02  # of the drop
_MAD_TO_STD = 1.4826  # for normally distributed noise


@dataclass(frozen=True)
class Sweep:
    """One sweep, read.

    Attributes:
        rates: Learning rates, `[steps]`, growing by a constant factor.
        smoothed: Smoothed loss, `[finite steps]`.
        initial: Loss before anything moves.
        noise: Standard error of the smoothed loss.
        start: Index from which the loss falls for good, None when it does not.
        lowest: Index of the lowest smoothed loss before the divergence.
        diverged: Index at which it diverges, None when it does not.
    """

    rates: Floats
    smoothed: Floats
    initial: float
    noise: float
    start: int | None
    lowest: int
    diverged: int | None

    @property
    def drop(self) -> float:
        """How far the loss falls below where it began."""
        return self.initial - float(self.smoothed[self.lowest]) if self.smoothed.size else 0.0

    @property
    def descends(self) -> bool:
        """Whether the fall stands out of the noise."""
        return self.start is not None

    def along(self, share: float) -> float | None:
        """Return the rate at a share of the way, in log rate, from where the fall begins to where it ends."""
        if self.start is None:
            return None
        first, last = math.log(self.rates[self.start]), math.log(self.rates[self.lowest])
        return math.exp(first + share * (last - first))


def sweep_rates(least: float, most: float, steps: int) -> tuple[float, ...]:
    """Return `steps` rates from `least` to `most`, each the same factor above the one before."""
    return tuple(float(rate) for rate in np.geomspace(least, most, steps))


def read_sweep(rates: Sequence[float], losses: Sequence[float]) -> Sweep:
    """Smooth a sweep and find its landmarks.

    It diverges where the loss stops being finite, or where it has risen above its lowest by as much as it had fallen
    before, and by more than the noise: a rule that holds for losses below zero and near it.

    Args:
        rates: `[steps]`.
        losses: Minibatch losses, up to `[steps]`; shorter when the loss stopped being finite.
    """
    grid = np.asarray(rates, dtype=float)
    raw = np.asarray(losses, dtype=float)
    ended = len(raw) if len(raw) < len(grid) else None
    if raw.size == 0:
        return Sweep(grid, raw, math.nan, math.nan, None, 0, 0)
    count = max(_START_STEPS, round(_START_SHARE * len(grid)))
    initial = float(np.median(raw[:count]))
    _, noise = smooth(grid[: len(raw)], raw)
    smoothed, _ = smooth(grid[: len(raw)], _without_explosion(raw, initial))
    diverged = _divergence(smoothed, initial, noise)
    diverged = ended if diverged is None else diverged
    lowest = _lowest(smoothed[: diverged or len(smoothed)], initial)
    drop = initial - float(smoothed[lowest])
    start = (
        _start(smoothed, lowest, initial - max(0.1 * drop, 2 * noise))
        if drop > least_drop(initial, noise)
        else None
    )
    return Sweep(grid, smoothed, initial, noise, start, lowest, diverged)


def _without_explosion(losses: Floats, initial: float) -> Floats:
    """Return losses cut off well above all that is judged: of 1e30 a kernel's far tail is an explosion by itself."""
    least = max(DIVERGENCE_MULTIPLES * _noise(losses), _LEAST_CHANGE * abs(initial))
    return np.minimum(losses, initial + _CEILING * max(initial - float(losses.min()), least))


def least_drop(initial: float, noise: float) -> float:
    """Return how far a loss must fall to be more than noise."""
    return max(NOISE_MULTIPLES * noise, _LEAST_CHANGE * abs(initial))


def has_moved(sweep: Sweep) -> bool:
    """Return whether the smoothed loss ever left where it began by more than the noise, up or down."""
    if sweep.smoothed.size == 0:
        return False
    return bool(np.abs(sweep.smoothed - sweep.initial).max() > least_drop(sweep.initial, sweep.noise))


def smooth(rates: Floats, losses: Floats) -> tuple[Floats, float]:
    """Return the losses smoothed over log rate, `[steps]`, and the standard error of a smoothed value."""
    if len(rates) < 2:
        return losses.copy(), 0.0
    position = np.log10(rates)
    width = max(KERNEL_DECADES, _KERNEL_STEPS * float(position[1] - position[0]))
    weights = np.exp(-0.5 * ((position[:, None] - position[None, :]) / width) ** 2)
    weights /= weights.sum(1, keepdims=True)
    # A loss that has come to rest at zero hides the noise that it had before: the larger of the two counts.
    noise = max(_noise(losses), _noise(losses[: len(losses) // 2]))
    share = float(np.sqrt((weights[len(rates) // 2] ** 2).sum()))
    return weights @ losses, noise * share


def _noise(losses: Floats) -> float:
    """Return the standard deviation of independent noise on a smooth curve.

    Second differences of neighbours hold the noise and almost nothing of the curve, Var(x[i-1] - 2 x[i] + x[i+1]) =
    6 σ²; their median leaves out a divergence.
    """
    seconds = np.abs(np.diff(losses, 2)) if len(losses) > 2 else np.zeros(1)
    return _MAD_TO_STD * float(np.median(seconds)) / math.sqrt(6)


def median_curve(curves: Sequence[Floats], steps: int) -> list[float | None]:
    """Return the median over sweeps at each rate, `[steps]`; None where over half of them have ended."""
    columns = [[float(curve[at]) for curve in curves if at < len(curve)] for at in range(steps)]
    return [float(np.median(column)) if 2 * len(column) > len(curves) else None for column in columns]


def read_valley(sweeps: Sequence[Sweep]) -> Reading | None:
    """Return the rate two thirds down the valley, the median over the sweeps; None where none descends."""
    suggestions = _along(sweeps, VALLEY)
    if not suggestions:
        return None
    low = min(*suggestions, geometric_median(_along(sweeps, _VALLEY_LOW)))
    high = max(*suggestions, geometric_median(_along(sweeps, 1.0)))
    return Reading(geometric_median(suggestions), low, high, math.nan)


def _along(sweeps: Sequence[Sweep], share: float) -> list[float]:
    return [rate for sweep in sweeps if (rate := sweep.along(share)) is not None]


def mean_losses(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean loss over sweeps at each rate, as far as at least half of them have come."""
    steps = sorted((len(row) for row in rows), reverse=True)[(len(rows) - 1) // 2]
    return [float(np.mean([row[at] for row in rows if at < len(row)])) for at in range(steps)]


def spread(values: Sequence[float]) -> float:
    """Return the ratio of the largest to the smallest."""
    return max(values) / min(values)


def geometric_median(values: Sequence[float]) -> float:
    """Return the median in log, between the two middle ones of an even number."""
    return float(np.exp(np.median(np.log(values))))


def _divergence(smoothed: Floats, initial: float, noise: float) -> int | None:
    """Return where the loss has risen above its lowest by all it had fallen, and clearly out of the noise."""
    if len(smoothed) < _FEWEST_STEPS:
        return None
    lowest = np.minimum.accumulate(smoothed)
    rise, drop = (
        smoothed - lowest,
        initial - lowest,
    )  # one that falls from the first step begins above `initial`
    clear = max(DIVERGENCE_MULTIPLES * noise, _LEAST_CHANGE * abs(initial))
    beyond = np.flatnonzero((rise > np.maximum(drop, clear)) & (smoothed > initial))
    return int(beyond[0]) if beyond.size else None


def _lowest(smoothed: Floats, initial: float) -> int:
    """Return where the loss first comes as low as it gets, but for next to nothing.

    A loss that has reached zero stays there over decades of rates; what counts is where the fall ends.
    """
    if smoothed.size == 0:
        return 0
    least = float(smoothed.min())
    return int(np.flatnonzero(smoothed <= least + max(_BOTTOM_SHARE * (initial - least), 0.0))[0])


def _start(smoothed: Floats, lowest: int, level: float) -> int:
    """Return where the loss crosses `level` for the last time before its lowest point."""
    above = [at for at, (one, two) in enumerate(pairwise(smoothed[: lowest + 1])) if one >= level > two]
    return above[-1] if above else 0
