"""`lrtune grid --coarse CONFIG` and `lrtune grid --refine CONFIG`."""

from __future__ import annotations

from typing import Annotated

import typer

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import Common, ConfigArgument, SaveBestOption
from lrtune.cli.output import show
from lrtune.errors import UsageError
from lrtune.exports import check_weights_can_be_saved


def command(
    config: ConfigArgument,
    common: Common,
    coarse: Annotated[bool, typer.Option("--coarse", help="Step 4: a few rates times a few decays.")] = False,
    refine: Annotated[bool, typer.Option("--refine", help="Step 5: a search around the best cells.")] = False,
    more: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="With --refine: N trials more, in ranges moved by what was found."
        ),
    ] = None,
    save_best: SaveBestOption = False,
) -> int:
    """Steps 4 and 5: grids of rate and weight decay."""
    if coarse == refine:
        raise UsageError("grid: give exactly one of --coarse and --refine")
    if more is not None and not refine:
        raise UsageError("grid: --more adds trials to the refined search: give it with --refine")
    if save_best:
        check_weights_can_be_saved()
    step = "coarse-grid" if coarse else "refine-grid"
    return show(lambda: open_recipe(config, common).step(step, more or 0, save_best), common)
