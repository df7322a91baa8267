"""Step 5: refined trials in the plane of learning rate and weight decay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt

from lrtune.charts.heat_map import (
    MEASURES,
    TITLE,
    cell_row,
    cell_tooltip,
    loss_colour,
    map_subtitle,
)
from lrtune.charts.numbers import rounded, vega_number
from lrtune.charts.scales import log_axis, log_scale, log_ticks
from lrtune.charts.selection import emphasis, trial_selection
from lrtune.charts.theme import MUTED, RED, base, nothing_to_draw, overlaid, titled
from lrtune.charts.trials import best_curve, measure_of, trials_of

if TYPE_CHECKING:
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

_SLOT_DECADES = 0.7  # how far below the smallest decay the place of decay 0 lies
_LONE_SLOT = 1e-6  # that place when no trial has any decay


def trial_scatter_data(result: StepResult) -> list[Row]:
    """Return one row a trial; `height` is its weight decay, or for 0 a place of its own below the smallest one."""
    trials = trials_of(result)
    measure, best = measure_of(trials), best_curve(result)
    rows = [cell_row(trial, measure, best) for trial in trials]
    rows = [row for row in rows if row["lr"] and row["weight_decay"] is not None]
    decays = [row["weight_decay"] for row in rows if row["weight_decay"] > 0]
    slot = rounded(min(decays) / 10**_SLOT_DECADES) if decays else _LONE_SLOT
    return [{**row, "height": row["weight_decay"] or slot} for row in rows]


def draw_trial_scatter(rows: list[Row]) -> AnyChart:
    """Draw the trials on logarithmic axes: colour is the loss, the best one is ringed, unfinished ones crosses."""
    if not rows:
        return nothing_to_draw(TITLE, "No trial was run.")
    x, y = _rate_axis(rows), _decay_axis(rows)
    tooltip = cell_tooltip(MEASURES[rows[0]["measure"]])
    finished = base([row for row in rows if row["loss"] is not None])
    lost = base([row for row in rows if row["loss"] is None])
    dots = finished.mark_point(filled=True, stroke=MUTED, strokeWidth=0.8, cursor="pointer").encode(
        x=x,
        y=y,
        color=loss_colour(rows),
        opacity=emphasis(1, 1, 0.95, 0.2),
        size=emphasis(260, 170, 130, 110),
        tooltip=tooltip,
    )
    crosses = lost.mark_text(text="×", fontSize=20, cursor="pointer")
    crosses = crosses.encode(x=x, y=y, opacity=emphasis(1, 1, 0.9, 0.25), tooltip=tooltip)
    ring = base([row for row in rows if row["best"]]).mark_point(
        filled=False, stroke=RED, strokeWidth=2.5, size=330, opacity=1, cursor="pointer"
    )
    layers = [dots.add_params(trial_selection()), crosses, ring.encode(x=x, y=y, tooltip=tooltip)]
    subtitle = map_subtitle(rows).replace("outline", "ring")
    return titled(overlaid(*layers), TITLE, subtitle)


def _rate_axis(rows: list[Row]) -> alt.X:
    low, high = _padded([row["lr"] for row in rows])
    return alt.X("lr:Q", title="learning rate (log)", scale=log_scale(low, high), axis=log_axis(low, high))


def _decay_axis(rows: list[Row]) -> alt.Y:
    heights = [row["height"] for row in rows]
    slots = {row["height"] for row in rows if row["weight_decay"] == 0}
    low, high = _padded(heights)
    if not slots:
        axis = log_axis(low, high)
    else:
        slot = slots.pop()
        above = [height for height in heights if height > slot]
        ticks = [tick for tick in log_ticks(min(above), high) if tick > slot] if above else []
        label = f"datum.value < {slot * 1.01!r} ? '0' : ({vega_number()})"
        axis = alt.Axis(values=[slot, *ticks], labelExpr=label)
    return alt.Y("height:Q", title="weight decay (log)", scale=log_scale(low, high), axis=axis)


def _padded(values: list[float]) -> tuple[float, float]:
    """Return the ends of a log axis with room for a dot; at least half a decade, so that one trial sits in it."""
    low, high = min(values), max(values)
    share = 0.06 * math.log10(high / low) + 0.04
    margin = 10 ** max(share, 0.25 - math.log10(high / low) / 2)
    return low / margin, high * margin
