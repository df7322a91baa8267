"""Results on stdout: one JSON object, or text for a person; and the exit code that follows from the verdict."""

from __future__ import annotations

import json
import os
import sys
import warnings
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

from lrtune.cli.boundary import FAILED, PASSED
from lrtune.cli.plot_file import write_chart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lrtune.cli.options import Common
    from lrtune.results import StepResult

_STDOUT, _STDERR = 1, 2  # file descriptors


def show(work: Callable[[], StepResult], common: Common) -> int:
    """Do the work with the user's own prints kept off stdout, print its result, and return the exit code."""
    with users_prints_on_stderr(common):
        result = work()
    return finish(result, common)


def finish(result: StepResult, common: Common, printed: bool = False) -> int:
    """Print a result, unless that is done, write its chart if one is asked for, and return the exit code."""
    if not printed:
        print_result(result, common)
    if common.plot is not None:
        write_chart(result, common.plot, common.quiet)
    return exit_code(result, common.strict)


def print_result(result: StepResult, common: Common) -> None:
    """Print a result as the options ask."""
    if common.as_json:
        print(json.dumps(result.to_dict(), indent=2, allow_nan=False))
        return
    from lrtune.cli.text import print_text

    print_text(result, common.quiet, common.verbose)


def exit_code(result: StepResult, strict: bool) -> int:
    """Return 1 for a failed check, or with `strict` for a warning, else 0."""
    return FAILED if result.verdict == "fail" or (strict and result.verdict == "warn") else PASSED


@contextmanager
def users_prints_on_stderr(common: Common) -> Iterator[None]:
    """Send what a model or dataset prints to stderr: stdout is for results.

    With `--json` nothing of ours is printed in the meantime, so that the file descriptor can be turned as well: C++
    code and child processes write to it past `sys.stdout`.
    """
    both_open = sys.__stdout__ is not None and sys.__stderr__ is not None
    turned = _descriptor_turned() if common.as_json and both_open else nullcontext()
    with redirect_stdout(sys.stderr), turned, warnings.catch_warnings():
        warnings.showwarning = _shown_once()
        yield


def _shown_once() -> Callable[..., None]:
    """Return what shows each warning once and in a line: a model that warns is built for every member."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
        text = f"{category.__name__}: {message} ({filename}:{lineno})"
        if text not in shown:
            shown.add(text)
            print(text, file=sys.stderr)

    return show


@contextmanager
def _descriptor_turned() -> Iterator[None]:
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        assert sys.__stdout__ is not None
        sys.__stdout__.flush()  # what waits in its buffer belongs to stderr too
        os.dup2(kept, _STDOUT)
        os.close(kept)
