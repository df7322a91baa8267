"""What every command takes: CONFIG and the common options, declared once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, get_type_hints

import typer

from lrtune.cli.boundary import guarded
from lrtune.cli.plot_file import check_plot
from lrtune.cli.target import check_target
from lrtune.errors import UsageError, did_you_mean

ConfigArgument = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG", help="A YAML file, or a task: file.py:function or package.module:function."
    ),
]

SaveBestOption = Annotated[
    bool, typer.Option("--save-best", help="Write the best trial's weights: best.safetensors.")
]

FORMATS = ("text", "json", "junit", "github")  # what every step can be written as, see `lrtune.cli.formats`
FOLDERS = ("png", "svg")  # forms of a report that are a folder of files
_NO_OPTION = {"option": False}


@dataclass(frozen=True)
class Common:
    """The options that all steps share, as the command line gives them.

    `argument` is no option but the command's CONFIG, None where it takes none.
    """

    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None
    seed: Annotated[int | None, typer.Option(help="Of initialisation, data order and searches.")] = None
    run_dir: Annotated[str | None, typer.Option(help="Where results are kept.")] = None
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as coarse.epochs=2.")
    ] = field(default_factory=list)
    as_json: Annotated[
        bool, typer.Option("--json", help="Short for --format json: one object on stdout.")
    ] = False
    output_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT")  # its help: the formats of each command
    ] = None
    output: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the result there; what is said for people goes to stderr."),
    ] = None
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, no notes; one line a step: verdict, answer.")
    ] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print what was looked at in detail, too.")
    ] = False
    plot: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the chart of the result: .png, .svg, .html or .json."),
    ] = None
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Full tracebacks.")] = False
    argument: str | None = field(default=None, metadata=_NO_OPTION)

    @property
    def form(self) -> str:
        """What the result is written as."""
        given = "json" if self.as_json else "text"
        return given if self.output_format is None else self.output_format

    @property
    def only_text(self) -> bool:
        """Whether stdout is for a person: text, not sent to a file."""
        return self.form == "text" and self.output is None

    def check(self, formats: Sequence[str] = ()) -> None:
        """Refuse what cannot be done, before any work has been.

        Args:
            formats: What the command can write besides `FORMATS`.

        Raises:
            UsageError: If options contradict each other, or there is no writing to `plot` or `output`.
        """
        known = (*FORMATS, *formats)
        if self.quiet and self.verbose:
            raise UsageError("give at most one of --quiet and --verbose")
        if self.form not in known:
            hint = did_you_mean(self.form, known)
            raise UsageError(f"--format: expected one of {', '.join(known)}, got {self.form!r}{hint}")
        if self.as_json and self.form != "json":
            raise UsageError(f"give at most one of --json and --format {self.form}")
        if self.plot is not None:
            check_plot(self.plot)
        if self.output is not None and self.form not in FOLDERS:
            check_target("--output", self.output)


_COMMON = tuple(one.name for one in fields(Common) if one.metadata != _NO_OPTION)


def as_typer_command(
    command: Callable[..., int], resumes: bool = False, formats: Sequence[str] = ()
) -> Callable[..., None]:
    """Return what Typer runs: a `common: Common` parameter becomes its options, the returned code the exit code.

    Args:
        command: Returns the exit code.
        resumes: Whether it goes on where it was interrupted.
        formats: What it can write besides `FORMATS`.
    """

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        given = (
            _COMMON if takes_common else ()
        )  # else a command's own option may have the name of one of them
        common = Common(**{name: arguments.pop(name) for name in given if name in arguments})
        argument = arguments.get("config")
        common = replace(common, argument=argument if isinstance(argument, str) else None)
        if takes_common:
            arguments["common"] = common

        def work() -> int:
            common.check(formats)
            return command(**arguments)

        raise typer.Exit(guarded(work, common.debug, resumes))

    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    takes_common = hints.get("common") is Common
    own = [one.replace(annotation=hints[name]) for name, one in parameters.items() if name != "common"]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY) for one in own]
        + (_common_parameters(formats) if takes_common else [])
    )
    return run


def _common_parameters(formats: Sequence[str]) -> list[inspect.Parameter]:
    hints = get_type_hints(Common, include_extras=True)
    *others, last = (*FORMATS, *formats)
    listed = f"{', '.join(others)} or {last}."
    hints["output_format"] = Annotated[str | None, typer.Option("--format", metavar="FORMAT", help=listed)]
    defaults = Common()
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=getattr(defaults, name), annotation=hints[name]
        )
        for name in _COMMON
    ]
