"""Results as text for a person, legible at 80 columns and without colour.

The frame that all steps share: the verdict's line and the findings. What a step's own lines say is in
`lrtune.cli.summaries`.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from lrtune.cli.blocks import INDENT, columns
from lrtune.cli.details import DETAILS, executions
from lrtune.cli.summaries import SUMMARIES
from lrtune.reports.answers import answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from lrtune.results import Finding, StepResult

COLOURS = {
    "pass": "green",
    "warn": "yellow",
    "fail": "red",
    "error": "red",
    "warning": "yellow",
    "info": "cyan",
}
_FILLING = re.compile(r" +(?=(\x1b\[[0-9;]*m)*$)", re.MULTILINE)  # before the codes that end a colour


def print_text(result: StepResult, quiet: bool, verbose: bool = False) -> None:
    """Print a step's result: verdict, numbers, findings, and a plot where one helps.

    Args:
        result: Of a step or a whole run.
        quiet: One line: the verdict and the answer.
        verbose: What the step looked at in detail, too.
    """
    with printed() as console:
        _headline(console, result, answer(result) if quiet else "")
        if quiet or result.step not in SUMMARIES:
            return
        details = DETAILS.get(result.step) if verbose else None
        more = [*(details(result) if details else []), *(executions(result) if verbose else [])]
        for line in [*SUMMARIES[result.step](result), *more]:
            console.print(Padding(line, INDENT, expand=False))
        if compared := result.details.get("baseline"):
            console.print(Padding(_compared(compared), INDENT, expand=False))
        if more and result.findings:
            console.print()
        for finding in result.findings:
            _print_finding(console, finding)
        console.print()


@contextmanager
def printed() -> Iterator[Console]:
    """Collect what is printed, and write it without the spaces that rich fills its blocks up with."""
    console = Console(highlight=False)
    with console.capture() as captured:
        yield console
    sys.stdout.write(_FILLING.sub("", captured.get()))
    sys.stdout.flush()


def _headline(console: Console, result: StepResult, said: str) -> None:
    verdict = Text(result.verdict.upper(), style=f"bold {COLOURS[result.verdict]}")
    seconds = "from the run directory" if result.reused else f"{result.seconds:.1f} s"
    line = Text.assemble((f"{result.step:<12}", "bold"), " ", verdict, f"  ({seconds})")
    console.print(line.append(f"  {said}") if said else line, soft_wrap=True)


def _compared(rows: list[dict[str, str]]) -> Table:
    """Return what a baseline was compared with: what it holds, what there is now, and what is no more than noise."""
    keys = ("what", "baseline", "now", "allowed")
    return columns(("against", *keys[1:]), [[row[key] for key in keys] for row in rows], left=("against",))


def _print_finding(console: Console, finding: Finding) -> None:
    """Print a finding; what follows from the one above it stands beneath that, and is mended with it."""
    indent = 4 if finding.follows_from else 2
    head = Text.assemble(
        "hence " if finding.follows_from else "",
        (finding.severity, COLOURS[finding.severity]),
        " ",
        (finding.code, "bold"),
    )
    texts = [finding.message]
    if not finding.follows_from:
        texts += [f"Fix: {finding.fix}", f"More: lrtune explain {finding.code}"]
    console.print(Padding(head, (0, 0, 0, indent), expand=False))
    for text in texts:
        console.print(Padding(Text(text), (0, 0, 0, indent + 2), expand=False))
