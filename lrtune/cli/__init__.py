"""The command line: one file a command. The only place that imports typer and rich.

Nothing here imports torch until a command has been chosen and its arguments parsed.
"""

from __future__ import annotations


def main() -> int:
    """Run `lrtune`; return its exit code."""
    from lrtune.cli.app import run_app

    return run_app()
