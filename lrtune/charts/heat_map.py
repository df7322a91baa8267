"""Step 4: the coarse grid, learning rate by weight decay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import altair as alt

from lrtune.charts.numbers import finite, number, vega_number
from lrtune.charts.scales import LOG_FROM, log_scale, log_ticks
from lrtune.charts.selection import emphasis, trial_selection
from lrtune.charts.theme import CELL_COLOURS, MUTED, RED, base, nothing_to_draw, overlaid, titled
from lrtune.charts.trials import COMPLETE, best_curve, identity, identity_tooltip, measure_of, trials_of

if TYPE_CHECKING:
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

TITLE = "Learning rate and weight decay"
MEASURES = {"val_loss": "validation loss", "train_loss": "training loss"}
_CELL = 46  # pixels of height: a number and air around it
_TALL_CELL, _MAP = 64, 240  # few rows may be taller, until the map is about as high as its neighbours
_MOST_LABELLED = 9  # columns whose numbers still fit side by side on a phone


def heat_map_data(result: StepResult) -> list[Row]:
    """Return one row a cell: its best trial, the loss that ranks it, and how many trials share the cell."""
    trials = trials_of(result)
    measure, best = measure_of(trials), best_curve(result)
    cells: dict[tuple[Any, Any], Row] = {}
    for trial in trials:
        row = cell_row(trial, measure, best)
        if row["lr"] is None or row["weight_decay"] is None:
            continue
        first = cells.setdefault((row["lr"], row["weight_decay"]), {**row, "trials": 0})
        first["trials"] += 1
    return _with_shade(sorted(cells.values(), key=lambda row: (row["weight_decay"], row["lr"])))


def cell_row(trial: dict[str, Any], measure: str, best: str | None) -> Row:
    """Return what a trial shows in a map of the search space; the loss only of trials that finished."""
    state = str(trial.get("state") or COMPLETE)
    loss = finite(trial.get(measure)) if state == COMPLETE else None
    shown = number(loss, trim=False) if loss is not None else "×"
    return {**identity(trial, best), "state": state, "measure": measure, "loss": loss, "label": shown}


def _with_shade(rows: list[Row]) -> list[Row]:
    """Add `bright`: whether the cell's colour is so light that its number has to be dark."""
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    log = bool(losses) and min(losses) > 0
    for row in rows:
        row["bright"] = row["loss"] is not None and _share(row["loss"], min(losses), max(losses), log) < 0.45
    return rows


def _share(loss: float, low: float, high: float, log: bool) -> float:
    if high <= low:
        return 0.0
    if log and high / low >= LOG_FROM:
        return math.log(loss / low) / math.log(high / low)
    return (loss - low) / (high - low)


def draw_heat_map(rows: list[Row]) -> AnyChart:
    """Draw the grid: colour and number are the loss, the best cell is outlined, unfinished ones hold a cross."""
    if not rows:
        return nothing_to_draw(TITLE, "No trial was run.")
    x_axis = alt.Axis(labelExpr=vega_number(), labelAngle=0, grid=False, domain=False, ticks=False)
    y_axis = alt.Axis(labelExpr=vega_number(), grid=False, domain=False, ticks=False)
    x = alt.X("lr:O", title="learning rate", axis=x_axis, scale=alt.Scale(padding=0.04))
    y = alt.Y("weight_decay:O", title="weight decay", sort="descending", axis=y_axis)
    y = y.scale(padding=0.06)
    measure = MEASURES[rows[0]["measure"]]
    finished = base([row for row in rows if row["loss"] is not None])
    lost = base([row for row in rows if row["loss"] is None])
    size = 12 if len({row["lr"] for row in rows}) <= _MOST_LABELLED else 0
    tooltip = cell_tooltip(measure)
    cells = finished.mark_rect(cornerRadius=3, cursor="pointer").encode(
        x=x, y=y, color=loss_colour(rows), opacity=emphasis(1, 1, 1, 0.3), tooltip=tooltip
    )
    empty = lost.mark_rect(cornerRadius=3, cursor="pointer", fill=MUTED, fillOpacity=0.14, stroke=MUTED)
    empty = empty.encode(x=x, y=y, opacity=emphasis(1, 1, 0.7, 0.3), tooltip=tooltip)
    ink = alt.condition("datum.bright", alt.value("#14181d"), alt.value("#ffffff"))
    texts = finished.mark_text(fontSize=size, cursor="pointer").encode(x=x, y=y, text="label:N", color=ink)
    crosses = lost.mark_text(text="×", fontSize=18, cursor="pointer")
    outline = base([row for row in rows if row["best"]]).mark_rect(
        cornerRadius=3, filled=False, stroke=RED, strokeWidth=3, cursor="pointer"
    )
    layers = [
        cells.add_params(trial_selection()),
        empty,
        texts.encode(tooltip=tooltip),
        crosses.encode(x=x, y=y, tooltip=tooltip),
        outline.encode(x=x, y=y, tooltip=tooltip),
    ]
    count = len({row["weight_decay"] for row in rows})
    height = max(_CELL * count, min(_MAP, _TALL_CELL * count))
    return titled(overlaid(*layers), TITLE, map_subtitle(rows), height=height)


def cell_tooltip(measure: str) -> list[alt.Tooltip]:
    """Return the tooltip of a trial in a map of the search space."""
    return [*identity_tooltip(), alt.Tooltip("loss:Q", title=measure, format=".4~g"), alt.Tooltip("state:N")]


def loss_colour(rows: list[Row]) -> alt.Color:
    """Return the colour of a loss: lowest brightest, logarithmic where the losses span much."""
    losses = [row["loss"] for row in rows if row["loss"] is not None] or [1.0]
    low, high = min(losses), max(losses)
    options: dict[str, Any] = {"scheme": alt.SchemeParams(**CELL_COLOURS), "reverse": True}
    if low > 0 and high / low >= LOG_FROM:
        scale, ticks = log_scale(low, high, **options), log_ticks(low, high)
    else:
        scale = alt.Scale(domain=[low, high if high > low else low + 1.0], **options)
        ticks = [low, high] if high > low else [low]
    title = MEASURES[rows[0]["measure"]]
    legend = alt.Legend(title=title, values=ticks, labelExpr=vega_number()) if high > low else None
    return alt.Color("loss:Q", scale=scale, legend=legend)


def map_subtitle(rows: list[Row]) -> str:
    """Return what the marks of a map of the search space mean."""
    parts = ["Red outline: best"] if any(row["best"] for row in rows) else []
    unfinished = sorted({row["state"] for row in rows if row["loss"] is None})
    parts += ["× " + " or ".join(unfinished)] if unfinished else []
    return "; ".join(parts)
