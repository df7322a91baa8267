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
    """Steps 1 to 3 anew, for a pipeline: within a time, against a baseline."""
    check_options(baseline, update_baseline)

    def work(on_step: Callable[[StepResult], None]) -> StepResult:
        from lrtune.checking import BUDGET, checked, repeatable

        opened = open_task(config, common)
        opened = replace(opened, config=repeatable(opened.config))
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
        update(result, baseline, update_baseline, opened)
        return result

    return walk(work, common)
