"""Step 6: every trial's minibatch loss, as scatter and as moving average."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import altair as alt

from lrtune.charts.crowd import crowd_words, first_drawn
from lrtune.charts.numbers import rounded
from lrtune.charts.scales import loss_axis, step_axis
from lrtune.charts.selection import emphasis, trial_selection
from lrtune.charts.series import (
    LEAST_POINTS,
    evenly,
    known,
    moving_average,
    points_each,
    thin,
    window_for,
)
from lrtune.charts.theme import RED, base, nothing_to_draw, overlaid, titled
from lrtune.charts.trials import best_curve, curve_of, identity, identity_tooltip, rate_colour, trials_of

if TYPE_CHECKING:
    from lrtune.charts.crowd import LaterRows
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

Points: TypeAlias = "list[tuple[int, float]]"

TITLE = "Minibatch loss"
_LINE_SHARE = 2  # a smooth line needs one point for every so many dots


def loss_curves_data(result: StepResult) -> list[Row]:
    """Return for every trial a `trial` row, `point` and `average` rows, `diverged` where it ended, and the `window`.

    The window is the same for all trials, so that their lines are equally smooth. The best trial comes last, to be
    drawn over the others. Of very many trials most have a `trial` row alone: see `loss_curves_later`.
    """
    drawn = _with_losses(result)
    if not drawn:
        return []
    window, first, best = _window(drawn), first_drawn(list(drawn)), best_curve(result)
    most = points_each(len(first))
    rows: list[Row] = [{"kind": "window", "window": window}]
    for name, (trial, points) in reversed(drawn.items()):
        rows.append({"kind": "trial", **identity(trial, best)})
        if name in first:
            rows += _rows_of(name, trial, points, window, most)
    return rows


def loss_curves_later(result: StepResult) -> LaterRows:
    """Return the rows of the trials that `loss_curves_data` leaves out, by trial and by the data that they join."""
    drawn = _with_losses(result)
    first = first_drawn(list(drawn))
    if len(first) == len(drawn):
        return {}
    window, later = _window(drawn), {}
    for name, (trial, points) in drawn.items():
        if name in first:
            continue
        rows = _rows_of(name, trial, points, window, LEAST_POINTS)
        kinds = dict.fromkeys(row["kind"] for row in rows)
        later[name] = {kind: [_slim(row) for row in rows if row["kind"] == kind] for kind in kinds}
    return later


def _with_losses(result: StepResult) -> dict[str, tuple[Row, Points]]:
    """Return the trials that have finite losses, by name, best first."""
    found = {curve_of(trial): trial for trial in trials_of(result) if curve_of(trial) in result.curves}
    measured = {name: (trial, known(result.curves[name].loss)) for name, trial in found.items()}
    return {name: both for name, both in measured.items() if both[1]}


def _window(drawn: dict[str, tuple[Row, Points]]) -> int:
    return window_for(max(len(points) for _, points in drawn.values()))


def _rows_of(name: str, trial: Row, points: Points, window: int, most: int) -> list[Row]:
    losses = [loss for _, loss in points]
    means = moving_average(losses, window)
    rows = [_point("point", name, points[i][0], losses[i]) for i in thin(losses, most)]
    rows += [_point("average", name, points[i][0], means[i]) for i in evenly(len(means), most // _LINE_SHARE)]
    if trial.get("state") == "diverged":
        rows.append(_point("diverged", name, points[-1][0], losses[-1]))
    return rows


def _point(kind: str, curve: str, step: int, loss: float) -> Row:
    return {"kind": kind, "curve": curve, "step": step, "loss": rounded(loss)}


def _slim(row: Row) -> Row:
    return {key: row[key] for key in ("curve", "step", "loss")}


def _series(rows: list[Row], kind: str) -> alt.Chart:
    """Return a chart over the rows of a kind; they are many, so what their trial says is looked up, not repeated."""
    trials = alt.InlineData(values=[row for row in rows if row["kind"] == "trial"])
    found = alt.LookupData(data=trials, key="curve", fields=["lr", "weight_decay", "best"])
    slim = [_slim(row) for row in rows if row["kind"] == kind]
    return base(slim, kind).transform_lookup(lookup="curve", from_=found)


def draw_loss_curves(rows: list[Row]) -> AnyChart:
    """Draw each trial's minibatch losses as dots and their moving average as a line, coloured by learning rate."""
    points = [row for row in rows if row["kind"] == "point"]
    if not points:
        return nothing_to_draw(TITLE, "No finite loss was measured.")
    window = next(row["window"] for row in rows if row["kind"] == "window")
    first = min(row["step"] for row in points)
    start = max(row["loss"] for row in points if row["step"] == first)
    y = loss_axis([row["loss"] for row in points], start, "training loss")
    x = step_axis(points)
    colour = rate_colour([row for row in rows if row["kind"] == "trial"])
    lines = _series(rows, "average").mark_line(strokeJoin="round", cursor="pointer")
    dots = (
        _series(rows, "point")
        .mark_circle(cursor="pointer")
        .encode(x=x, y=y, color=colour, opacity=emphasis(0.55, 0.4, 0.13, 0.02), size=emphasis(22, 16, 10, 8))
    )
    ends = _series(rows, "diverged")
    ends = ends.mark_text(text="×", fontSize=18, fontWeight="bold", color=RED, cursor="pointer")
    tooltip = identity_tooltip()
    layers = [
        dots.encode(
            tooltip=[*tooltip, alt.Tooltip("step:Q"), alt.Tooltip("loss:Q", format=".4~g")]
        ).add_params(trial_selection()),
        lines.encode(
            x=x,
            y=y,
            color=colour,
            detail="curve:N",
            opacity=emphasis(1, 1, 0.55, 0.07),
            strokeWidth=emphasis(3, 2.8, 1.6, 1.2),
            tooltip=tooltip,
        ),
        ends.encode(x=x, y=y, opacity=emphasis(1, 1, 0.9, 0.1), tooltip=tooltip),
    ]
    return titled(overlaid(*layers), f"{TITLE} and its moving average over {window} steps", _subtitle(rows))


def _subtitle(rows: list[Row]) -> str:
    trials = {row["curve"] for row in rows if row["kind"] == "point"}
    parts = ["Bold: best trial"] if len(trials) > 1 and any(row.get("best") for row in rows) else []
    parts += ["× diverged"] if any(row["kind"] == "diverged" for row in rows) else []
    parts += crowd_words(len(trials), sum(row["kind"] == "trial" for row in rows))
    return "; ".join(parts)
