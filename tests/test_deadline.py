from __future__ import annotations

import pytest
from programs import Notes

from lrtune.deadline import BudgetSpentError, Deadline


def test_within_the_time_all_is_told() -> None:
    """Bars and notes reach the progress behind, as if there were no deadline."""
    notes = Notes()
    deadline = Deadline(notes, 1000.0)
    with deadline.bar("work", 3) as bar:
        bar.advance()
        bar.extend(2)
        bar.tell("here")
    deadline.note("said")
    deadline.check()
    assert (notes.labels, notes.notes) == (["work"], ["said"])


def test_the_work_ends_where_it_tells_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time the next advance ends it, and no new bar is opened; a note still passes."""
    now = [0.0]
    monkeypatch.setattr("lrtune.deadline.time.monotonic", lambda: now[0])
    notes = Notes()
    deadline = Deadline(notes, 10.0)
    with deadline.bar("work", 3) as bar:
        now[0] = 9.9
        bar.advance()
        now[0] = 10.0
        with pytest.raises(BudgetSpentError):
            bar.advance()
    with pytest.raises(BudgetSpentError), deadline.bar("more", 1):
        pytest.fail("the bar was opened")
    deadline.note("late")
    assert (notes.labels, notes.notes) == (["work"], ["late"])


def test_it_is_not_taken_for_a_fault() -> None:
    """Code that catches every `Exception`, as that of a trial that failed does, lets it through."""
    assert not issubclass(BudgetSpentError, Exception)
