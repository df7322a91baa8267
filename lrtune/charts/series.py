"""Long series made short enough to draw, without losing what one looks for in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lrtune.charts.numbers import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_POINTS = 400  # a trial: more dots than that merge on a screen
LEAST_POINTS = 60
_LEAST_TO_SMOOTH = 15
_ALL_POINTS = 6_000  # a chart: a third of a megabyte of the page, and drawn within a second


def known(values: Sequence[float | None]) -> list[tuple[int, float]]:
    """Return (position, value) of the values that are finite numbers."""
    try:
        numbers = np.asarray(values, dtype=float)  # None becomes NaN; a hundred times as fast as one by one
    except (TypeError, ValueError):
        return [(index, value) for index, item in enumerate(values) if (value := finite(item)) is not None]
    places = np.flatnonzero(np.isfinite(numbers))
    return list(zip(places.tolist(), numbers[places].tolist(), strict=True))


def points_each(count: int) -> int:
    """Return how many points each of `count` series may have in one chart."""
    return max(LEAST_POINTS, min(MOST_POINTS, _ALL_POINTS // max(count, 1)))


def thin(values: Sequence[float], points: int) -> list[int]:
    """Return at most `points` positions of `values`: the ends, and four of each bucket.

    Of each bucket the lowest and the highest value stay, so that no spike is lost, and two at fixed places, so
    that the rest looks as dense as it is.

    >>> thin([0, 0, 9, 0, 0, 0, -7, 0, 0, 0], points=6)
    [0, 2, 3, 6, 9]
    """
    if len(values) <= points:
        return list(range(len(values)))
    last = len(values) - 1
    inner = np.asarray(values[1:last], dtype=float)
    kept = {0, last}
    for bucket in np.array_split(np.arange(1, last), max(1, (points - 2) // 4)):
        part = inner[bucket - 1]
        places = (part.argmin(), part.argmax(), len(part) // 3, 2 * len(part) // 3)
        kept |= {int(bucket[place]) for place in places}
    return sorted(kept)


def evenly(count: int, points: int) -> list[int]:
    """Return at most `points` positions out of `count`, evenly spread, with both ends: enough for a smooth line.

    >>> evenly(9, points=3)
    [0, 4, 8]
    """
    if count <= points:
        return list(range(count))
    return [round(position) for position in np.linspace(0, count - 1, points)]


def window_for(steps: int) -> int:
    """Return an odd moving-average window for a series of `steps`: a twentieth of it, 5 to 51, and 1 for a handful."""
    if steps < _LEAST_TO_SMOOTH:
        return 1
    return min(51, max(5, steps // 20 // 2 * 2 + 1))


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Return the centred mean over `window` values; at the ends, over those of them that exist.

    >>> moving_average([1.0, 2.0, 6.0, 4.0], window=3)
    [1.5, 3.0, 4.0, 5.0]
    """
    count = len(values)
    sums = np.concatenate(([0.0], np.cumsum(np.asarray(values, dtype=float))))
    first = np.maximum(np.arange(count) - window // 2, 0)
    end = np.minimum(np.arange(count) + window // 2 + 1, count)
    means = (sums[end] - sums[first]) / (end - first)
    return [float(mean) for mean in means]
