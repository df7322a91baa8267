from __future__ import annotations

import math

import numpy as np
import pytest

from lrtune.probes.curves.validation import validation_of


def test_a_turn() -> None:
    """The lowest is the mean around the turn, the rise that of the last fifth above it."""
    train = np.linspace(3, 0, 11)
    val = np.array([3.0, 2, 1, 1, 1, 1.5, 2, 2.5, 3, 3.5, 4])
    seen = validation_of(train, val)
    assert seen.lowest == pytest.approx(1.0)
    assert seen.at == 3
    assert seen.rise == pytest.approx(3.75 - 1.0)
    assert seen.train_rise == pytest.approx(0.15 - 2.1)
    assert seen.gap == pytest.approx(3.75 - 0.15)


def test_what_carries_over() -> None:
    """Validation that falls by half of what training falls carries a half."""
    seen = validation_of(np.array([2.0, 0, 0, 0, 0, 0]), np.array([2.0, 1, 1, 1, 1, 1]))
    assert seen.carried == pytest.approx(0.5)


def test_no_share_where_nothing_is_learnt() -> None:
    """Where training does not fall there is nothing to carry over."""
    assert math.isnan(validation_of(np.ones(6), np.ones(6)).carried)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_evaluations(count: int) -> None:
    """Two are enough to measure."""
    seen = validation_of(np.linspace(2, 1, count), np.linspace(2, 1, count))
    assert seen.gap == pytest.approx(0.0)
    assert seen.carried == pytest.approx(1.0)


@pytest.mark.parametrize(("harder", "opened"), [(0.0, 0.5), (0.2, 0.5), (-0.2, 0.5)])
def test_a_gap_that_was_there_from_the_first_on_has_not_opened(harder: float, opened: float) -> None:
    """Examples that are harder add to the gap at the end, and nothing to what of it opened."""
    seen = validation_of(np.array([2.0, 1, 0, 0, 0]), harder + np.array([2.0, 1.25, 0.5, 0.5, 0.5]))
    assert seen.gap == pytest.approx(0.5 + harder)
    assert seen.opened == pytest.approx(opened)
