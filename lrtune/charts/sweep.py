"""Step 3: the loss while the learning rate rises, and after training at one rate each."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import altair as alt

from lrtune.charts.labels import ROW
from lrtune.charts.numbers import finite, number, rounded, vega_number
from lrtune.charts.probed import positive, probes_of
from lrtune.charts.scales import log_axis, log_scale, loss_window
from lrtune.charts.series import known, points_each, thin
from lrtune.charts.sweep_marks import drawn_probes, drawn_rules, label_of, probe_words
from lrtune.charts.theme import BLUE, GREEN, base, nothing_to_draw, overlaid, titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

TITLE = "Learning rate sweep"
_HEIGHT = 300
_RATES = (("suggestion", "suggestion"), ("stable", "largest_stable"), ("diverged", "diverged_at"))


def sweep_data(result: StepResult) -> list[Row]:
    """Return what there is to draw, as far as it exists.

    `repeat` and `median` rows (rate, loss), a `probes` row that says what the `probe` rows are, `interval`,
    `suggestion`, `stable` and `diverged`.
    """
    rates = result.details.get("learning_rates") or []
    sweeps = result.details.get("sweeps") or []
    rows: list[Row] = []
    for sweep in sweeps:
        line = _line(rates, sweep.get("smoothed") or sweep.get("loss") or [], len(sweeps))
        rows += [{"kind": "repeat", "seed": sweep.get("seed"), **point} for point in line]
    rows += [{"kind": "median", **point} for point in _line(rates, result.details.get("median") or [], 1)]
    rows += _probe_rows(result)
    low, high = (positive(result.summary.get(key)) for key in ("low", "high"))
    if low is not None and high is not None:
        rows.append({"kind": "interval", "low": low, "high": high})
    for kind, key in _RATES:
        rate = positive(result.summary.get(key))
        if rate is not None:
            rows.append({"kind": kind, "learning_rate": rate})
    return rows


def _line(rates: Sequence[float], losses: Sequence[float | None], lines: int) -> list[Row]:
    points = [(i, loss) for i, loss in known(losses[: len(rates)]) if positive(rates[i]) is not None]
    kept = (points[i] for i in thin([loss for _, loss in points], points_each(lines)))
    return [{"learning_rate": rounded(rates[i], 6), "loss": rounded(loss, 6)} for i, loss in kept]


def _probe_rows(result: StepResult) -> list[Row]:
    probes = probes_of(result)
    if not probes.rates:
        return []
    rows = [
        {
            "kind": "probe",
            "learning_rate": rounded(probe.learning_rate, 6),
            "loss": None if probe.loss is None else rounded(probe.loss, 6),
            "steps": probe.steps,
            "state": probe.state,
        }
        for probe in probes.rates
    ]
    return [{"kind": "probes", "words": probes.words, "initial_loss": finite(probes.initial_loss)}, *rows]


def draw_sweep(rows: list[Row]) -> AnyChart:
    """Draw every repeat faintly, their median boldly, the trainings at one rate as points, and what was found."""
    lines = [row for row in rows if row["kind"] in ("median", "repeat")]
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    if not losses:
        return nothing_to_draw(TITLE, "No finite loss was measured.")
    rates = [row["learning_rate"] for row in rows if "learning_rate" in row]
    low, high = min(rates), max(rates)
    x_scale, x_axis = log_scale(low, high), log_axis(low, high, grid=False)
    x = alt.X("learning_rate:Q", title="learning rate (log)", scale=x_scale, axis=x_axis)
    window = loss_window(losses, _start(rows, lines))
    top = ROW * sum(label_of(row) is not None for row in rows) + ROW // 2
    # The labels stand above the curves, within the picture: outside of it a page would cut them off.
    y_scale = alt.Scale(domain=list(window), range=[_HEIGHT, top], zero=False, nice=True)
    y_axis = alt.Axis(tickCount=5, labelExpr=vega_number())
    y = alt.Y("shown:Q", title="loss", scale=y_scale, axis=y_axis)
    layers = [
        *_interval(rows, x_scale, top),
        *_lines(lines, x, y, window[1]),
        *drawn_rules(rows, x, low, high, _HEIGHT),
        *drawn_probes(rows, x, y, window[1], top),
    ]
    subtitle = _subtitle(rows)
    found = [label for row in rows if (label := label_of(row))]
    spoken = "; ".join([f"{TITLE}. {subtitle}", *found])
    return titled(overlaid(*layers), TITLE, subtitle, height=_HEIGHT).properties(description=spoken)


def _start(rows: list[Row], lines: list[Row]) -> float:
    """Return the loss before training: the median's first, else any curve's, else that of the trainings."""
    median = [row for row in lines if row["kind"] == "median"] or lines
    if median:
        return float(min(median, key=lambda row: float(row["learning_rate"]))["loss"])
    told = [row["initial_loss"] for row in rows if row["kind"] == "probes"]
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    return float(next((loss for loss in told if loss is not None), losses[0]))


def _lines(rows: list[Row], x: alt.X, y: alt.Y, high: float) -> list[alt.Chart]:
    tooltip = [
        alt.Tooltip("learning_rate:Q", title="learning rate", format=".3~g"),
        alt.Tooltip("loss:Q", title="smoothed loss", format=".4~g"),
    ]
    cut = [row for _, line in groupby(rows, _name) for row in _cut(list(line), high)]
    repeats = base([row for row in cut if row["kind"] == "repeat"])
    median = base([row for row in cut if row["kind"] == "median"])
    return [
        repeats.mark_line(color=BLUE, opacity=0.35, strokeWidth=1.2).encode(x=x, y=y, detail="seed:N"),
        median.mark_line(color=BLUE, strokeWidth=3, strokeJoin="round").encode(x=x, y=y),
        median.mark_point(size=60, opacity=0, filled=True).encode(x=x, y=y, tooltip=tooltip),
    ]


def _name(row: Row) -> tuple[str, str]:
    return row["kind"], str(row.get("seed"))


def _cut(line: list[Row], high: float) -> list[Row]:
    """Add `shown`: the loss, `high` where a line leaves the window or comes back, and None while it is outside."""
    above = [True, *(row["loss"] > high for row in line), True]
    outside = [all(above[i : i + 3]) for i in range(len(line))]
    return [
        {**row, "shown": None if gone else min(row["loss"], high)}
        for row, gone in zip(line, outside, strict=True)
    ]


def _interval(rows: list[Row], scale: alt.Scale, top: int) -> list[alt.Chart]:
    spans = [row for row in rows if row["kind"] == "interval"]
    rect = base(spans).mark_rect(color=GREEN, opacity=0.16, clip=True)
    ends = {"x": alt.X("low:Q", scale=scale), "y": alt.value(top), "y2": alt.value(_HEIGHT)}
    return [rect.encode(**ends, x2="high:Q")] if spans else []


def _subtitle(rows: list[Row]) -> str:
    repeats = len({row["seed"] for row in rows if row["kind"] == "repeat"})
    drawn = any(row["kind"] in ("median", "repeat") for row in rows)
    parts = [f"bold: median of {repeats} sweeps" if repeats > 1 else "line: one sweep"] if drawn else []
    parts += [
        f"shaded: usable from {number(row['low'])} to {number(row['high'])}"
        for row in rows
        if row["kind"] == "interval"
    ]
    parts += probe_words(rows)
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}"
