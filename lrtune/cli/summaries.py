"""What each step's text says: one function a step, from its result to the blocks printed.

What `--verbose` adds is in `lrtune.cli.details`, the plots are in `lrtune.cli.plots`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lrtune.cli.blocks import number, pairs, rate
from lrtune.reports.answers import best_words
from lrtune.results import judged_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.results import StepResult

_RATES = (("stable up to", "largest_stable"), ("diverges at", "diverged_at"))


def _plots() -> bool:
    """Whether stdout can show a plot: its lines are drawn in braille."""
    return "utf" in (sys.stdout.encoding or "").lower()


def _check_init(result: StepResult) -> list[Any]:
    found = result.summary
    if found["initial_loss"] is None:
        return [
            pairs(("loss at initialisation", "not measured"), ("parameters", number(found["parameters"])))
        ]
    error = found.get("standard_error")
    loss = number(found["initial_loss"]) + (f" ± {error:.2g}" if error else "")
    expected = result.details.get("expectation") or "no expectation known for this loss"
    rows = [("loss at initialisation", loss), ("expected", str(expected))]
    bounds = {"from": found.get("accepted_low"), "up to": found.get("accepted_high")}
    if any(bound is not None for bound in bounds.values()):
        rows.append(
            ("accepted", " ".join(f"{word} {number(b)}" for word, b in bounds.items() if b is not None))
        )
    if found.get("initial_loss_eval") is not None:
        rows.append(("in evaluation mode", number(found["initial_loss_eval"])))
    return [pairs(*rows, ("parameters", number(found["parameters"])))]


def _overfit(result: StepResult) -> list[Any]:
    found = result.summary
    if found["loss_first"] is None:
        return []
    reached = f"loss {number(found['loss_first'])} -> {number(found['loss_last'])}"
    if found["accuracy"] is not None:
        reached += f", accuracy {found['accuracy']:.1%}"
    rows = [("reached", reached), ("aim", str(result.details["target"]["reason"]))]
    at = f"learning rate {number(found['learning_rate'], 2)}, {found['steps']} steps"
    return [pairs(*rows, ("with", at))]


def _find_lr(result: StepResult) -> list[Any]:
    from lrtune.cli.plots import painted, sweep_plot

    found = result.summary
    rows = []
    if found.get("suggestion") is not None:
        interval = f"{rate(found.get('low'))} to {rate(found.get('high'))}"
        rows = [
            ("learning rate", f"{rate(found['suggestion'])}   (interval {interval})"),
            ("confidence", f"{found.get('confidence')}, from {found.get('repeats')} sweeps"),
        ]
    rows += [(name, rate(found.get(key))) for name, key in _RATES if found.get(key) is not None]
    if found.get("effective") is not None:
        rows.append(("effective rate", f"{rate(found['effective'])}   (learning rate / (1 - momentum))"))
    if found.get("gradient_steps") is not None:
        rows.append(("gradient steps", number(found["gradient_steps"])))
    plot = sweep_plot(result) if _plots() else ""
    return [*([pairs(*rows)] if rows else []), *([painted(plot)] if plot else [])]


def _grid(result: StepResult) -> list[Any]:
    from lrtune.cli.trial_table import trial_blocks

    return trial_blocks(result.summary["trials"], result.summary["best"])


def _refined(result: StepResult) -> list[Any]:
    from lrtune.cli.refined import search_facts

    facts = search_facts(result)
    return [*_grid(result), *([pairs(*facts)] if facts else [])]


def _report(result: StepResult) -> list[Any]:
    from lrtune.cli.plots import epochs_plot, painted

    best = result.summary["best"]
    if best is None:
        from lrtune.reports.settings import suggested_words

        rows = [("best settings", suggested_words(result.details.get("suggestion")))]
    else:
        rows = [("best settings", best_words(best))]
        loss = judged_loss(best)
        measured = "".join(f", {name} {number(value)}" for name, value in best["metrics"].items())
        rows.append(
            (
                "reach",
                f"{'validation' if best['val_loss'] is not None else 'training'} loss {number(loss)}{measured}",
            )
        )
    if result.summary["html"]:
        rows.append(("report", str(result.summary["html"])))
    plot = epochs_plot(result) if _plots() else ""
    return [pairs(*rows), *([painted(plot)] if plot else [])]


# A new step: one function above, one line here.
SUMMARIES: Mapping[str, Callable[[StepResult], list[Any]]] = {
    "check-init": _check_init,
    "overfit": _overfit,
    "find-lr": _find_lr,
    "coarse-grid": _grid,
    "refine-grid": _refined,
    "report": _report,
}
