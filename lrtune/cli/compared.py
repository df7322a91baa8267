"""`--baseline FILE` and `--update-baseline`, of the commands that compare with what was healthy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lrtune.cli.target import check_target
from lrtune.errors import UsageError

if TYPE_CHECKING:
    from lrtune.cli.opened import Opened
    from lrtune.results import StepResult

BaselineOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Compare with this committed result; what moved beyond noise fails."),
]
UpdateOption = Annotated[
    bool, typer.Option("--update-baseline", help="Write the result to --baseline FILE instead of comparing.")
]

_MOVED = ("regression-", "better-than-baseline")


def check_options(baseline: str | None, update_baseline: bool) -> None:
    """Refuse what cannot be done, before any work has been.

    Raises:
        UsageError: If there is no file to update, or no writing to it.
    """
    if update_baseline and baseline is None:
        raise UsageError("--update-baseline: name the file with --baseline FILE")
    if update_baseline and baseline is not None:
        check_target("--baseline", baseline)


def update(
    result: StepResult, baseline: str | None, update_baseline: bool, opened: Opened, quiet: bool
) -> None:
    """Write a baseline where one is asked for; a training that fails, or was not measured whole, makes none."""
    if baseline is None:
        return
    if not update_baseline:
        if quiet:
            _say(_in_a_line(result))
        return
    from lrtune.baseline_file import write_baseline
    from lrtune.checking import other_seeds

    if result.verdict == "fail" or result.summary.get("skipped"):
        why = "a step failed" if result.verdict == "fail" else f"{result.summary['skipped'][0]} was skipped"
        _say(f"{baseline}: not written, because {why}")
        return
    others = other_seeds(opened.task, opened.config, opened.progress, opened.folder)
    write_baseline(baseline, [result.steps, *others], opened.task, opened.config)
    _say(f"wrote the baseline {baseline}")


def _in_a_line(result: StepResult) -> str:
    """Return how many values were compared and which have moved: with --quiet there is no table of them."""
    rows = [row for step in result.steps for row in step.details.get("baseline") or []]
    moved = [found.code for found in result.findings if found.code.startswith(_MOVED)]
    count = f"{len(rows)} value{'' if len(rows) == 1 else 's'} compared"
    return f"baseline: {count}, {', '.join(moved) if moved else 'none moved'}"


def _say(text: str) -> None:
    """Say what --quiet does not silence: what became of a file that was asked for."""
    print(text, file=sys.stderr)
