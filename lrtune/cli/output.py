"""Where a result goes: stdout, a file, or both a file and a person's eyes; and the exit code of its verdict."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtune.atomic_file import write_atomically
from lrtune.cli.boundary import FAILED, PASSED
from lrtune.cli.formats import rendered
from lrtune.cli.plot_file import write_chart
from lrtune.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from lrtune.cli.options import Common
    from lrtune.results import StepResult

_STDOUT, _STDERR = 1, 2  # file descriptors


def show(work: Callable[[], StepResult], common: Common) -> int:
    """Do the work with the user's own prints kept off stdout, give its result out, and return the exit code."""
    with users_prints_on_stderr(common):
        result = work()
    tell_step(result, common, sys.stdout)
    return finish(result, common)


def walk(work: Callable[[Callable[[StepResult], None]], StepResult], common: Common) -> int:
    """Do the work of several steps, telling a person each as soon as it is done; return the exit code.

    Args:
        work: Takes what each step's result is told to, and returns the whole.
        common: The options.
    """
    stdout = sys.stdout
    with users_prints_on_stderr(common):
        result = work(lambda step: tell_step(step, common, stdout))
    return finish(result, common)


def tell_step(result: StepResult, common: Common, stdout: TextIO) -> None:
    """Print a step's text for a person: on stdout, or on stderr where a file gets another format than text."""
    if common.only_text:
        reader = stdout
    elif common.output is not None and common.form != "text" and not common.quiet:
        reader = sys.stderr
    else:
        return
    from lrtune.cli.text import print_text

    with redirect_stdout(reader):
        print_text(result, common.quiet, common.verbose)


def finish(result: StepResult, common: Common) -> int:
    """Give a result out as the options ask, beyond what a person has been told; return the exit code.

    Raises:
        UsageError: If a file can no longer be written.
    """
    if common.output is not None:
        write_output(rendered(result, common), f"the result of {result.step}", common)
    elif not common.only_text:
        sys.stdout.write(rendered(result, common))
        sys.stdout.flush()
    if common.plot is not None:
        write_chart(result, common.plot, common.quiet)
    if common.only_text and not common.quiet:
        from lrtune.cli.hints import print_hints

        print_hints(result, common)
    return exit_code(result, common.strict)


def exit_code(result: StepResult, strict: bool) -> int:
    """Return 1 for a failed check, or with `strict` for a warning, else 0."""
    return FAILED if result.verdict == "fail" or (strict and result.verdict == "warn") else PASSED


def write_output(text: str, what: str, common: Common) -> None:
    """Write a text to the file of `--output`, and say so on stderr.

    Args:
        text: Of the whole file.
        what: It is.
        common: The options.

    Raises:
        UsageError: If the file can no longer be written.
    """
    from lrtune.cli.progress import Terminal

    assert common.output is not None
    try:
        write_atomically(Path(common.output), text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UsageError(f"--output: cannot write {common.output}: {error.strerror or error}") from error
    Terminal(common.quiet).note(f"wrote {what} to {common.output} ({common.form})")


@contextmanager
def users_prints_on_stderr(common: Common) -> Iterator[None]:
    """Send what a model or dataset prints to stderr: stdout is for results.

    Where nothing of ours is printed in the meantime, the file descriptor is turned as well: C++ code and child
    processes write to it past `sys.stdout`.
    """
    both_open = sys.__stdout__ is not None and sys.__stderr__ is not None
    turned = _descriptor_turned() if not common.only_text and both_open else nullcontext()
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
