"""Small plots for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import plotext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.results import StepResult

_WIDTH, _HEIGHT = 74, 14
_HEADROOM = 1.5  # drops of the loss above its lowest that are shown: a divergence would flatten the valley


def sweep_plot(result: StepResult) -> str:
    """Return the median sweep over log rate, with a line at the suggestion."""
    rates, median = result.details["learning_rates"], result.details["median"]
    points = [(math.log10(rate), loss) for rate, loss in zip(rates, median, strict=True) if loss is not None]
    if len(points) < 2:
        return ""
    least = min(loss for _, loss in points)
    ceiling = least + _HEADROOM * max(points[0][1] - least, 1e-12)
    shown = [point for point in points if point[1] <= ceiling]
    suggestion = result.summary["suggestion"]
    marks = [] if suggestion is None else [math.log10(suggestion)]
    return _drawn([shown], "learning rate (smoothed loss; the line marks the suggestion)", marks, log_x=True)


def epochs_plot(result: StepResult) -> str:
    """Return training (fixed subset) and validation loss of the best trial over epochs."""
    rows = next((curve.evaluations for curve in result.curves.values()), [])
    series = [
        [(float(row["epoch"] or 0), float(loss)) for row in rows if (loss := row.get(column)) is not None]
        for column in ("train_loss", "val_loss")
    ]
    drawn = [points for points in series if len(points) > 1]
    both = "training (dots) and validation (line) loss" if len(drawn) == 2 else "training loss"
    return _drawn(drawn, f"epoch of the best trial: {both}", []) if drawn else ""


def _drawn(
    series: Sequence[Sequence[tuple[float, float]]], label: str, marks: Sequence[float], log_x: bool = False
) -> str:
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(_WIDTH, _HEIGHT)
    for index, points in enumerate(series):
        x, y = [point[0] for point in points], [point[1] for point in points]
        dotted = len(series) > 1 and index == 0
        signal = figure.signal(x, y, marker="•" if dotted else "braille")
        figure.draw(signal if dotted else signal.lines())
    for mark in marks:
        figure.line(mark, "v")
    if log_x:
        low, high = math.ceil(series[0][0][0]), math.floor(series[0][-1][0])
        decades = list(range(low, high + 1))
        figure.ruler("x").ticks(decades, [_decade(decade) for decade in decades])
    figure.label(label)
    matrix: Any = figure.build()
    return str(matrix.string(colorless=True)).rstrip()


def _decade(exponent: int) -> str:
    return f"1e{exponent}" if not -3 <= exponent <= 2 else f"{10.0**exponent:g}"
