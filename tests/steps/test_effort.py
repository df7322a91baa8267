from __future__ import annotations

import pytest

from lrtune.steps.effort import RATES, SLOW, SMALL, USUAL, effort_for


def test_one_bound_decides() -> None:
    """Below it all is tried, from it on the small effort, however long a pass takes."""
    assert effort_for(0.99 * SLOW) is USUAL
    assert effort_for(SLOW) is effort_for(100.0) is SMALL


@pytest.mark.parametrize(
    ("share", "usual", "small"), [(0.04, 9, 5), (0.05, 9, 3), (0.24, 9, 3), (0.25, 4, 2), (1.0, 4, 2)]
)
def test_how_many_rates_go_on(share: float, usual: int, small: int) -> None:
    """The usual effort drops rates after a quarter of the steps, the small one sooner."""
    assert (USUAL.going_on(share), SMALL.going_on(share)) == (usual, small)


def test_both_efforts_look_at_the_same_range() -> None:
    """A rate below or above those of the small effort is none of the usual one's either."""
    assert (SMALL.rates[0], SMALL.rates[-1]) == (RATES[0], RATES[-1])
    assert set(SMALL.rates) < set(USUAL.rates)
