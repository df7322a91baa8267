"""What a result can be written as: one function a format, from the result to its text."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from lrtune.cli.place import place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.cli.options import Common
    from lrtune.results import StepResult


def rendered(result: StepResult, common: Common) -> str:
    """Return a result in the format that the options ask for, ending with a line break."""
    return _RENDERERS[common.form](result, common)


def _text(result: StepResult, common: Common) -> str:
    from lrtune.cli.text import print_text

    with redirect_stdout(io.StringIO()) as written:
        for one in result.steps or [result]:
            print_text(one, common.quiet, common.verbose)
    return written.getvalue()


def _json(result: StepResult, common: Common) -> str:
    return json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"


def _junit(result: StepResult, common: Common) -> str:
    from lrtune.reports.junit import render

    return render(result, common.strict)


def _github(result: StepResult, common: Common) -> str:
    from lrtune.reports.github import commands, summary

    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(Path(file), lambda written: summary(result, common.strict, written))
    return commands(result, common.strict, place_of(common))


def _append(path: Path, text: Callable[[int], str]) -> None:
    """Append to the summary of the job, a file that GitHub names; what the job has written there stays.

    Args:
        path: The file.
        text: Takes the bytes that stand there already.
    """
    try:
        written = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace") as lines:
            lines.write(text(written))
    except OSError as error:  # the result itself is not to be lost for it
        reason = error.strerror or error
        print(f"lrtune: GITHUB_STEP_SUMMARY: cannot write {path}: {reason}", file=sys.stderr)


# A new format: one function above, one line here and its name in `lrtune.cli.options.FORMATS`.
_RENDERERS: Mapping[str, Callable[[StepResult, Common], str]] = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "github": _github,
}
