"""Results as text for a person, legible at 80 columns and without colour."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lrtune.checks.catalogue import Entry
    from lrtune.results import Finding, StepResult

_COLOURS = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "error": "red",
    "warning": "yellow",
    "info": "cyan",
}
_SHOWN_TRIALS = 10
_INDENT = (0, 0, 0, 2)
_FILLING = re.compile(r" +(?=(\x1b\[[0-9;]*m)*$)", re.MULTILINE)  # before the codes that end a colour


def print_text(result: StepResult, quiet: bool) -> None:
    """Print a step's result: verdict, numbers, findings, and a plot where one helps."""
    with _printed() as console:
        _headline(console, result)
        if quiet or result.step == "run":
            return
        for line in SUMMARIES[result.step](result):
            console.print(Padding(line, _INDENT, expand=False))
        for finding in result.findings:
            _print_finding(console, finding)
        console.print()


@contextmanager
def _printed() -> Iterator[Console]:
    """Collect what is printed, and write it without the spaces that rich fills its blocks up with."""
    console = Console(highlight=False)
    with console.capture() as captured:
        yield console
    sys.stdout.write(_FILLING.sub("", captured.get()))
    sys.stdout.flush()


def _headline(console: Console, result: StepResult) -> None:
    verdict = Text(result.verdict.upper(), style=f"bold {_COLOURS[result.verdict]}")
    seconds = "from the run directory" if result.reused else f"{result.seconds:.1f} s"
    console.print(Text.assemble((f"{result.step:<12}", "bold"), " ", verdict, f"  ({seconds})"))


def _print_finding(console: Console, finding: Finding) -> None:
    """Print a finding; what follows from the one above it stands beneath that, and is mended with it."""
    indent = 4 if finding.follows_from else 2
    head = Text.assemble(
        "hence " if finding.follows_from else "",
        (finding.severity, _COLOURS[finding.severity]),
        " ",
        (finding.code, "bold"),
    )
    texts = [finding.message]
    if not finding.follows_from:
        texts += [f"Fix: {finding.fix}", f"More: lrtune explain {finding.code}"]
    console.print(Padding(head, (0, 0, 0, indent), expand=False))
    for text in texts:
        console.print(Padding(Text(text), (0, 0, 0, indent + 2), expand=False))


def _plots() -> bool:
    """Whether stdout can show a plot: its lines are drawn in braille."""
    return "utf" in (sys.stdout.encoding or "").lower()


