"""`lrtune check CONFIG`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from lrtune.cli.compared import BaselineOption, UpdateOption, check_options, update
from lrtune.cli.opened import open_task
from lrtune.cli.options import Common, ConfigArgument
from lrtune.cli.output import walk
from lrtune.results import StepResult


def command(
    config: ConfigArgument,
    common: Common,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="What is not done by then is skipped, and said so; 120 by default."
        ),
    ] = None,
    baseline: BaselineOption = None,
    update_baseline: UpdateOption = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Do not stop at a step that fails.")
    ] = False,
) -> int:
    """Steps 1 to 3 anew, as a gate of a pipeline.

    Within a time (--budget), and against a baseline where one is given. Nothing is kept unless --run-dir is given.
    """
    check_options(baseline, update_baseline)

    def work(on_step: Callable[[StepResult], None]) -> StepResult:
        from lrtune.checking import BUDGET, checked, repeatable

        opened = open_task(config, common)
        opened = replace(opened, config=repeatable(opened.config))
        if not _keeps(common):  # results of another kind than those that the run directory is for
            opened = replace(opened, config=opened.config.updated(run_dir=None))
        result = checked(
            opened.task,
            opened.config,
            opened.progress,
            budget=BUDGET if budget is None else budget,
            keep_going=keep_going,
            baseline=opened.baseline(baseline, update_baseline),
            on_step=on_step,
            folder=opened.folder,
            command=opened.command,
        )
        update(result, baseline, update_baseline, opened, common.quiet)
        return result

    return walk(work, common)


def _keeps(common: Common) -> bool:
    """Whether the command line itself names a run directory; that of the config belongs to `run`."""
    named = (override.partition("=")[0].strip() for override in common.overrides)
    return common.run_dir is not None or "run_dir" in named
