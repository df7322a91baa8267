"""`lrtune check-init CONFIG`."""

from __future__ import annotations

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import Common, ConfigArgument
from lrtune.cli.output import show


def command(config: ConfigArgument, common: Common) -> int:
    """Step 1: judge the loss at initialisation."""
    return show(lambda: open_recipe(config, common).step("check-init"), common)
