"""Smoothing without a shift: a centred mean, and a centred median that a spike does not move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEAST_WINDOW = 5
_MEDIANS = 32  # taken within the width of a window


def window_for(count: int, share: float) -> int:
    """Return an odd window of a share of the series, 5 at least and the series itself at most.

    >>> window_for(450, 1 / 30), window_for(20, 1 / 30), window_for(3, 1 / 30)
    (15, 5, 3)
    """
    size = min(max(_LEAST_WINDOW, round(share * count)), count)
    return size if size % 2 else max(1, size - 1)


def moving_average(values: Floats, window: int) -> Floats:
    """Return the centred mean over `window` values, `[count]`; at the ends, over those of them that exist.

    >>> [float(mean) for mean in moving_average(np.array([1.0, 2.0, 6.0, 4.0]), 3)]
    [1.5, 3.0, 4.0, 5.0]
    """
    count, half = len(values), window // 2
    # Summed from their own level: a small wiggle on a loss of 1e6 would be lost in running sums of it.
    base = float(values[0]) if count else 0.0
    sums = np.concatenate(([0.0], np.cumsum(values - base)))
    first = np.maximum(np.arange(count) - half, 0)
    end = np.minimum(np.arange(count) + half + 1, count)
    means: Floats = base + (sums[end] - sums[first]) / np.maximum(end - first, 1)
    return means


def running_median(values: Floats, window: int) -> Floats:
    """Return the centred median over `window` values, `[count]`.

    Of a monotone series it is the series itself, or nearly so where the window is wide: what is left over is noise and
    spikes, not the fall. At the ends the window narrows to what lies on both sides.

    >>> [float(median) for median in running_median(np.array([5.0, 4.0, 90.0, 2.0, 1.0]), 3)]
    [5.0, 5.0, 4.0, 2.0, 1.0]
    """
    count, half = len(values), window // 2
    if count <= 2 or half == 0:
        return values.copy()
    # A wide median hardly changes from one place to the next: some are taken, and joined by lines.
    places = np.unique(np.append(np.arange(0, count, max(1, window // _MEDIANS)), count - 1))
    reach = np.minimum(np.minimum(half, places), count - 1 - places)
    medians = np.empty(len(places))
    done = (reach == half) & (window < 2 * _MEDIANS)  # every place is taken: all at once
    if done.any():
        medians[done] = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
    for at in np.flatnonzero(~done):
        place, radius = places[at], reach[at]
        medians[at] = np.median(values[place - radius : place + radius + 1])
    found: Floats = np.interp(np.arange(count), places, medians)
    return found
