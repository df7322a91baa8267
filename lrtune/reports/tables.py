"""A result's numbers as labelled facts and as one table, in the words that a reader knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import MISSING, finite, number
from lrtune.charts.probed import probes_of, rules_of
from lrtune.charts.trials import best_curve, curve_of, trials_of

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


@dataclass(frozen=True)
class Aside:
    """A table beside the trials, to be unfolded.

    Attributes:
        title: What it holds, in words.
        table: The numbers.
    """

    title: str
    table: Table


def asides(result: StepResult) -> list[Aside]:
    """Return what step 3 measured at one rate each, and what other tools' rules say; nothing for other steps."""
    return [aside for aside in (_probes(result), _rules(result)) if aside.table.lines]


def _probes(result: StepResult) -> Aside:
    probes = probes_of(result)
    before = "" if probes.initial_loss is None else f" ({number(probes.initial_loss, 4)} before)"
    cells = (
        [number(one.learning_rate), number(one.loss, 4), number(one.steps), one.state] for one in probes.rates
    )
    title = f"{probes.words[:1].upper()}{probes.words[1:]}{before}"
    return Aside(title, Table(["learning rate", "loss", "steps", "state"], [Line(row, "") for row in cells]))


def _rules(result: StepResult) -> Aside:
    rules = rules_of(result)
    cells = ([rule.name, number(rule.learning_rate), number(rule.ratio)] for rule in rules)
    columns = ["rule", "learning rate", "times the suggestion"]
    return Aside(
        "What other tools' rules read from the same sweeps", Table(columns, [Line(row, "") for row in cells])
    )


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
    columns = ["trial", "learning rate", "weight decay", *(_LOSSES[key] for key in losses), *metrics]
    best = best_curve(result)
    lines = [
        Line(_cells(trial, losses, metrics), curve_of(trial), curve_of(trial) == best) for trial in trials
    ]
    return Table([*columns, "steps", "state", "seed"], lines)


def _cells(trial: dict[str, Any], losses: list[str], metrics: list[str]) -> list[str]:
    reached = trial.get("metrics") or {}
    return [
        curve_of(trial),
        number(trial.get("lr")),
        number(trial.get("weight_decay")),
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
