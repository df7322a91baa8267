"""How each result was obtained: the command, the versions, the time and the gradient steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import MISSING, finite, number
from lrtune.reports.tables import Line, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import StepResult

COLUMNS = ["step", "time", "gradient steps", "when", "command"]
_FACTS = ("task", "command", "device", "seed", "created")
_REPORT_FACTS = {"command": "command of this report", "created": "report written"}


def obtained_table(results: Mapping[str, StepResult]) -> Table:
    """Return one line a step: what it cost, when it ran and by which command; a last line for all of them.

    Args:
        results: By step, in the recipe's order.
    """
    lines = [Line(_cells(step, result), "") for step, result in results.items()]
    if len(lines) > 1:
        seconds = sum(result.seconds for result in results.values())
        steps = sum(gradient_steps(result) or 0 for result in results.values())
        lines.append(Line(["all", _time(seconds), number(steps), MISSING, MISSING], ""))
    return Table(COLUMNS, lines)


def _cells(step: str, result: StepResult) -> list[str]:
    how = result.details.get("environment") or {}
    steps = gradient_steps(result)
    taken = MISSING if steps is None else number(steps)
    return [step, _time(result.seconds), taken, how.get("when") or MISSING, how.get("command") or MISSING]


def _time(seconds: float) -> str:
    return f"{number(seconds)} s" if seconds else MISSING


def gradient_steps(result: StepResult) -> int | None:
    """Return how many training steps a result took, over all its members; None where it trained nothing.

    The repeats under other seeds at the end of a refined search count; what a step measured on an untrained model
    does not.
    """
    told = finite(result.summary.get("gradient_steps"))
    if told is not None:
        return int(told)
    trials = result.summary.get("trials")
    if trials:
        return sum(int(finite(trial.get("steps")) or 0) for trial in trials) + _repeated(result)
    if result.step == "report" or not result.curves:
        return None
    return sum(len(curve.loss) for curve in result.curves.values())


def _repeated(result: StepResult) -> int:
    """The repeats are as long as a trial that came to its end."""
    count = sum(len(losses) for losses in (result.details.get("repeats") or {}).values())
    best = result.summary.get("best") or {}
    return count * int(finite(best.get("steps")) or 0)


def obtained_facts(results: Mapping[str, StepResult], context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (label, value) of what holds for all steps; where they differ in it, each value with its steps."""
    known = [
        (_REPORT_FACTS.get(key, key), str(context[key])) for key in _FACTS if context.get(key) is not None
    ]
    how = {step: result.details.get("environment") or {} for step, result in results.items()}
    versions = {step: _versions(one) for step, one in how.items() if one}
    if not versions and context.get("version"):
        versions = {"report": f"lrtune {context['version']}"}
    machines = {step: str(one["machine"]) for step, one in how.items() if one.get("machine")}
    return [
        *known,
        *(("versions", text) for text in _shared(versions)),
        *(("machine", text) for text in _shared(machines)),
    ]


def _versions(how: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in (how.get("versions") or {}).items())


def _shared(by_step: Mapping[str, str]) -> list[str]:
    """Return each value once, with the steps that it holds for where there are several values."""
    steps: dict[str, list[str]] = {}
    for step, value in by_step.items():
        if value:
            steps.setdefault(value, []).append(step)
    if len(steps) < 2:
        return list(steps)
    return [f"{value} ({', '.join(names)})" for value, names in steps.items()]
