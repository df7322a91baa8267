from __future__ import annotations

import numpy as np
import pytest

from lrtune.charts.series import evenly, known, moving_average, points_each, thin, window_for


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [401, 1000, 25_000])
def test_thin_keeps_spikes(seed: int, length: int) -> None:
    """However long a series, its ends, lowest and highest values stay, within the number of points allowed."""
    values = np.random.default_rng(seed).normal(size=length)
    spike = int(np.random.default_rng(seed + 99).integers(length))
    values[spike] = 50
    kept = thin(list(values), 400)
    assert len(kept) <= 400
    assert kept == sorted(set(kept))
    assert {0, length - 1, spike, int(values.argmin())} <= set(kept)


def test_thin_leaves_short_series() -> None:
    """A series that is short enough is left as it is."""
    assert thin([3.0, 1.0, 2.0], 400) == [0, 1, 2]


def test_known_drops_what_is_not_finite() -> None:
    """Missing and non-finite values are left out; the others keep their positions."""
    assert known([1.0, None, float("nan"), 2.0, float("inf")]) == [(0, 1.0), (3, 2.0)]


def test_evenly() -> None:
    """Positions for a smooth line are evenly spread and include both ends."""
    assert evenly(9, 3) == [0, 4, 8]


@pytest.mark.parametrize("window", [1, 5, 21])
def test_moving_average_is_the_mean_of_its_window(window: int) -> None:
    """Every value is the mean of those at most half a window away."""
    values = list(np.random.default_rng(0).normal(size=50))
    half = window // 2
    expected = [float(np.mean(values[max(0, i - half) : i + half + 1])) for i in range(50)]
    assert moving_average(values, window) == pytest.approx(expected)


@pytest.mark.parametrize(("steps", "window"), [(1, 1), (14, 1), (15, 5), (300, 15), (100_000, 51)])
def test_window(steps: int, window: int) -> None:
    """The window is odd and grows with the series up to a limit."""
    assert window_for(steps) == window


@pytest.mark.parametrize(("count", "points"), [(0, 400), (15, 400), (30, 200), (1000, 60)])
def test_points_each(count: int, points: int) -> None:
    """Many trials share the points that a page can bear."""
    assert points_each(count) == points
