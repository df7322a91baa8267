"""Step 6: training against validation loss, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from lrtune.charts.crowd import first_drawn
from lrtune.charts.numbers import finite, rounded
from lrtune.charts.scales import loss_axis, step_axis
from lrtune.charts.selection import emphasis, trial_selection
from lrtune.charts.theme import BLUE, ORANGE, base, nothing_to_draw, overlaid, titled
from lrtune.charts.trials import best_curve, curve_of, identity, identity_tooltip, trials_of

if TYPE_CHECKING:
    from lrtune.charts.crowd import LaterRows
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import Curve, StepResult

TITLE = "Loss by epoch"
SPLITS = {"train": "train_loss", "validation": "val_loss"}
DATA = "epochs"  # the name of the chart's data
_COLOURS = {"train": BLUE, "validation": ORANGE}
_DASHES = {"train": [6, 3], "validation": [1, 0]}


def epochs_data(result: StepResult) -> list[Row]:
    """Return one row a trial, split and epoch that has a finite loss; the best trial last, to be drawn on top.

    Of very many trials only some: see `epochs_later`.
    """
    best, measured = best_curve(result), _measured(result)
    first = first_drawn(list(measured))
    return [
        {**identity(trial, best), **row}
        for name, (trial, rows) in reversed(measured.items())
        if name in first
        for row in rows
    ]


def epochs_later(result: StepResult) -> LaterRows:
    """Return the rows of the trials that `epochs_data` leaves out, by trial and by the data that they join."""
    best, measured = best_curve(result), _measured(result)
    first = first_drawn(list(measured))
    return {
        name: {DATA: [{**identity(trial, best), **row} for row in rows]}
        for name, (trial, rows) in measured.items()
        if name not in first
    }


def _measured(result: StepResult) -> dict[str, tuple[Row, list[Row]]]:
    """Return the trials that were evaluated, by name, best first, each with its rows."""
    found = {curve_of(trial): trial for trial in trials_of(result) if curve_of(trial) in result.curves}
    rows = {name: (trial, _rows_of(result.curves[name])) for name, trial in found.items()}
    return {name: both for name, both in rows.items() if both[1]}


def _rows_of(curve: Curve) -> list[Row]:
    rows: list[Row] = []
    for evaluation in curve.evaluations:
        for split, key in SPLITS.items():
            epoch, loss = finite(evaluation.get("epoch")), finite(evaluation.get(key))
            if epoch is not None and loss is not None:
                rows.append({"epoch": epoch, "split": split, "loss": rounded(loss)})
    return rows


def draw_epochs(rows: list[Row]) -> AnyChart:
    """Draw both losses of every trial over the epochs, the best trial's in bold."""
    if not rows:
        return nothing_to_draw(TITLE, "No evaluation was made.")
    first = min(row["epoch"] for row in rows)
    start = max(row["loss"] for row in rows if row["epoch"] == first)
    y = loss_axis([row["loss"] for row in rows], start, "loss")
    x = step_axis(rows, "epoch")
    splits = [split for split in SPLITS if any(row["split"] == split for row in rows)]
    scale = alt.Scale(domain=splits, range=[_COLOURS[split] for split in splits])
    dash = alt.Scale(domain=splits, range=[_DASHES[split] for split in splits])
    legend = alt.Legend(title=None, symbolType="stroke")
    shared = {"x": x, "y": y, "color": alt.Color("split:N", scale=scale, legend=legend)}
    tooltip = [*identity_tooltip(), alt.Tooltip("split:N")]
    plain = base(rows, DATA)
    lines = plain.mark_line(strokeJoin="round", cursor="pointer").encode(
        **shared,
        detail="curve:N",
        strokeDash=alt.StrokeDash("split:N", scale=dash, legend=legend),
        opacity=emphasis(1, 1, 0.28, 0.06),
        strokeWidth=emphasis(2.8, 2.6, 1.4, 1.2),
        tooltip=tooltip,
    )
    values = [alt.Tooltip("epoch:Q"), alt.Tooltip("loss:Q", format=".4~g")]
    dots = plain.mark_circle(cursor="pointer").encode(
        **shared,
        opacity=emphasis(1, 1, 0.35, 0.06),
        size=emphasis(46, 40, 22, 18),
        tooltip=[*tooltip, *values],
    )
    trials = {row["curve"] for row in rows}
    parts = ["Bold: best trial"] if len(trials) > 1 and any(row["best"] for row in rows) else []
    return titled(overlaid(lines.add_params(trial_selection()), dots), TITLE, "; ".join(parts))
