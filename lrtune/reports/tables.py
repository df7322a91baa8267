"""A result's numbers as labelled facts and as one table, in the words that a reader knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import MISSING, finite, number
from lrtune.charts.trials import best_curve, curve_of, trials_of
from lrtune.results import further_axes

if TYPE_CHECKING:
    from lrtune.results import StepResult

_LABELS = {
    "initial_loss": "loss at initialisation",
    "initial_loss_eval": "the same in eval mode",
    "expected_low": "expected at least",
    "expected_high": "expected at most",
    "loss_first": "first loss",
    "loss_last": "last loss",
    "suggestion": "suggested learning rate",
    "low": "usable from",
    "high": "usable to",
    "largest_stable": "stable up to",
    "diverged_at": "diverged at",
    "effective": "effective rate (with momentum)",
    "repeats": "sweeps",
    "gradient_steps": "gradient steps",
    "gain": "gain over the coarse grid",
    "noise": "noise between seeds",
}
_LOSSES = {"val_loss": "validation loss", "train_loss": "training loss"}


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        cells: Its texts, one a column.
        curve: The trial it tells of, which links it to the charts.
        best: Whether that is the best one.
    """

    cells: list[str]
    curve: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Columns and rows; the first column names the row."""

    columns: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def facts(result: StepResult) -> list[tuple[str, str]]:
    """Return (label, value) of every single number or word that a step reports."""
    known = {**result.summary, **{key: result.details.get(key) for key in ("epochs", "gain", "noise")}}
    found = [
        (_LABELS.get(key, key.replace("_", " ")), number(value, 4))
        for key, value in known.items()
        if isinstance(value, int | float | str) and key != "html"
    ]
    return [*found, ("time", f"{number(result.seconds)} s")] if result.seconds else found


def table(result: StepResult) -> Table:
    """Return a grid's trials, or the rates that overfit tried; the best first. Empty for every other step."""
    if result.details.get("members"):
        return _members(result)
    trials = trials_of(result) if "trials" in result.summary else []
    if not trials:
        return Table()
    losses = [key for key in _LOSSES if any(finite(trial.get(key)) is not None for trial in trials)]
    metrics = list(dict.fromkeys(str(name) for trial in trials for name in trial.get("metrics") or {}))
    axes = further_axes(trials)
    heads = [axis.replace("_", " ") for axis in axes]
    columns = ["trial", "learning rate", "weight decay", *heads, *(_LOSSES[key] for key in losses), *metrics]
    best = best_curve(result)
    lines = [
        Line(_cells(trial, axes, losses, metrics), curve_of(trial), curve_of(trial) == best)
        for trial in trials
    ]
    lines.sort(key=lambda line: not line.best)  # over seeds, the best need not be the one of the lowest loss
    return Table([*columns, "steps", "state", "seed"], lines)


def _cells(trial: dict[str, Any], axes: list[str], losses: list[str], metrics: list[str]) -> list[str]:
    reached = trial.get("metrics") or {}
    return [
        curve_of(trial),
        number(trial.get("lr")),
        number(trial.get("weight_decay")),
        *(number(trial.get(axis)) for axis in axes),
        *(number(trial.get(key), 4, trim=False) for key in losses),
        *(number(reached.get(name), 4, trim=False) for name in metrics),
        number(trial.get("steps")),
        str(trial.get("state") or MISSING),
        str(trial.get("seed", MISSING)),
    ]


def _members(result: StepResult) -> Table:
    def rank(member: dict[str, Any]) -> float:
        loss = finite(member.get("loss"))
        return float("inf") if loss is None else loss

    best = finite(result.summary.get("learning_rate"))
    lines = [
        Line(
            [
                str(member.get("curve")),
                number(member.get("learning_rate")),
                number(member.get("loss")),
                number(member.get("accuracy"), 4),
                number(member.get("diverged_at")),
            ],
            str(member.get("curve")),
            best is not None and finite(member.get("learning_rate")) == best,
        )
        for member in sorted(result.details["members"], key=rank)
    ]
    return Table(["run", "learning rate", "last loss", "accuracy", "diverged at step"], lines)
