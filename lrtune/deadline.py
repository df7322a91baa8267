"""A budget of time for work that tells its progress: the work ends where it next does so after the time is up."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.progress import Bar, Progress


class BudgetSpentError(BaseException):
    """The time is up. No `Exception`: like an interrupt, it is not to be taken for a fault of the work."""


class Deadline:
    """Progress that ends the work when its time is up.

    Args:
        progress: Told what is told.
        seconds: From now on.
    """

    def __init__(self, progress: Progress, seconds: float) -> None:
        self._progress = progress
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise `BudgetSpentError` if the time is up."""
        if time.monotonic() >= self._end:
            raise BudgetSpentError

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """See `lrtune.progress.Progress.bar`."""
        self.check()
        with self._progress.bar(label, total) as bar:
            yield _CheckedBar(bar, self)

    def note(self, text: str) -> None:
        """See `lrtune.progress.Progress.note`."""
        self._progress.note(text)

    def alarm(self, text: str) -> None:
        """See `lrtune.progress.Progress.alarm`."""
        self._progress.alarm(text)


class _CheckedBar:
    def __init__(self, bar: Bar, deadline: Deadline) -> None:
        self._bar = bar
        self._deadline = deadline

    def advance(self, amount: int = 1) -> None:
        self._bar.advance(amount)
        self._deadline.check()

    def extend(self, amount: int) -> None:
        self._bar.extend(amount)

    def tell(self, text: str) -> None:
        self._bar.tell(text)
