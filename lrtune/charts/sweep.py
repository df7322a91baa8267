"""Step 3: the loss while the learning rate rises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt

from lrtune.charts.numbers import finite, number, rounded, vega_number
from lrtune.charts.scales import log_axis, log_scale, loss_window
from lrtune.charts.series import known, points_each, thin
from lrtune.charts.theme import BLUE, GREEN, RED, base, nothing_to_draw, overlaid, titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

TITLE = "Learning rate sweep"


def sweep_data(result: StepResult) -> list[Row]:
    """Return `repeat` and `median` rows (rate, loss), and `interval`, `suggestion`, `diverged` where they exist."""
    rates = result.details.get("learning_rates") or []
    sweeps = result.details.get("sweeps") or []
    rows: list[Row] = []
    for sweep in sweeps:
        line = _line(rates, sweep.get("smoothed") or sweep.get("loss") or [], len(sweeps))
        rows += [{"kind": "repeat", "seed": sweep.get("seed"), **point} for point in line]
    rows += [{"kind": "median", **point} for point in _line(rates, result.details.get("median") or [], 1)]
    low, high = (finite(result.summary.get(key)) for key in ("low", "high"))
    if low is not None and high is not None:
        rows.append({"kind": "interval", "low": low, "high": high})
    for kind, key in (("suggestion", "suggestion"), ("diverged", "diverged_at")):
        rate = finite(result.summary.get(key))
        if rate is not None:
            rows.append({"kind": kind, "learning_rate": rate})
    return rows


def _line(rates: Sequence[float], losses: Sequence[float | None], lines: int) -> list[Row]:
    points = known(losses[: len(rates)])
    kept = (points[i] for i in thin([loss for _, loss in points], points_each(lines)))
    return [{"learning_rate": rounded(rates[i], 6), "loss": rounded(loss, 6)} for i, loss in kept]


def draw_sweep(rows: list[Row]) -> AnyChart:
    """Draw every repeat faintly, their median boldly, the suggestion as a rule and its interval as a band."""
    lines = [row for row in rows if row["kind"] in ("median", "repeat")]
    if not lines:
        return nothing_to_draw(TITLE, "No finite loss was measured.")
    rates = [row["learning_rate"] for row in rows if "learning_rate" in row]
    low, high = min(rates), max(rates)
    x_scale, x_axis = log_scale(low, high), log_axis(low, high, grid=False)
    x = alt.X("learning_rate:Q", title="learning rate (log)", scale=x_scale, axis=x_axis)
    median = [row for row in lines if row["kind"] == "median"] or lines
    first = min(median, key=lambda row: float(row["learning_rate"]))["loss"]
    window = loss_window((row["loss"] for row in lines), first)
    y_scale = alt.Scale(domain=list(window), zero=False, nice=True)
    y_axis = alt.Axis(tickCount=5, labelExpr=vega_number())
    y = alt.Y("loss:Q", title="training loss (smoothed)", scale=y_scale, axis=y_axis)
    layers = [*_interval(rows, x_scale), *_lines(rows, x, y), *_rules(rows, x, low, high)]
    return titled(overlaid(*layers), TITLE, _subtitle(rows), height=300)


def _lines(rows: list[Row], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    tooltip = [
        alt.Tooltip("learning_rate:Q", title="learning rate", format=".3~g"),
        alt.Tooltip("loss:Q", format=".4~g"),
    ]
    repeats = base([row for row in rows if row["kind"] == "repeat"])
    median = base([row for row in rows if row["kind"] == "median"])
    return [
        repeats.mark_line(color=BLUE, opacity=0.35, strokeWidth=1.2, clip=True).encode(
            x=x, y=y, detail="seed:N"
        ),
        median.mark_line(color=BLUE, strokeWidth=3, strokeJoin="round", clip=True).encode(x=x, y=y),
        median.mark_point(size=60, opacity=0, filled=True, clip=True).encode(x=x, y=y, tooltip=tooltip),
    ]


def _interval(rows: list[Row], scale: alt.Scale) -> list[alt.Chart]:
    spans = [row for row in rows if row["kind"] == "interval"]
    rect = base(spans).mark_rect(color=GREEN, opacity=0.16, clip=True)
    return [rect.encode(x=alt.X("low:Q", scale=scale), x2="high:Q")] if spans else []


def _rules(rows: list[Row], x: alt.X, low: float, high: float) -> list[alt.Chart]:
    layers: list[alt.Chart] = []
    looks = (("suggestion", GREEN, [1, 0], 8, "suggested {}"), ("diverged", RED, [5, 4], 24, "diverged"))
    for kind, colour, dash, top, word in looks:
        for row in (row for row in rows if row["kind"] == kind):
            rate = row["learning_rate"]
            share = math.log(rate / low) / math.log(high / low) if high > low else 0.0
            side = -6 if share > 0.5 else 6  # the label hangs towards the middle, where there is room
            mark = base([{"learning_rate": rate, "label": word.format(number(rate))}])
            text = mark.mark_text(fontWeight=600, align="right" if side < 0 else "left", dx=side)
            rule = mark.mark_rule(color=colour, strokeWidth=2, strokeDash=dash)
            layers += [rule.encode(x=x), text.encode(x=x, y=alt.value(top), text="label:N")]
    return layers


def _subtitle(rows: list[Row]) -> str:
    repeats = len({row["seed"] for row in rows if row["kind"] == "repeat"})
    parts = [f"Bold: median of {repeats} repeats" if repeats > 1 else "One sweep"]
    parts += [
        f"shaded: usable from {number(row['low'])} to {number(row['high'])}"
        for row in rows
        if row["kind"] == "interval"
    ]
    parts += [f"diverged at {number(row['learning_rate'])}" for row in rows if row["kind"] == "diverged"]
    return "; ".join(parts)
