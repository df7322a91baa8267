"""Step 2: a few minibatches learnt by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from lrtune.charts.numbers import finite, number, rounded
from lrtune.charts.scales import loss_axis, step_axis
from lrtune.charts.selection import emphasis, trial_selection
from lrtune.charts.series import known, points_each, thin
from lrtune.charts.theme import GREEN, RED, base, nothing_to_draw, overlaid, titled
from lrtune.charts.trials import rate_colour

if TYPE_CHECKING:
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

TITLE = "Overfitting a few batches"


def overfit_data(result: StepResult) -> list[Row]:
    """Return `loss` rows a rate and step, `diverged` rows where a rate blew up, and the `target` if it is a loss."""
    members = result.details.get("members") or []
    best = finite(result.summary.get("learning_rate"))
    rows: list[Row] = []
    for member in members:
        rate = finite(member.get("learning_rate"))
        name = str(member.get("curve"))
        curve = result.curves.get(name)
        points = known(curve.loss) if curve else []
        head = {"curve": name, "lr": rate, "best": rate is not None and rate == best}
        kept = thin([loss for _, loss in points], points_each(len(members)))
        rows += [{"kind": "loss", **head, "step": points[i][0], "loss": rounded(points[i][1])} for i in kept]
        if member.get("diverged_at") is not None and points:
            rows.append({"kind": "diverged", **head, "step": points[-1][0], "loss": rounded(points[-1][1])})
    target = result.details.get("target") or {}
    if finite(target.get("loss")) is not None:
        rows.append({"kind": "target", "loss": finite(target["loss"]), "why": target.get("reason")})
    return rows


def draw_overfit(rows: list[Row]) -> AnyChart:
    """Draw the loss of every rate over the steps, with the loss to be reached."""
    losses = [row for row in rows if row["kind"] == "loss"]
    if not losses:
        return nothing_to_draw(TITLE, "No finite loss was measured.")
    targets = [row for row in rows if row["kind"] == "target"]
    seen = [row["loss"] for row in [*losses, *targets]]
    first = min(row["step"] for row in losses)
    start = max(row["loss"] for row in losses if row["step"] == first)
    y = loss_axis(seen, start, "training loss", log=True)
    x = step_axis(losses)
    shared = {"x": x, "y": y, "color": rate_colour(losses), "detail": "curve:N"}
    tooltip = [alt.Tooltip("lr:Q", title="learning rate", format=".3~g"), alt.Tooltip("curve:N")]
    lines = (
        base(losses)
        .mark_line(strokeWidth=1.8, strokeJoin="round")
        .encode(
            **shared,
            opacity=emphasis(1, 1, 0.75, 0.12),
            strokeWidth=emphasis(3, 2.6, 1.5, 1.2),
            tooltip=tooltip,
        )
    )
    ends = base([row for row in rows if row["kind"] == "diverged"]).mark_text(
        text="×", fontSize=18, fontWeight="bold", color=RED
    )
    layers = [lines.add_params(trial_selection()), ends.encode(x=x, y=y, tooltip=tooltip)]
    rule = base(targets).mark_rule(color=GREEN, strokeDash=[5, 4], strokeWidth=1.6).encode(y=y)
    return titled(overlaid(*layers, *([rule] if targets else [])), TITLE, _subtitle(rows))


def _subtitle(rows: list[Row]) -> str:
    parts = [
        f"Dashed: target {number(row['loss'])}" + (f" ({row['why']})" if row["why"] else "")
        for row in rows
        if row["kind"] == "target"
    ]
    if any(row["kind"] == "diverged" for row in rows):
        parts.append("× diverged")
    return "; ".join(parts)
