"""A grid's trials as the charts take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from lrtune.charts.numbers import finite, number, vega_number
from lrtune.charts.scales import log_scale, log_ticks
from lrtune.charts.theme import BLUE, LINE_COLOURS

if TYPE_CHECKING:
    from lrtune.charts.theme import Row
    from lrtune.results import StepResult

COMPLETE = "complete"
_MOST_IN_LEGEND = 8


def trials_of(result: StepResult) -> list[dict[str, Any]]:
    """Return the trials of a grid, best first; of a result that knows only its best trial, that one."""
    trials = result.summary.get("trials")
    if trials is None:
        trials = [result.summary.get("best")]
    return [trial for trial in trials if trial]


def best_curve(result: StepResult) -> str | None:
    """Return the name of the best trial, None where there is none."""
    if "best" in result.summary:
        best = result.summary["best"]
        return curve_of(best) if best else None
    finished = (curve_of(trial) for trial in trials_of(result) if trial.get("state", COMPLETE) == COMPLETE)
    return next(finished, None)


def curve_of(trial: dict[str, Any]) -> str:
    """Return what identifies a trial in every chart and table."""
    return str(trial.get("curve") or f"lr={trial.get('lr')} wd={trial.get('weight_decay')}")


def measure_of(trials: list[dict[str, Any]]) -> str:
    """Return which loss ranks the trials: the one on the validation set, if there is any."""
    return "val_loss" if any(finite(trial.get("val_loss")) is not None for trial in trials) else "train_loss"


def identity(trial: dict[str, Any], best: str | None) -> Row:
    """Return what every row about a trial says of it."""
    return {
        "curve": curve_of(trial),
        "lr": finite(trial.get("lr")),
        "weight_decay": finite(trial.get("weight_decay")),
        "best": curve_of(trial) == best,
    }


def identity_tooltip() -> list[alt.Tooltip]:
    """Return the tooltip lines that name a trial."""
    return [
        alt.Tooltip("curve:N", title="trial"),
        alt.Tooltip("lr:Q", title="learning rate", format=".3~g"),
        alt.Tooltip("weight_decay:Q", title="weight decay", format=".3~g"),
    ]


def rate_colour(rows: list[Row]) -> Any:
    """Return the colour of lines by learning rate; one plain colour where there is only one rate."""
    rates = sorted({row["lr"] for row in rows if row.get("lr")})
    if len(rates) < 2:
        return alt.value(BLUE)
    if len(rates) <= _MOST_IN_LEGEND and len({number(rate) for rate in rates}) == len(rates):
        columns = 6 if len(rates) <= 6 else 4
        scale = alt.Scale(domain=rates, scheme=alt.SchemeParams(**LINE_COLOURS))
        legend = alt.Legend(
            title="learning rate", labelExpr=vega_number(), symbolType="stroke", columns=columns
        )
        return alt.Color("lr:O", scale=scale, legend=legend)
    scale = log_scale(rates[0], rates[-1], scheme=alt.SchemeParams(**LINE_COLOURS))
    ticks = log_ticks(rates[0], rates[-1])
    return alt.Color(
        "lr:Q", scale=scale, legend=alt.Legend(title="learning rate", values=ticks, labelExpr=vega_number())
    )
