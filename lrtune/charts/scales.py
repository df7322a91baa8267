"""Where axes begin and end, and which of their values are labelled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import altair as alt

from lrtune.charts.numbers import vega_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lrtune.charts.theme import Row

_FEW_TICKS = 8
LOG_FROM = 5.0  # largest over smallest value from which a linear axis hides the small ones
_MOST_TICKS = 9


def loss_window(values: Iterable[float], start: float) -> tuple[float, float]:
    """Return the part of the loss axis to show: from the lowest value to at most one drop above the start.

    A loss that explodes would otherwise flatten the valley that the picture is drawn for.

    >>> loss_window([2.0, 1.0, 900.0], start=2.0)
    (1.0, 3.0)
    >>> loss_window([2.0, 1.0, 2.5], start=2.0)
    (1.0, 2.5)
    """
    known = list(values)
    low = min(known)
    room = max(start - low, 0.1 * abs(start))  # a curve that never falls still gets a tenth above it
    high = min(max(known), start + room)
    if high > low:
        return low, high
    margin = 0.1 * abs(low) or 1.0
    return low - margin / 2, high + margin / 2


def loss_axis(values: Iterable[float], start: float, title: str, log: bool | None = None) -> alt.Y:
    """Return the vertical axis of a loss, logarithmic where that helps and all values are positive.

    Values above the window are drawn at its upper edge instead of being left out.
    """
    known = list(values)
    low, high = loss_window(known, start)
    wide = high / low >= LOG_FROM if low > 0 else False
    if (wide if log is None else log) and low > 0:
        return alt.Y("loss:Q", title=title, scale=log_scale(low, high, clamp=True), axis=log_axis(low, high))
    scale = alt.Scale(domain=[low, high], zero=False, nice=True, clamp=True)
    return alt.Y("loss:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5, labelExpr=vega_number()))


def step_axis(rows: list[Row], field: str = "step") -> alt.X:
    """Return the horizontal axis of steps or epochs: whole numbers, from the first to the last and no further."""
    values = [row[field] for row in rows]
    first, last = min(values), max(values)
    scale = alt.Scale(domain=[first, last if last > first else first + 1], nice=False)
    # Over a few epochs Vega would set ticks at halves and label them as whole numbers.
    few = (
        {"values": list(range(int(first), int(last) + 1))} if last - first <= _FEW_TICKS else {"tickCount": 8}
    )
    axis = alt.Axis(format=",d", grid=False, **few)
    return alt.X(f"{field}:Q", title=field, scale=scale, axis=axis)


def log_scale(low: float, high: float, **options: Any) -> alt.Scale:
    """Return a logarithmic scale that ends at the data instead of at the next power of ten."""
    if high <= low:
        low, high = low / 2, high * 2
    return alt.Scale(type="log", domain=[low, high], nice=False, **options)


def log_axis(low: float, high: float, **options: Any) -> alt.Axis:
    """Return an axis labelled at round values of a logarithmic scale."""
    return alt.Axis(values=log_ticks(low, high), labelExpr=vega_number(), **options)


def log_ticks(low: float, high: float) -> list[float]:
    """Return round values between `low` and `high`: powers of ten, with 2 and 5 where these are few.

    >>> log_ticks(1e-3, 2.0)
    [0.001, 0.01, 0.1, 1.0]
    >>> log_ticks(0.03, 0.6)
    [0.05, 0.1, 0.2, 0.5]
    """
    if high <= low:
        low, high = low / 2, high * 2
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [float(f"{digit}e{exponent}") for exponent in exponents for digit in digits]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            break
    stride = math.ceil(len(ticks) / _MOST_TICKS)
    return ticks[::stride]
