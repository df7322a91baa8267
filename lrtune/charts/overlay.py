"""Two runs in one picture: the same curve of either, told apart by colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import altair as alt

from lrtune.charts.numbers import finite, rounded
from lrtune.charts.probed import positive
from lrtune.charts.scales import log_axis, log_scale, loss_axis, step_axis
from lrtune.charts.series import evenly, known, moving_average, points_each, thin, window_for
from lrtune.charts.theme import BLUE, ORANGE, base, overlaid, titled
from lrtune.charts.trials import best_curve, curve_of, trials_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import Curve, StepResult

_SPLITS = {"train": "train_loss", "validation": "val_loss"}
_DASHES = {"train": [6, 3], "validation": [1, 0]}


class _Overlay(NamedTuple):
    """A picture of both runs: whose curve it is, where it stands and what it is called."""

    step: str
    title: str
    rows: Callable[[StepResult], list[Row]]
    x: str


def overlays(runs: Sequence[tuple[str, Mapping[str, StepResult]]]) -> dict[str, AnyChart]:
    """Return the pictures that both runs have curves for, by name.

    Args:
        runs: The name of each run, and its results by step.
    """
    drawn = {}
    for name, one in _OVERLAYS.items():
        rows = overlay_data(runs, name)
        if len({row["run"] for row in rows}) == len(runs):
            drawn[name] = _draw(rows, one, [label for label, _ in runs])
    return drawn


def overlay_data(runs: Sequence[tuple[str, Mapping[str, StepResult]]], name: str) -> list[Row]:
    """Return one row a run and point (`run`, `x`, `loss`, and by epoch `split`)."""
    one = _OVERLAYS[name]
    found = [(label, results[one.step]) for label, results in runs if one.step in results]
    return [{"run": label, **row} for label, result in found for row in one.rows(result)]


def _sweep(result: StepResult) -> list[Row]:
    rates, median = result.details.get("learning_rates") or [], result.details.get("median") or []
    points = [(i, loss) for i, loss in known(median[: len(rates)]) if positive(rates[i]) is not None]
    kept = (points[i] for i in thin([loss for _, loss in points], points_each(2)))
    return [{"x": rounded(rates[i], 6), "loss": rounded(loss)} for i, loss in kept]


def _best(result: StepResult) -> Curve | None:
    """Return the curve of the best trial, None where there is none."""
    name = best_curve(result)
    held = [curve_of(trial) for trial in trials_of(result)]
    return result.curves.get(name) if name in held and name is not None else None


def _epochs(result: StepResult) -> list[Row]:
    curve = _best(result)
    return [
        {"x": epoch, "split": split, "loss": rounded(loss)}
        for row in (curve.evaluations if curve else [])
        for split, key in _SPLITS.items()
        if (epoch := finite(row.get("epoch"))) is not None and (loss := finite(row.get(key))) is not None
    ]


def _minibatches(result: StepResult) -> list[Row]:
    curve = _best(result)
    points = known(curve.loss) if curve else []
    means = moving_average([loss for _, loss in points], window_for(len(points))) if points else []
    return [{"x": points[i][0], "loss": rounded(means[i])} for i in evenly(len(means), points_each(2))]


def _draw(rows: list[Row], one: _Overlay, labels: list[str]) -> AnyChart:
    first = min(row["x"] for row in rows)
    start = max(row["loss"] for row in rows if row["x"] == first)
    y = loss_axis([row["loss"] for row in rows], start, "loss")
    colour = alt.Color(
        "run:N",
        scale=alt.Scale(domain=labels, range=[BLUE, ORANGE]),
        legend=alt.Legend(title=None, symbolType="stroke"),
    )
    x = _rates(rows) if one.step == "find-lr" else step_axis(rows, "x").title(one.x)
    tooltip = [alt.Tooltip("run:N"), alt.Tooltip("x:Q", title=one.x), alt.Tooltip("loss:Q", format=".4~g")]
    lines = base(rows).mark_line(strokeWidth=2.2, strokeJoin="round").encode(x=x, y=y, color=colour)
    dots = base(rows).mark_circle(size=26, opacity=0.01).encode(x=x, y=y, color=colour, tooltip=tooltip)
    splits = [split for split in _SPLITS if any(row.get("split") == split for row in rows)]
    if splits:
        scale = alt.Scale(domain=splits, range=[_DASHES[split] for split in splits])
        legend = alt.Legend(title=None, symbolType="stroke")
        lines = lines.encode(strokeDash=alt.StrokeDash("split:N", scale=scale, legend=legend))
    return titled(overlaid(lines, dots), one.title)


def _rates(rows: list[Row]) -> alt.X:
    low, high = min(row["x"] for row in rows), max(row["x"] for row in rows)
    axis = log_axis(low, high, grid=False)
    return alt.X("x:Q", title="learning rate (log)", scale=log_scale(low, high), axis=axis)


_OVERLAYS = {
    "epochs": _Overlay("report", "Loss of the best trial by epoch", _epochs, "epoch"),
    "minibatches": _Overlay(
        "report", "Moving average of the best trial's minibatch loss", _minibatches, "step"
    ),
    "sweep": _Overlay("find-lr", "Median of the learning rate sweeps", _sweep, "learning rate"),
}
