"""Progress in the terminal: bars for what lasts, notes for what matters; both on stderr."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.progress import Bar

_PATIENCE = 0.7  # seconds before a bar appears: what is over by then needs none


class Terminal:
    """Progress on stderr; bars only where a person looks on.

    Args:
        quiet: Say nothing but alarms.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """See `lrtune.progress.Progress.bar`."""
        live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            # Asked of the stream itself: pipelines that force colours do not want a cursor that moves.
            disable=self._quiet or not sys.stderr.isatty(),
        )
        bar = _Delayed(live, label, total)
        try:
            yield bar
        finally:
            live.stop()

    def note(self, text: str) -> None:
        """See `lrtune.progress.Progress.note`."""
        if not self._quiet:
            self.alarm(text)

    def alarm(self, text: str) -> None:
        """See `lrtune.progress.Progress.alarm`."""
        self._console.print(text, style="dim", markup=False)


class _Delayed:
    def __init__(self, live: Progress, label: str, total: int) -> None:
        self._live = live
        self._label = label
        self._task = live.add_task(label, total=total)
        self._total = total
        self._since = time.monotonic()
        self._started = False

    def advance(self, amount: int = 1) -> None:
        if not self._started and time.monotonic() - self._since > _PATIENCE:
            self._started = True
            self._live.start()
        self._live.advance(self._task, amount)

    def extend(self, amount: int) -> None:
        self._total += amount
        self._live.update(self._task, total=self._total)

    def tell(self, text: str) -> None:
        self._live.update(self._task, description=f"{self._label}, {text}")
