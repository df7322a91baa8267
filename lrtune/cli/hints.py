"""What a person wants to know after a result: how long it took in all, and which command comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.cli.clock import loading, waited
from lrtune.cli.progress import Terminal
from lrtune.storage import shown_command

if TYPE_CHECKING:
    from lrtune.cli.options import Common
    from lrtune.results import StepResult

# The recipe's order, as commands.
_NEXT = {
    "check-init": ("overfit",),
    "overfit": ("find-lr",),
    "find-lr": ("grid", "--coarse"),
    "coarse-grid": ("grid", "--refine"),
    "refine-grid": ("report",),
    "check": ("run",),
}


def print_hints(result: StepResult, common: Common) -> None:
    """Say on stderr what is not part of the result."""
    terminal = Terminal()
    loaded = loading()
    of_it = "" if loaded is None else f", {loaded:.1f} s of it loading"
    terminal.note(f"{waited():.1f} s in all{of_it}")
    command = next_command(result, common)
    if command:
        terminal.note(f"next: {command}")


def next_command(result: StepResult, common: Common) -> str:
    """Return the command of the recipe that follows; empty after a failure, and after the last step."""
    if result.verdict == "fail" or result.step not in _NEXT or common.argument is None:
        return ""
    kept = [part for override in common.overrides for part in ("--set", override)]
    given = (("--device", common.device), ("--seed", common.seed), ("--run-dir", common.run_dir))
    kept += [part for option, value in given if value is not None for part in (option, str(value))]
    return shown_command(["lrtune", *_NEXT[result.step], common.argument, *kept])
