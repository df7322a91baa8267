"""What every command takes: CONFIG and the common options, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, get_type_hints

import typer

from lrtune.cli.boundary import guarded
from lrtune.cli.plot_file import check_target
from lrtune.errors import UsageError

ConfigArgument = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="A YAML file, or a task: file.py:function or package.module:function."
    ),
]


@dataclass(frozen=True)
class Common:
    """The options that all steps share, as the command line gives them."""

    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None
    seed: Annotated[int | None, typer.Option(help="Of initialisation, data order and searches.")] = None
    run_dir: Annotated[str | None, typer.Option(help="Where results are kept.")] = None
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as coarse.epochs=2.")
    ] = field(default_factory=list)
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes; only verdicts.")] = (
        False
    )
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what was looked at in detail, too.")
    ] = False
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the chart of the result: .png, .svg, .html or .json."),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Full tracebacks.")] = False

    def check(self) -> None:
        """Refuse what cannot be done, before any work has been.

        Raises:
            UsageError: If options contradict each other, or there is no writing to `plot`.
        """
        if self.quiet and self.verbose:
            raise UsageError("give at most one of --quiet and --verbose")
        if self.plot is not None:
            check_target(self.plot)


_COMMON = tuple(one.name for one in fields(Common))


def as_typer_command(command: Callable[..., int], resumes: bool = False) -> Callable[..., None]:
    """Return what Typer runs: a `common: Common` parameter becomes its options, the returned code the exit code.

    Args:
        command: Returns the exit code.
        resumes: Whether it goes on where it was interrupted.
    """

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        common = Common(**{name: arguments.pop(name) for name in _COMMON if name in arguments})
        if takes_common:
            arguments["common"] = common
        raise typer.Exit(guarded(lambda: _checked(command, common, arguments), common.debug, resumes))

    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    takes_common = hints.get("common") is Common
    own = [one.replace(annotation=hints[name]) for name, one in parameters.items() if name != "common"]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY) for one in own] + (_common_parameters() if takes_common else [])
    )
    return run


def _checked(command: Callable[..., int], common: Common, arguments: dict[str, Any]) -> int:
    common.check()
    return command(**arguments)


def _common_parameters() -> list[inspect.Parameter]:
    hints = get_type_hints(Common, include_extras=True)
    defaults = Common()
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=getattr(defaults, name), annotation=hints[name]
        )
        for name in _COMMON
    ]
