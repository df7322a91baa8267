"""Step 1: the loss at initialisation against what theory expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from lrtune.charts.numbers import finite, number, vega_number
from lrtune.charts.theme import BLUE, GREEN, base, nothing_to_draw, overlaid, titled

if TYPE_CHECKING:
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

TITLE = "Loss at initialisation"
MEAN, BATCH = "mean ± 2 standard errors", "each batch"


def initial_loss_data(result: StepResult) -> list[Row]:
    """Return one `mean` row (with its interval), a `batch` row a batch and, where known, the `band` expected."""
    rows: list[Row] = []
    low, high = (finite(result.summary.get(key)) for key in ("expected_low", "expected_high"))
    if low is not None or high is not None:
        rows.append({"kind": "band", "low": low, "high": high, "why": result.details.get("expectation")})
    mean = finite(result.summary.get("initial_loss"))
    if mean is not None:
        reach = 2 * (finite(result.summary.get("standard_error")) or 0.0)
        rows.append({"kind": "mean", "row": MEAN, "loss": mean, "low": mean - reach, "high": mean + reach})
    batches = (finite(value) for value in result.details.get("batch_losses") or [])
    rows += [{"kind": "batch", "row": BATCH, "loss": loss} for loss in batches if loss is not None]
    return rows


def draw_initial_loss(rows: list[Row]) -> AnyChart:
    """Draw the measured loss on a line with the band it should lie in."""
    measured = [row for row in rows if row["kind"] != "band"]
    if not measured:
        return nothing_to_draw(TITLE, "No finite loss was measured.")
    start, end = _domain(rows)
    x = alt.X(
        "loss:Q",
        title="loss",
        scale=alt.Scale(domain=[start, end], nice=False, zero=False),
        axis=alt.Axis(labelExpr=vega_number(), tickCount=6),
    )
    y = alt.Y("row:N", title=None, sort=[MEAN, BATCH], axis=alt.Axis(grid=False, domain=False, ticks=False))
    tooltip = alt.Tooltip("loss:Q", format=".4~g")
    means = base([row for row in measured if row["kind"] == "mean"])
    batches = base([row for row in measured if row["kind"] == "batch"])
    layers = [
        *_band(rows, start, end),
        batches.mark_tick(color=BLUE, opacity=0.55, thickness=1.5, height=16).encode(
            x=x, y=y, tooltip=tooltip
        ),
        means.mark_rule(color=BLUE, strokeWidth=2.5).encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        means.mark_point(color=BLUE, filled=True, size=90, opacity=1).encode(x=x, y=y, tooltip=tooltip),
    ]
    return titled(overlaid(*layers), TITLE, _subtitle(rows), height=84)


def _band(rows: list[Row], start: float, end: float) -> list[alt.Chart]:
    known = [row for row in rows if row["kind"] == "band"]
    ends = [
        {
            "low": start if row["low"] is None else row["low"],
            "high": end if row["high"] is None else row["high"],
        }
        for row in known
    ]
    rect = base(ends).mark_rect(color=GREEN, opacity=0.18)
    edges = [{"loss": edge} for row in known for edge in (row["low"], row["high"]) if edge is not None]
    rule = base(edges).mark_rule(color=GREEN, strokeWidth=1.5, opacity=0.7).encode(x="loss:Q")
    return [rect.encode(x="low:Q", x2="high:Q"), rule] if known else []


def _domain(rows: list[Row]) -> tuple[float, float]:
    marks = [row[key] for row in rows for key in ("low", "high", "loss") if row.get(key) is not None]
    low, high = min(marks), max(marks)
    margin = 0.08 * (high - low) or 0.1 * abs(low) or 1.0
    return low - margin, high + margin


def _subtitle(rows: list[Row]) -> str:
    for row in rows:
        if row["kind"] == "band":
            low, high = row["low"], row["high"]
            span = f"{number(low)} to {number(high)}"
            span = f"at least {number(low)}" if high is None else span
            span = f"at most {number(high)}" if low is None else span
            return f"Shaded: expected {span}" + (f" ({row['why']})" if row["why"] else "")
    return "No expectation is known for this loss"
