from __future__ import annotations

import math

import numpy as np
import pytest

from lrtune.probes.curves.trend import last_part, trend_of


def test_a_line_falls_by_its_height() -> None:
    """From 5 to 2 the drop is 3, exactly, and it is clear."""
    trend = trend_of(np.linspace(5, 2, 8))
    assert trend.drop == pytest.approx(3.0)
    assert trend.error == pytest.approx(0.0, abs=1e-12)
    assert trend.falls
    assert not trend.rises


def test_a_constant_does_neither() -> None:
    """No drop, no error, no trend."""
    trend = trend_of(np.full(6, 2.0))
    assert (trend.drop, trend.falls, trend.rises) == (0.0, False, False)


def test_one_value_has_no_trend() -> None:
    """The error of what cannot be told is infinite."""
    assert trend_of(np.array([1.0])).error == math.inf


def test_the_error_is_the_spread_of_drops() -> None:
    """Over many draws of noise the drop scatters as its error says."""
    random = np.random.default_rng(0)
    trends = [trend_of(np.linspace(1, 0, 30) + 0.2 * random.normal(size=30)) for _ in range(400)]
    assert np.std([trend.drop for trend in trends]) == pytest.approx(
        np.mean([t.error for t in trends]), rel=0.15
    )
    assert np.mean([trend.drop for trend in trends]) == pytest.approx(30 / 29 * 29 / 30, rel=0.05)


def test_the_last_third() -> None:
    """A third of the values, three at least."""
    assert last_part(np.arange(15.0)).tolist() == [10, 11, 12, 13, 14]
    assert last_part(np.arange(4.0)).tolist() == [1, 2, 3]
    assert last_part(np.arange(2.0)).tolist() == [0, 1]