def _number(value: Any, digits: int = 4) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def _pairs(*rows: tuple[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


# --- one function a step: result -> what to print ----------------------------------------------------------------


def _check_init(result: StepResult) -> list[Any]:
    found = result.summary
    if found["initial_loss"] is None:
        return [
            _pairs(("loss at initialisation", "not measured"), ("parameters", _number(found["parameters"])))
        ]
    error = found.get("standard_error")
    loss = _number(found["initial_loss"]) + (f" ± {error:.2g}" if error else "")
    expected = result.details.get("expectation") or "no expectation known for this loss"
    rows = [("loss at initialisation", loss), ("expected", str(expected))]
    bounds = {"from": found.get("accepted_low"), "up to": found.get("accepted_high")}
    if any(bound is not None for bound in bounds.values()):
        rows.append(
            ("accepted", " ".join(f"{word} {_number(b)}" for word, b in bounds.items() if b is not None))
        )
    if found.get("initial_loss_eval") is not None:
        rows.append(("in evaluation mode", _number(found["initial_loss_eval"])))
    return [_pairs(*rows, ("parameters", _number(found["parameters"])))]


def _overfit(result: StepResult) -> list[Any]:
    found = result.summary
    if found["loss_first"] is None:
        return []
    reached = f"loss {_number(found['loss_first'])} -> {_number(found['loss_last'])}"
    if found["accuracy"] is not None:
        reached += f", accuracy {found['accuracy']:.1%}"
    rows = [("reached", reached), ("aim", str(result.details["target"]["reason"]))]
    at = f"learning rate {_number(found['learning_rate'], 2)}, {found['steps']} steps"
    return [_pairs(*rows, ("with", at))]


def _find_lr(result: StepResult) -> list[Any]:
    from lrtune.cli.plots import sweep_plot

    found = result.summary
    plot = [Text(sweep_plot(result))] if _plots() else []
    if found["suggestion"] is None:
        return plot
    interval = f"{_number(found['low'], 2)} to {_number(found['high'], 2)}"
    rows = [
        ("learning rate", f"{_number(found['suggestion'], 2)}   (interval {interval})"),
        ("confidence", f"{found['confidence']}, from {found['repeats']} sweeps"),
        ("diverges at", _number(found["diverged_at"], 2)),
    ]
    return [_pairs(*rows), *plot]


def _grid(result: StepResult) -> list[Any]:
    trials = result.summary["trials"]
    if not trials:
        return []
    metrics = list(dict.fromkeys(name for trial in trials for name in trial["metrics"]))[:3]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("lr", "weight decay", "val loss", "train loss", *metrics, "state"):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    shown = trials[:_SHOWN_TRIALS]
    chosen = [
        trial for trial in trials[_SHOWN_TRIALS:] if trial == result.summary["best"]
    ]  # not the lowest loss
    for trial in [*shown, *chosen]:
        losses = (_number(trial["val_loss"]), _number(trial["train_loss"]))
        measured = (_number(trial["metrics"].get(name)) for name in metrics)
        best = "best" if trial == result.summary["best"] else ""
        state = " ".join(
            part for part in (best, "" if trial["state"] == "complete" else trial["state"]) if part
        )
        table.add_row(_number(trial["lr"], 3), _number(trial["weight_decay"], 3), *losses, *measured, state)
    more = len(trials) - len(shown) - len(chosen)
    return [table, Text(f"and {more} more, see the report", style="dim")] if more > 0 else [table]


def _report(result: StepResult) -> list[Any]:
    from lrtune.cli.plots import epochs_plot

    best = result.summary["best"]
    if best is None:
        rows = [("best settings", "none yet: no grid has completed")]
    else:
        rows = [
            (
                "best settings",
                f"learning rate {_number(best['lr'], 3)}, weight decay {_number(best['weight_decay'], 3)}",
            )
        ]
        loss = best["val_loss"] if best["val_loss"] is not None else best["train_loss"]
        measured = "".join(f", {name} {_number(value)}" for name, value in best["metrics"].items())
        rows.append(
            (
                "reach",
                f"{'validation' if best['val_loss'] is not None else 'training'} loss {_number(loss)}{measured}",
            )
        )
    if result.summary["html"]:
        rows.append(("report", str(result.summary["html"])))
    plot = epochs_plot(result) if _plots() else ""
    return [_pairs(*rows), *([Text(plot)] if plot else [])]


# A new step: one function above, one line here.
SUMMARIES: Mapping[str, Callable[[StepResult], list[Any]]] = {
    "check-init": _check_init,
    "overfit": _overfit,
    "find-lr": _find_lr,
    "coarse-grid": _grid,
    "refine-grid": _grid,
    "report": _report,
}


# --- the catalogue ------------------------------------------------------------------------------------------------


def print_catalogue(entries: Mapping[str, Entry]) -> None:
    """Print every code with its title, by step."""
    with _printed() as console:
        step = ""
        for entry in entries.values():
            if entry.step != step:
                step = entry.step
                console.print(Text(step, style="bold"))
            colour = _COLOURS[entry.severity]
            console.print(Text.assemble("  ", (f"{entry.code:<28}", colour), entry.title))
        console.print(Text("\nlrtune explain CODE tells what one means and how to fix it.", style="dim"))


def print_entry(entry: Entry) -> None:
    """Print all that the catalogue says of a code."""
    with _printed() as console:
        console.print(
            Text.assemble(
                (entry.code, "bold"), "  ", (entry.severity, _COLOURS[entry.severity]), f"  {entry.step}"
            )
        )
        console.print(Text(entry.title))
        parts = {
            "Why it matters": entry.why,
            "How it is measured": entry.measured,
            "When it is reported": entry.threshold,
            "Source": entry.source,
            "Likely causes": "\n".join(f"- {cause}" for cause in entry.causes),
            "What may follow from it": ", ".join(entry.explains),
            "Fix": entry.fix,
            "In code": entry.code_line,
            "False alarm": entry.false_alarm,
        }
        for name, text in parts.items():
            if text and text != "-":
                console.print(Text(f"\n{name}", style="bold"))
                console.print(Padding(Text(text), _INDENT, expand=False))
