"""`lrtune run CONFIG`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from lrtune.cli.compared import BaselineOption, UpdateOption, check_options, update
from lrtune.cli.opened import open_task
from lrtune.cli.options import Common, ConfigArgument, SaveBestOption
from lrtune.cli.output import walk
from lrtune.exports import check_weights_can_be_saved
from lrtune.results import STEPS, StepResult


def command(
    config: ConfigArgument,
    common: Common,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Do not stop at a step that fails.")
    ] = False,
    baseline: BaselineOption = None,
    update_baseline: UpdateOption = False,
    save_best: SaveBestOption = False,
) -> int:
    """All six steps, each fed by the one before."""
    check_options(baseline, update_baseline)
    if save_best:
        check_weights_can_be_saved()

    def work(on_step: Callable[[StepResult], None]) -> StepResult:
        opened = open_task(config, common)
        known = opened.baseline(baseline, update_baseline)
        if known is None:
            result = opened.recipe().run(keep_going, on_step, save_best=save_best)
        else:
            if left_out := known.left_out(STEPS):
                opened.progress.note(left_out)
            result = opened.recipe().run(keep_going, on_step, known.compared, save_best)
        update(result, baseline, update_baseline, opened, common.quiet)
        return result

    return walk(work, common)
