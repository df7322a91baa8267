"""What `--verbose` adds to a step's text: one function a step, from its result to the blocks printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from lrtune.cli.blocks import columns, number, pairs, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.results import StepResult


def _check_init(result: StepResult) -> list[Any]:
    examined = result.details.get("examined") or []
    if not examined:
        return []
    names = [str(one.get("name")) for one in examined if not one.get("skipped")]
    skipped = [f"{one.get('name')} ({one['skipped']})" for one in examined if one.get("skipped")]
    lists = {"examined": names, "not examined": skipped}
    return [Text(), pairs(*((head, "\n".join(names)) for head, names in lists.items() if names))]


def _overfit(result: StepResult) -> list[Any]:
    rows = [
        [
            rate(member.get("learning_rate")),
            number(member.get("loss")),
            number(member.get("accuracy")),
            "diverged" if member.get("diverged_at") is not None else "complete",
        ]
        for member in result.details.get("members") or []
    ]
    heads = ("lr", "last loss", "accuracy", "state")
    return [Text("\nrates tried", style="bold"), columns(heads, rows, left=("state",))] if rows else []


def _find_lr(result: StepResult) -> list[Any]:
    return [*_probes(result), *_rules(result)]


def _probes(result: StepResult) -> list[Any]:
    from lrtune.charts.probed import probes_of

    probes = probes_of(result)
    if not probes.rates:
        return []
    before = "" if probes.initial_loss is None else f" ({number(probes.initial_loss)} before)"
    rows = [[rate(one.learning_rate), number(one.loss), number(one.steps), one.state] for one in probes.rates]
    table = columns(("lr", "loss", "steps", "state"), rows, left=("state",))
    return [Text(f"\n{probes.words}{before}", style="bold"), table]


def _rules(result: StepResult) -> list[Any]:
    from lrtune.charts.probed import rules_of

    rules = rules_of(result)
    if not rules:
        return []
    rows = [[rule.name, rate(rule.learning_rate), rate(rule.ratio)] for rule in rules]
    table = columns(("rule", "lr", "times the suggestion"), rows, left=("rule",))
    return [Text("\nwhat other tools' rules read from the same sweeps", style="bold"), table]


def executions(result: StepResult) -> list[Any]:
    """Return how members were trained in a step, and why so; nothing for a result that does not know."""
    told = result.details.get("executions") or []
    return [Text("\nhow members were trained", style="bold"), *map(Text, told)] if told else []


# A step that has more to tell: one function above, one line here.
DETAILS: Mapping[str, Callable[[StepResult], list[Any]]] = {
    "check-init": _check_init,
    "overfit": _overfit,
    "find-lr": _find_lr,
}
