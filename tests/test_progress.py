from __future__ import annotations

import os

import pytest
from programs import Notes

from lrtune.cli.progress import Terminal
from lrtune.progress import OwnProcess


def test_the_own_process_tells() -> None:
    """In the process that made it, bars and notes go through."""
    notes = Notes()
    progress = OwnProcess(notes)
    with progress.bar("reading", 3) as bar:
        bar.advance()
    progress.note("done")
    progress.alarm("away")
    assert (notes.labels, notes.notes) == (["reading"], ["done", "away"])


def test_another_process_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a forked process nothing is said."""
    notes = Notes()
    progress = OwnProcess(notes)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with progress.bar("reading", 3) as bar:
        bar.advance()
    progress.note("done")
    progress.alarm("away")
    assert (notes.labels, notes.notes) == ([], [])


@pytest.mark.parametrize("quiet", [False, True])
def test_who_wants_quiet_hears_alarms_alone(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is waited for would look like a hanging program."""
    terminal = Terminal(quiet)
    terminal.note("done")
    terminal.alarm("away")
    assert capsys.readouterr().err.split() == (["away"] if quiet else ["done", "away"])
