from __future__ import annotations

import numpy as np
import pytest

from lrtune.probes.curves.smoothing import moving_average, running_median, window_for


@pytest.mark.parametrize(
    ("count", "window"), [(1, 1), (2, 1), (3, 3), (4, 3), (60, 5), (300, 9), (10_000, 333)]
)
def test_windows_are_odd_and_fit(count: int, window: int) -> None:
    """A thirtieth of the series, odd, 5 where there are as many."""
    assert window_for(count, 1 / 30) == window


def test_a_line_stays_a_line() -> None:
    """The centred mean does not shift a line, but for its ends."""
    line = np.arange(50.0)
    np.testing.assert_allclose(moving_average(line, 7)[3:-3], line[3:-3])


def test_a_wiggle_on_a_large_loss_survives() -> None:
    """The mean of values near 1e12 keeps differences of 1."""
    values = 1e12 + np.tile([0.0, 1.0], 5000)
    assert np.abs(moving_average(values, 4001) - 1e12 - 0.5).max() < 0.01


@pytest.mark.parametrize("window", [1, 3, 5, 9])
def test_the_median_of_a_fall_is_the_fall(window: int) -> None:
    """A monotone series passes the running median as it is, ends included where the window narrows to them."""
    fall = np.exp(-np.arange(30) / 4)
    np.testing.assert_allclose(running_median(fall, window), fall)


def test_a_wide_median_of_a_long_fall_is_nearly_the_fall() -> None:
    """Where only some medians are taken, lines between them stay within a thousandth of a smooth fall."""
    fall = np.exp(-np.arange(20_000) / 4000)
    np.testing.assert_allclose(running_median(fall, 2501), fall, atol=1e-3)


def test_a_spike_does_not_move_the_median() -> None:
    """One value of 1000 among ones leaves ones."""
    values = np.ones(40)
    values[20] = 1000.0
    assert running_median(values, 5).tolist() == [1.0] * 40


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_short_series(count: int) -> None:
    """Series shorter than the window give as many values."""
    values = np.arange(float(count))
    assert len(running_median(values, 5)) == count
    assert len(moving_average(values, 5)) == count
