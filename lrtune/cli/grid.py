"""`lrtune grid --coarse CONFIG` and `lrtune grid --refine CONFIG`."""

from __future__ import annotations

from typing import Annotated

import typer

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import Common, ConfigArgument
from lrtune.cli.output import show
from lrtune.errors import UsageError


def command(
    config: ConfigArgument,
    common: Common,
    coarse: Annotated[bool, typer.Option("--coarse", help="Step 4: a few rates times a few decays.")] = False,
    refine: Annotated[bool, typer.Option("--refine", help="Step 5: a search around the best cells.")] = False,
) -> int:
    """Steps 4 and 5: grids of rate and weight decay."""
    if coarse == refine:
        raise UsageError("grid: give exactly one of --coarse and --refine")
    step = "coarse-grid" if coarse else "refine-grid"
    return show(lambda: open_recipe(config, common).step(step), common)
