"""Step 6: training against validation loss, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from lrtune.charts.numbers import finite, rounded
from lrtune.charts.scales import loss_axis, step_axis
from lrtune.charts.selection import emphasis, trial_selection
from lrtune.charts.theme import BLUE, ORANGE, base, nothing_to_draw, overlaid, titled
from lrtune.charts.trials import best_curve, curve_of, identity, identity_tooltip, trials_of

if TYPE_CHECKING:
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

TITLE = "Loss by epoch"
SPLITS = {"train": "train_loss", "validation": "val_loss"}
_COLOURS = {"train": BLUE, "validation": ORANGE}
_DASHES = {"train": [6, 3], "validation": [1, 0]}


def epochs_data(result: StepResult) -> list[Row]:
    """Return one row a trial, split and epoch that has a finite loss; the best trial last, to be drawn on top."""
    best = best_curve(result)
    rows: list[Row] = []
    for trial in reversed(trials_of(result)):
        curve = result.curves.get(curve_of(trial))
        head = identity(trial, best)
        for evaluation in curve.evaluations if curve else []:
            for split, key in SPLITS.items():
                epoch, loss = finite(evaluation.get("epoch")), finite(evaluation.get(key))
                if epoch is not None and loss is not None:
                    rows.append({**head, "epoch": epoch, "split": split, "loss": rounded(loss)})
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
    lines = (
        base(rows)
        .mark_line(strokeJoin="round", cursor="pointer")
        .encode(
            **shared,
            detail="curve:N",
            strokeDash=alt.StrokeDash("split:N", scale=dash, legend=legend),
            opacity=emphasis(1, 1, 0.28, 0.06),
            strokeWidth=emphasis(2.8, 2.6, 1.4, 1.2),
            tooltip=tooltip,
        )
    )
    values = [alt.Tooltip("epoch:Q"), alt.Tooltip("loss:Q", format=".4~g")]
    dots = (
        base(rows)
        .mark_circle(cursor="pointer")
        .encode(
            **shared,
            opacity=emphasis(1, 1, 0.35, 0.06),
            size=emphasis(46, 40, 22, 18),
            tooltip=[*tooltip, *values],
        )
    )
    trials = {row["curve"] for row in rows}
    subtitle = "Bold: best trial" if len(trials) > 1 and any(row["best"] for row in rows) else ""
    return titled(overlaid(lines.add_params(trial_selection()), dots), TITLE, subtitle)
