"""`lrtune report CONFIG_OR_RUN_DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import Common
from lrtune.cli.output import show


def command(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG_OR_RUN_DIR", help="A config, a task, or a run directory.")
    ],
    common: Common,
) -> int:
    """Step 6: one page with all curves and findings."""
    if Path(config).is_dir():
        from lrtune.reporting import report_run_dir

        return show(lambda: report_run_dir(config), common)
    return show(lambda: open_recipe(config, common).step("report"), common)
