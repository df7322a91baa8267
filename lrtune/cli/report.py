"""`lrtune report CONFIG_OR_RUN_DIR [OTHER_RUN_DIR]`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import FOLDERS, Common
from lrtune.cli.output import finish, tell_step, users_prints_on_stderr
from lrtune.cli.report_forms import FORMS, check_folder, write_events, write_form
from lrtune.cli.side_by_side import compare
from lrtune.results import StepResult

FORMATS = FORMS  # besides those that every command can write


def command(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG_OR_RUN_DIR", help="A config, a task, or a run directory.")
    ],
    common: Common,
    other: Annotated[
        str | None,
        typer.Argument(metavar="OTHER_RUN_DIR", help="A second run directory: both are set side by side."),
    ] = None,
    tensorboard: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Write scalars and hyperparameters for TensorBoard, too."),
    ] = None,
) -> int:
    """Step 6: one page with all curves and findings; or what differs between two runs.

    Further formats: html, md, and png or svg (a folder of charts; --output names it).
    """
    if other is not None:
        return compare(config, other, common, tensorboard)
    if common.form in FOLDERS and common.output is not None:
        check_folder(common.output)
    if tensorboard is not None:
        from lrtune.reports.tensorboard import check_target

        check_target(Path(tensorboard))
    with users_prints_on_stderr(common):
        result = _reported(config, common)
    if tensorboard is not None:
        write_events(result, tensorboard, common)
    if common.form in FORMS:
        return write_form(result, common)
    tell_step(result, common, sys.stdout)
    return finish(result, common)


def _reported(config: str, common: Common) -> StepResult:
    if Path(config).is_dir():
        from lrtune.reporting import report_run_dir

        return report_run_dir(config, shlex.join(["lrtune", *sys.argv[1:]]))
    return open_recipe(config, common).step("report")
