"""`lrtune find-lr CONFIG`."""

from __future__ import annotations

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import Common, ConfigArgument
from lrtune.cli.output import show


def command(config: ConfigArgument, common: Common) -> int:
    """Step 3: find the rate that makes the loss fall."""
    return show(lambda: open_recipe(config, common).step("find-lr"), common)
