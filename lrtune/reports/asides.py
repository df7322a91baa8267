"""The tables beside the charts: the numbers behind each picture that stand in no other table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.charts.numbers import finite, number
from lrtune.charts.probed import probes_of, rules_of
from lrtune.charts.series import evenly, moving_average, window_for
from lrtune.charts.trials import best_curve
from lrtune.reports.tables import Line, Table

if TYPE_CHECKING:
    from lrtune.results import StepResult

_MOST_LINES = 31  # of a curve: enough to see its course, few enough to read
_LOSSES = {"train_loss": "training loss", "val_loss": "validation loss"}


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
    """Return the tables that stand beside a step's charts, those with a line in them."""
    made = (make(result) for make in _ASIDES)
    return [aside for aside in made if aside.table.lines]


def _batches(result: StepResult) -> Aside:
    losses = result.details.get("batch_losses") or [] if result.step == "check-init" else []
    chosen = evenly(len(losses), _MOST_LINES)
    title = "Loss of each batch before training" + _of(len(chosen), len(losses), "batches")
    return Aside(title, Table(["batch", "loss"], [_line([str(i + 1), number(losses[i], 4)]) for i in chosen]))


def _sweep(result: StepResult) -> Aside:
    rates, median = result.details.get("learning_rates") or [], result.details.get("median") or []
    points = list(zip(rates, median, strict=False))
    chosen = evenly(len(points), _MOST_LINES)
    lines = [_line([number(points[i][0]), number(points[i][1], 4)]) for i in chosen]
    title = "Smoothed loss of the sweep, median of its repeats" + _of(len(chosen), len(points), "rates")
    return Aside(title, Table(["learning rate", "loss"], lines))


def _epochs(result: StepResult) -> Aside:
    """Return the best trial's losses by epoch, which both charts of curves draw."""
    best = best_curve(result) if {"best", "trials"} & set(result.summary) else None
    curve = result.curves.get(best or "")
    if curve is None:
        return Aside("", Table())
    means = moving_average(curve.loss, window_for(len(curve.loss))) if _all_finite(curve.loss) else []
    metrics = dict.fromkeys(key for row in curve.evaluations for key in row)
    names = [key for key in metrics if key not in ("epoch", "step", *_LOSSES)]
    columns = ["epoch", "step", *_LOSSES.values(), *names, "minibatch loss (moving average)"]
    chosen = evenly(len(curve.evaluations), _MOST_LINES)
    lines = []
    for row in (curve.evaluations[i] for i in chosen):
        step = int(finite(row.get("step")) or 0)
        mean = means[step - 1] if 0 < step <= len(means) else None
        cells = [row.get("epoch"), row.get("step")]
        losses = [row.get(key) for key in (*_LOSSES, *names)]
        lines.append(_line([*map(number, cells), *(number(value, 4) for value in [*losses, mean])]))
    title = f"The best trial, {best}, by epoch" + _of(len(chosen), len(curve.evaluations), "epochs")
    return Aside(title, Table(columns, lines))


def _all_finite(losses: list[float]) -> bool:
    return all(finite(loss) is not None for loss in losses)


def _of(shown: int, there: int, what: str) -> str:
    return f" ({shown} of {there} {what})" if shown < there else ""


def _line(cells: list[str]) -> Line:
    return Line(cells, "")


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


_ASIDES = (_batches, _sweep, _probes, _rules, _epochs)
