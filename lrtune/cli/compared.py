"""`--baseline FILE` and `--update-baseline`, of the commands that compare with what was healthy."""

from __future__ import annotations

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


def check_options(baseline: str | None, update_baseline: bool) -> None:
    """Refuse what cannot be done, before any work has been.

    Raises:
        UsageError: If there is no file to update, or no writing to it.
    """
    if update_baseline and baseline is None:
        raise UsageError("--update-baseline: name the file with --baseline FILE")
    if update_baseline and baseline is not None:
        check_target("--baseline", baseline)


def update(result: StepResult, baseline: str | None, update_baseline: bool, opened: Opened) -> None:
    """Write a baseline where one is asked for; a training that fails, or was not measured whole, makes none."""
    if not update_baseline or baseline is None:
        return
    from lrtune.baseline_file import write_baseline
    from lrtune.checking import other_seeds

    if result.verdict == "fail" or result.summary.get("skipped"):
        why = "a step failed" if result.verdict == "fail" else f"{result.summary['skipped'][0]} was skipped"
        opened.progress.note(f"{baseline}: not written, because {why}")
        return
    others = other_seeds(opened.task, opened.config, opened.progress, opened.folder)
    write_baseline(baseline, [result.steps, *others], opened.task, opened.config)
    opened.progress.note(f"wrote the baseline {baseline}")
