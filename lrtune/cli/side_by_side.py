"""`lrtune report A B`: two run directories, for a person, a program or a page."""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lrtune.cli.blocks import INDENT
from lrtune.cli.boundary import PASSED
from lrtune.cli.output import write_output
from lrtune.cli.progress import Terminal
from lrtune.cli.text import printed
from lrtune.errors import RunDirError, UsageError

if TYPE_CHECKING:
    from lrtune.cli.options import Common
    from lrtune.reports.compare import Comparison, Run

_FORMS = ("text", "json", "html", "md")
_STYLES = {"appeared": "yellow", "vanished": "green", "fail": "red", "warn": "yellow", "pass": "green"}


def compare(a: str, b: str, common: Common, tensorboard: str | None) -> int:
    """Set two run directories side by side; return the exit code, which is 0 whatever they hold.

    Raises:
        RunDirError: If either is no run directory.
        UsageError: If the options ask for what a comparison has not.
    """
    _check(a, b, common, tensorboard)
    started = time.perf_counter()
    from lrtune.reporting import results_of
    from lrtune.reports.compare import Run
    from lrtune.reports.compare import compare as compared

    names, say = _names(a, b), Terminal(common.quiet).note
    sides = [
        results_of(path, lambda text, name=name: say(f"{name}: {text}"))  # type: ignore[misc]
        for path, name in zip((a, b), names, strict=True)
    ]
    runs = [
        Run(name, side.results, side.context, side.made_from) for name, side in zip(names, sides, strict=True)
    ]
    comparison = compared(*runs)
    if common.form == "text" and common.output is None:
        print_comparison(comparison)
        return PASSED
    seconds = time.perf_counter() - started
    text = _text(comparison, runs, common.form, seconds)
    if common.output is not None:
        write_output(text, "the comparison", common)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return PASSED


def _check(a: str, b: str, common: Common, tensorboard: str | None) -> None:
    from lrtune.reporting import is_run_dir

    wrong = [path for path in (a, b) if not is_run_dir(path)]
    if wrong:
        raise RunDirError(
            "report with two arguments compares two run directories; "
            + "; ".join(f"{path}: {_what_is(path)}" for path in wrong)
        )
    if common.form not in _FORMS:
        raise UsageError(f"--format: a comparison is one of {', '.join(_FORMS)}, got {common.form!r}")
    for option, value in (("--plot", common.plot), ("--tensorboard", tensorboard)):
        if value is not None:
            raise UsageError(f"{option}: takes one run directory, got two")
    if common.form == "html" and common.output is None:
        raise UsageError("--format html of a comparison is a file: name it, such as --output compare.html")


def _what_is(path: str) -> str:
    place = Path(path)
    if not place.exists():
        return "there is no such folder"
    return "is a file" if place.is_file() else "holds no result of lrtune"


def _names(a: str, b: str) -> list[str]:
    """Return the directories' last parts where these tell them apart, else the paths."""
    short = [Path(path).resolve().name for path in (a, b)]
    if short[0] != short[1]:
        return short
    return [a, b] if a != b else [a, f"{b} (the same)"]


def _text(comparison: Comparison, runs: list[Run], form: str, seconds: float) -> str:
    if form == "json":
        return json.dumps(comparison.to_dict(seconds), indent=2, allow_nan=False) + "\n"
    from lrtune.reports.compare_forms import compared_html, compared_markdown

    if form == "html":
        return compared_html(comparison, runs)
    if form == "md":
        return compared_markdown(comparison)
    with redirect_stdout(io.StringIO()) as written:
        print_comparison(comparison)
    return written.getvalue()


def print_comparison(comparison: Comparison) -> None:
    """Print what differs, one part under the other, so that it fits any width."""
    from lrtune.reports.compare_forms import tables

    with printed() as console:
        console.print(Text.assemble((comparison.a, "bold"), " against ", (comparison.b, "bold")))
        for title, columns, rows in tables(comparison):
            console.print(Text(title, style="bold"))
            console.print(Padding(_block(columns, rows) if rows else Text("none"), INDENT, expand=False))


def _block(columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return table
