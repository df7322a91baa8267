"""`lrtune overfit CONFIG`."""

from __future__ import annotations

from lrtune.cli.opened import open_recipe
from lrtune.cli.options import Common, ConfigArgument
from lrtune.cli.output import show


def command(config: ConfigArgument, common: Common) -> int:
    """Step 2: learn a few minibatches by heart."""
    return show(lambda: open_recipe(config, common).step("overfit"), common)
