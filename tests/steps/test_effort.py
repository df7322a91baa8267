from __future__ import annotations

import pytest

from lrtune.steps.effort import RATES, SLOW, SMALL, USUAL, Patience, effort_for, unfinished


def test_one_bound_decides() -> None:
    """Below it all is tried, from it on the small effort, however long a pass takes."""
    assert effort_for(0.99 * SLOW) is USUAL
    assert effort_for(SLOW) is effort_for(100.0) is SMALL


@pytest.mark.parametrize(("share", "usual", "small"), [(0.08, 9, 3), (0.24, 9, 3), (0.25, 4, 2), (1.0, 4, 2)])
def test_how_many_rates_go_on(share: float, usual: int, small: int) -> None:
    """The usual effort drops rates after a quarter of the steps, the small one from the first measurement on."""
    assert (USUAL.going_on(share), SMALL.going_on(share)) == (usual, small)


def test_both_efforts_look_at_the_same_range() -> None:
    """A rate below or above those of the small effort is none of the usual one's either."""
    assert (SMALL.rates[0], SMALL.rates[-1]) == (RATES[0], RATES[-1])
    assert set(SMALL.rates) < set(USUAL.rates)


def test_patience_ends_where_something_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that has passed ends it when it is asked for more, and then for good."""
    now = [0.0]
    monkeypatch.setattr("lrtune.steps.effort.Stopwatch.seconds", lambda self: now[0])
    patience = Patience(10.0)
    now[0] = 9.9
    assert patience.lasts()
    now[0] = 10.0
    assert not patience.ended
    assert not patience.lasts()
    now[0] = 0.0
    assert not patience.lasts()
    assert patience.ended


def test_what_was_cut_short_is_a_warning() -> None:
    """The message says how far the tries came, and what is therefore not known."""
    found = unfinished(25, SMALL.rates, 300, learnt=False)
    assert (found.code, found.severity) == ("out-of-time", "warning")
    assert found.message == (
        "Step 2 ended after 300 s, 25 of 300 steps at 5 rates from 0.0001 to 1: whether the model can learn the sample "
        "is not known."
    )
    assert "a rate has learnt the sample" in unfinished(25, SMALL.rates, 300, learnt=True).message
