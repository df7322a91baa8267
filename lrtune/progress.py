"""What a long computation tells of itself while it runs; the terminal's part of it lives in `cli/`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, amount: int = 1) -> None:
        """Say that `amount` more units are done."""

    def extend(self, amount: int) -> None:
        """Say that there are `amount` more units to do than was thought."""

    def tell(self, text: str) -> None:
        """Say where in the work it is, such as `cell 4 of 15`."""


class Progress(Protocol):
    """Where steps report what they are doing."""

    def bar(self, label: str, total: int) -> AbstractContextManager[Bar]:
        """Open a bar of `total` units; it closes with the `with` block."""

    def note(self, text: str) -> None:
        """Say one line of interest to a person, such as that a stored result is used again."""

    def alarm(self, text: str) -> None:
        """Say one line that even who wants to hear nothing must hear, such as that a server is waited for."""


class _SilentBar:
    def advance(self, amount: int = 1) -> None:
        pass

    def extend(self, amount: int) -> None:
        pass

    def tell(self, text: str) -> None:
        pass


class Silent:
    """Progress that nobody watches: the default of the Python functions."""

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """See `Progress.bar`."""
        yield _SilentBar()

    def note(self, text: str) -> None:
        """See `Progress.note`."""

    def alarm(self, text: str) -> None:
        """See `Progress.alarm`."""
        self.note(text)


class OwnProcess(Silent):
    """Progress of the process that made this; a forked one says nothing, or two would draw on one terminal.

    Args:
        progress: What is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._process = os.getpid()

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Bar]:
        """See `Progress.bar`."""
        own = os.getpid() == self._process
        with self._progress.bar(label, total) if own else super().bar(label, total) as bar:
            yield bar

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        if os.getpid() == self._process:
            self._progress.note(text)

    def alarm(self, text: str) -> None:
        """See `Progress.alarm`."""
        if os.getpid() == self._process:
            self._progress.alarm(text)
