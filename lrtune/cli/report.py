"""`lrtune report CONFIG_OR_RUN_DIR [OTHER_RUN_DIR]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import FOLDERS, Common
from lrtune.cli.output import finish, tell_step, users_prints_on_stderr
from lrtune.cli.report_forms import FORMS, check_folder, write_events, write_form, written
from lrtune.cli.side_by_side import compare
from lrtune.errors import ConfigError
from lrtune.results import StepResult
from lrtune.storage import shown_command

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
    """Step 6: a page of all curves, or two runs compared.

    Given a config or a task, the coarse grid (and the steps before it) is trained first where it is missing or stale;
    given a run directory, nothing is trained. png and svg are a folder of charts; --output names it.
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
    if tensorboard is not None and common.only_text:
        return written(result, common)
    tell_step(result, common, sys.stdout)
    return finish(result, common)


def _reported(config: str, common: Common) -> StepResult:
    if Path(config).is_dir():
        from lrtune.cli.progress import Terminal
        from lrtune.reporting import report_run_dir

        return report_run_dir(config, shown_command(["lrtune", *sys.argv[1:]]), Terminal(common.quiet).note)
    if ":" not in config and not Path(config).exists():
        raise ConfigError(
            f"{config}: no such file or folder; CONFIG_OR_RUN_DIR is a YAML file, a task such as model.py:make_task, "
            "or the run directory of an earlier lrtune"
        )
    return open_recipe(config, common).step("report")
