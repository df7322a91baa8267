"""Small plots for the terminal."""

from __future__ import annotations

import math
import re
import shutil
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import plotext
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.charts.probed import Probes
    from lrtune.results import StepResult

_NARROWEST, _WIDEST, _HEIGHT = 30, 100, 14
_MARGIN_COLUMNS = 6  # of the terminal, left free beside a plot
# What stands within a plot's frame, and its colour where the terminal has any.
_COLOURS = {"[\u2800-\u28ff]+": "blue", "•": "cyan", "[os]": "dark_orange", "x": "red"}
_FRAMED = re.compile(r"[┤│](.*)│$", re.MULTILINE)
_HEADROOM = 1.5  # drops of the loss above its lowest that are shown: a divergence would flatten the valley
_MARGIN = 0.1  # of the first loss: as much is shown above a curve that never falls
_LINE, _DOTS, _PROBE, _STOPPED, _LOST = "braille", "•", "o", "s", "x"

Points = list[tuple[float, float]]


def plot_width() -> int:
    """Return how many columns a plot may take: the terminal's, less a margin, within reason."""
    columns = shutil.get_terminal_size().columns  # COLUMNS, else the terminal, else 80
    return max(_NARROWEST, min(_WIDEST, columns - _MARGIN_COLUMNS))


class _Series(NamedTuple):
    """Points and how they are drawn; with `_LINE` as the marker, joined."""

    points: Points
    marker: str


def painted(plot: str) -> Text:
    """Return a plot in colours, which rich leaves away where the terminal shows none."""
    text = Text(plot, no_wrap=True)
    for frame in _FRAMED.finditer(plot):
        for pattern, colour in _COLOURS.items():
            for mark in re.finditer(pattern, frame[1]):
                text.stylize(colour, frame.start(1) + mark.start(), frame.start(1) + mark.end())
    return text


def sweep_plot(result: StepResult) -> str:
    """Return the median sweep over log rate and the trainings at one rate each, with a line at the suggestion.

    Empty where there is no curve to draw.
    """
    from lrtune.charts.probed import positive, probes_of

    rates, median = result.details.get("learning_rates") or [], result.details.get("median") or []
    pairs = zip(rates, median, strict=False)
    curve = [(math.log10(rate), loss) for rate, loss in pairs if loss is not None and positive(rate)]
    if len(curve) < 2:
        return ""
    probes = probes_of(result)
    series = _within(curve, probes)
    suggestion = positive(result.summary.get("suggestion"))
    marks = [] if suggestion is None else [math.log10(suggestion)]
    plot = _drawn(series, "learning rate", marks, log_x=True)
    return "\n".join([plot, *_legend(series, probes, bool(marks))])


def _within(curve: Points, probes: Probes) -> list[_Series]:
    """Return what lies below the ceiling; a training that diverged or lies above it stands at the upper edge."""
    places = [(one.state, (math.log10(one.learning_rate), one.loss)) for one in probes.rates]
    ended = [(state, (x, loss)) for state, (x, loss) in places if loss is not None]
    lost = [math.log10(one.learning_rate) for one in probes.rates if one.state == "diverged"]
    known = [*curve, *(point for _, point in ended)]
    least, start = min(loss for _, loss in known), curve[0][1]
    ceiling = least + _HEADROOM * max(start - least, _MARGIN * abs(start), 1e-12)
    edge = max(loss for _, loss in known if loss <= ceiling)
    full = [(x, min(loss, edge)) for state, (x, loss) in ended if state == "complete"]
    stopped = [(x, min(loss, edge)) for state, (x, loss) in ended if state != "complete"]
    return [
        _Series([point for point in curve if point[1] <= ceiling], _LINE),
        _Series(full, _PROBE),
        _Series(stopped, _STOPPED),
        _Series([(x, edge) for x in lost], _LOST),
    ]


def _legend(series: Sequence[_Series], probes: Probes, marked: bool) -> list[str]:
    words = {
        _LINE: "curve: smoothed loss of the sweep",
        _PROBE: f"o {probes.words}",
        _STOPPED: "s stopped earlier",
        _LOST: "x diverged",
    }
    said = [words[one.marker] for one in series if one.points]
    lines = _joined([*said, *(["upright line: the suggestion"] if marked else [])])
    return [f"  {part}" for line in lines for part in wrap(line, plot_width() - 2)]


def _joined(parts: Sequence[str]) -> list[str]:
    """Return the parts in as few lines as hold them."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 2 <= plot_width() - 2:
            lines[-1] += f"; {part}"
        else:
            lines.append(part)
    return lines


def epochs_plot(result: StepResult) -> str:
    """Return training (fixed subset) and validation loss of the best trial over epochs."""
    rows = next((curve.evaluations for curve in result.curves.values()), [])
    series = [
        [(float(row["epoch"] or 0), float(loss)) for row in rows if (loss := row.get(column)) is not None]
        for column in ("train_loss", "val_loss")
    ]
    drawn = [points for points in series if len(points) > 1]
    both = "training (dots) and validation (line) loss" if len(drawn) == 2 else "training loss"
    looks = [_DOTS, _LINE] if len(drawn) == 2 else [_LINE]
    lines = [_Series(points, look) for points, look in zip(drawn, looks, strict=False)]
    if not drawn:
        return ""
    # Beneath, where it can wrap: plotext leaves a label away that is wider than the plot.
    said = wrap(f"the best trial by epoch: {both}", plot_width() - 2)
    return "\n".join([_drawn(lines, "epoch", []), *(f"  {line}" for line in said)])


def _drawn(series: Sequence[_Series], label: str, marks: Sequence[float], log_x: bool = False) -> str:
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(plot_width(), _HEIGHT)
    for points, marker in (one for one in series if one.points):
        x, y = [point[0] for point in points], [point[1] for point in points]
        signal = figure.signal(x, y, marker=marker)
        figure.draw(signal.lines() if marker == _LINE else signal)
    for mark in marks:
        figure.line(mark, "v")
    if log_x:
        places = [*marks, *(x for one in series for x, _ in one.points)]
        decades = list(range(math.ceil(min(places)), math.floor(max(places)) + 1))
        figure.ruler("x").ticks(decades, [_decade(decade) for decade in decades])
    figure.label(label)
    matrix: Any = figure.build()
    return str(matrix.string(colorless=True)).rstrip()


def _decade(exponent: int) -> str:
    return f"1e{exponent}" if not -3 <= exponent <= 2 else f"{10.0**exponent:g}"
