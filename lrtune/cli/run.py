"""`lrtune run CONFIG`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import Common, ConfigArgument
from lrtune.cli.output import finish, print_result, users_prints_on_stderr

if TYPE_CHECKING:
    from lrtune.results import StepResult


def command(
    config: ConfigArgument,
    common: Common,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Do not stop at a step that fails.")
    ] = False,
) -> int:
    """All six steps, each fed by the one before."""
    stdout = sys.stdout

    def on_step(result: StepResult) -> None:
        """Show a step as soon as it is done: the last may be minutes away."""
        if not common.as_json:
            with redirect_stdout(stdout):
                print_result(result, common)

    with users_prints_on_stderr(common):
        result = open_recipe(config, common).run(keep_going, on_step)
    return finish(result, common, printed=not common.as_json)
