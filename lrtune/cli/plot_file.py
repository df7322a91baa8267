"""`--plot FILE`: the chart of a result as a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lrtune.errors import UsageError

if TYPE_CHECKING:
    from lrtune.results import StepResult


def check_target(name: str) -> None:
    """Refuse a file that could not be written later, when the work is done.

    Raises:
        UsageError: If its suffix names no format, or nothing can be written there.
    """
    from lrtune.charts.save import SUFFIXES  # takes half a second, which who wants no chart need not wait for

    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot: expected a file ending in one of {', '.join(SUFFIXES)}, got {name!r}")
    if reason := _obstacle(path):
        raise UsageError(f"--plot: cannot write {name}: {reason}")


def _obstacle(path: Path) -> str | None:
    """Return why a file cannot be written, None where it can; what is there stays as it is."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.exists():
        return None if os.access(path, os.W_OK) else "permission denied"
    try:
        with tempfile.TemporaryFile(dir=path.parent):  # a read-only disk shows itself in nothing else
            return None
    except OSError as error:
        return error.strerror or str(error)


def write_chart(result: StepResult, name: str, quiet: bool) -> None:
    """Draw a result, write the chart, and say so on stderr.

    Raises:
        UsageError: If the file can no longer be written.
    """
    from lrtune.charts import chart, save
    from lrtune.cli.progress import Terminal

    drawn = chart(result)
    try:
        path = save(drawn, name)
    except OSError as error:
        raise UsageError(f"--plot: cannot write {name}: {error.strerror or error}") from error
    Terminal(quiet).note(f"wrote the chart of {result.step} to {path}")
