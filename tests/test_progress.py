from __future__ import annotations

import os
from typing import TYPE_CHECKING

from programs import Notes

from lrtune.progress import OwnProcess

if TYPE_CHECKING:
    import pytest


def test_the_own_process_tells() -> None:
    """In the process that made it, bars and notes go through."""
    notes = Notes()
    progress = OwnProcess(notes)
    with progress.bar("reading", 3) as bar:
        bar.advance()
    progress.note("done")
    assert (notes.labels, notes.notes) == (["reading"], ["done"])


def test_another_process_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a forked process nothing is said."""
    notes = Notes()
    progress = OwnProcess(notes)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with progress.bar("reading", 3) as bar:
        bar.advance()
    progress.note("done")
    assert (notes.labels, notes.notes) == ([], [])
