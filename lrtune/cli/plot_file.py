"""`--plot FILE`: the chart of a result as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lrtune.cli.target import check_target
from lrtune.errors import UsageError

if TYPE_CHECKING:
    from lrtune.results import StepResult


def check_plot(name: str) -> None:
    """Refuse a chart that could not be written later, when the work is done.

    Raises:
        UsageError: If its suffix names no format, or nothing can be written there.
    """
    from lrtune.charts.save import SUFFIXES  # takes half a second, which who wants no chart need not wait for

    if Path(name).suffix.lower() not in SUFFIXES:
        raise UsageError(f"--plot: expected a file ending in one of {', '.join(SUFFIXES)}, got {name!r}")
    check_target("--plot", name)


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
