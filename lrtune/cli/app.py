"""The table of commands, and the program made of it."""

from __future__ import annotations

from typing import Annotated

import typer

from lrtune.cli import check, check_init, explain, find_lr, grid, init, overfit, report, run, worker
from lrtune.cli.boundary import INTERRUPTED, exit_code_of
from lrtune.cli.options import as_typer_command
from lrtune.version import __version__

# A new command: one file, one line here.
COMMANDS = (
    ("run", run.command),
    ("check", check.command),
    ("check-init", check_init.command),
    ("overfit", overfit.command),
    ("find-lr", find_lr.command),
    ("grid", grid.command),
    ("worker", worker.command),
    ("report", report.command),
    ("init", init.command),
    ("explain", explain.command),
)
_FORMATS = {"report": report.FORMATS}  # what a command can write besides what all of them can
_RESUMING = ("run", "grid", "worker")  # those that keep what is finished


def make_app() -> typer.Typer:
    """Return the Typer application."""
    app = typer.Typer(
        name="lrtune",
        help="Is the training wired right, and which learning rate and weight decay? Six steps, in minutes.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )
    app.callback()(_program)
    for name, command in COMMANDS:
        app.command(name)(as_typer_command(command, name in _RESUMING, _FORMATS.get(name, ())))
    return app


def run_app() -> int:
    """Parse the command line and run it; return the exit code."""
    try:
        make_app()(standalone_mode=True)
    except SystemExit as error:
        return exit_code_of(error)
    except KeyboardInterrupt:  # before a command had begun
        return INTERRUPTED
    return 0


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lrtune {__version__}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
