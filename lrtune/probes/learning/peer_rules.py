"""What other learning-rate finders would suggest, computed on a sweep of ours.

Formulas as in the sources of the releases named with each rule; no code of theirs. All compute in float64 here, where
fastai and Lightning use float32: on curves that are flat but for rounding the answers may differ.

Every rule takes the rates `[steps]` of the whole sweep, growing by a constant factor, and the raw minibatch losses,
up to `[steps]`. Where the losses are fewer, the sweep is taken to have ended there, and what a peer drops at the end
is dropped from there. A peer's own run goes on through NaN: losses padded with NaN are read as it would read them.
Each returns None where the peer would raise or suggest nothing, and where no smoothed loss is finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Rule: TypeAlias = Callable[[Sequence[float], Sequence[float]], float | None]

_BETA = 0.98  # fastai's `Recorder(beta=)` and Lightning's `_LRCallback(beta=)`
_FASTAI_STOP = 4.0  # times the best smoothed loss, `LRFinder.after_batch`
_FASTAI_SKIP_SHARE = 10  # one in ten of the steps at the start, `lr_find`
_FASTAI_SKIP_END = 5
_SLIDE_WIDTH = 15  # steps, `slide(lr_diff=)`
_SLIDE_THRESHOLD = 0.005  # `slide(thresh=)`
_TORCH_LR_FINDER_SMOOTH = 0.05  # `range_test(smooth_f=)`
_TORCH_LR_FINDER_STOP = 5.0  # times the best smoothed loss, `range_test(diverge_th=)`
_TORCH_LR_FINDER_SKIP = (10, 5)  # steps at start and end, `plot(skip_start=, skip_end=)`
_LIGHTNING_STOP = 4.0  # times the best smoothed loss, `lr_find(early_stop_threshold=)`
_LIGHTNING_SKIP = (10, 1)  # steps at start and end, `suggestion(skip_begin=, skip_end=)`


def peer_suggestions(rates: Sequence[float], losses: Sequence[float]) -> dict[str, float | None]:
    """Return what each peer would suggest, by its name as shown to users.

    Args:
        rates: `[steps]`.
        losses: Raw minibatch losses of one sweep, up to `[steps]`.

    Example:
        >>> from lrtune.probes.learning.sweep import sweep_rates
        >>> losses = [2.0] * 20 + [1.0] * 21  # falls at 0.01
        >>> round(peer_suggestions(sweep_rates(1e-4, 1.0, 41), losses)["torch-lr-finder"], 6)
        0.01
    """
    return {name: rule(rates, losses) for name, rule in PEER_RULES.items()}


def fastai_valley(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Follow `valley` of fastai 2.8.12, fastai/callback/schedule.py: `lr_find`'s default.

    With the length L of the longest strictly decreasing subsequence and the step e at which the first of that length
    ends, the suggestion is at step e - L + ⌊L/3⌋ + ⌊L/6⌋; at the first where nothing falls. fastai's documentation
    says roughly 2/3 through the valley; its formula goes L steps back from e, however many the subsequence spans, and
    then half of the way. A single fall, from the first step to the second, gives step -1, which is the last.
    """
    grid, smoothed = _fastai_window(rates, losses)
    if smoothed.size == 0:
        return None
    lengths = np.ones(len(smoothed), dtype=int)
    for at in range(1, len(smoothed)):
        lengths[at] += lengths[:at][smoothed[:at] > smoothed[at]].max(initial=0)
    end = int(lengths.argmax())
    length = int(lengths[end]) if end else 0
    return float(grid[end - length + length // 3 + length // 6])


def fastai_slide(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Follow `slide` of fastai 2.8.12, fastai/callback/schedule.py.

    From the end, an interval of 15 steps slides down for as long as the gradients over the step, at its two ends,
    differ by more than 0.005; the suggestion is the lower end of the last such interval, or of the very first one.
    `adjust_value`, by which fastai multiplies it, is 1. The threshold is absolute: it depends on the loss's scale.
    """
    grid, smoothed = _fastai_window(rates, losses)
    if len(smoothed) <= _SLIDE_WIDTH:
        return None
    gradient = np.gradient(smoothed)
    differs = np.abs(gradient[_SLIDE_WIDTH:] - gradient[:-_SLIDE_WIDTH]) > _SLIDE_THRESHOLD
    slides = int(np.logical_and.accumulate(differs[::-1]).sum())
    return float(grid[-_SLIDE_WIDTH - max(slides, 1)])


def fastai_minimum(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Follow `minimum` of fastai 2.8.12, fastai/callback/schedule.py: a tenth of the rate of the lowest loss."""
    grid, smoothed = _fastai_window(rates, losses)
    return float(grid[smoothed.argmin()]) / 10 if smoothed.size else None


def fastai_steep(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Follow `steep` of fastai 2.8.12, fastai/callback/schedule.py.

    The lower end of the step with the least Δloss / Δlog rate.
    """
    grid, smoothed = _fastai_window(rates, losses)
    if len(smoothed) < 2:
        return None
    return float(grid[(np.diff(smoothed) / np.diff(np.log(grid))).argmin()])


def torch_lr_finder(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Follow `LRFinder.range_test` and `.plot` of torch-lr-finder 0.2.2, torch_lr_finder/lr_finder.py.

    s_0 = loss_0, s_t = 0.05 loss_t + 0.95 s_{t-1}; the run ends where s_t > 5 min s; of what is left without the
    first 10 and the last 5, the rate at the least central difference of s over the step. On NaN that are not among
    the last 5 the suggestion is the first step whose difference is NaN, as NumPy's argmin has it.
    """
    share = _TORCH_LR_FINDER_SMOOTH
    smoothed = np.fromiter(accumulate(losses, lambda mean, loss: share * loss + (1 - share) * mean), float)
    recorded = _until(smoothed > _TORCH_LR_FINDER_STOP * np.fmin.accumulate(smoothed))
    grid, smoothed = _window(rates, smoothed[:recorded], *_TORCH_LR_FINDER_SKIP)
    if len(smoothed) < 2 or not np.isfinite(smoothed).any():
        return None
    return float(grid[np.gradient(smoothed).argmin()])


def lightning(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Follow `_LRCallback` and `_LRFinder.suggestion` of Lightning 2.6.6, pytorch_lightning/tuner/lr_finder.py.

    m_t = 0.98 m_{t-1} + 0.02 loss_t from m_0 = 0, and s_t = m_t / (1 - 0.98^(t+1)) for t = 1, 2, …: the exponent is
    one more than what corrects the bias, so that s_1 is about half of loss_1. The run ends where, from the second
    step on, s_t is above 4 times the lowest before it. Of the finite s_t without the first 10 and the last one: the
    rate at the least gradient with respect to the rate, not its logarithm. Releases before 2.5.3 took it over the
    step (pull request 21055; issue 21141 reports that noise now pulls the suggestion to the lowest rates).
    """
    averages = _averages(losses)
    smoothed = averages / (1 - _BETA ** np.arange(2, len(averages) + 2))
    beyond = np.zeros(len(smoothed), dtype=bool)
    beyond[1:] = smoothed[1:] > _LIGHTNING_STOP * np.fmin.accumulate(smoothed)[:-1]
    grid, smoothed = _window(rates, smoothed[: _until(beyond)], *_LIGHTNING_SKIP)
    finite = np.isfinite(smoothed)
    if finite.sum() < 2:
        return None
    return float(grid[finite][np.gradient(smoothed[finite], grid[finite]).argmin()])


def _fastai_window(rates: Sequence[float], losses: Sequence[float]) -> tuple[Floats, Floats]:
    """Return the rates and smoothed losses that fastai 2.8.12 hands to its rules, both `[left steps]`.

    The average with its bias corrected (`AvgSmoothLoss`, fastai/learner.py), up to where it is above 4 times its
    lowest (`LRFinder`, fastai/callback/schedule.py), which a loss below zero is at once; without the first tenth of
    the steps and the last 5; then up to the first NaN (`lr_find`).
    """
    averages = _averages(losses)
    smoothed = averages / (1 - _BETA ** np.arange(1, len(averages) + 1))
    recorded = _until(smoothed > _FASTAI_STOP * np.fmin.accumulate(smoothed))
    skip = len(rates) // _FASTAI_SKIP_SHARE
    grid, smoothed = _window(rates, smoothed[:recorded], skip, _FASTAI_SKIP_END)
    left = np.logical_and.accumulate(np.isfinite(smoothed))
    return grid[left], smoothed[left]


def _averages(losses: Sequence[float]) -> Floats:
    """Return the exponential averages from zero, `[steps]`, their bias not corrected."""
    averages = accumulate(losses, lambda mean, loss: _BETA * mean + (1 - _BETA) * loss, initial=0.0)
    return np.fromiter(averages, float)[1:]


def _until(beyond: NDArray[np.bool_]) -> int:
    """Return how many steps are recorded: up to and with the first beyond the threshold."""
    hits = np.flatnonzero(beyond)
    return int(hits[0]) + 1 if hits.size else len(beyond)


def _window(rates: Sequence[float], smoothed: Floats, first: int, last: int) -> tuple[Floats, Floats]:
    """Return the rates and smoothed losses of the recorded steps, without the first and the last few."""
    grid = np.asarray(rates, dtype=float)[: len(smoothed)]
    return grid[first:-last], smoothed[first:-last]


PEER_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "fastai valley": fastai_valley,
        "fastai slide": fastai_slide,
        "fastai minimum/10": fastai_minimum,
        "fastai steep": fastai_steep,
        "torch-lr-finder": torch_lr_finder,
        "Lightning": lightning,
    }
)
