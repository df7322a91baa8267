from __future__ import annotations

import math

import numpy as np
import pytest

from lrtune.probes.curves.fall import fall_of


def test_a_line() -> None:
    """A line does a tenth of its fall in a tenth of its course, and as much in its second half as in its first."""
    fall = fall_of(np.linspace(3, 1, 101))
    assert fall.clear
    assert fall.depth == pytest.approx(2.0, rel=0.02)
    assert fall.begun == pytest.approx(0.1, abs=0.01)
    assert fall.done == pytest.approx(0.9, abs=0.01)
    assert fall.evenness == pytest.approx(1.0)


@pytest.mark.parametrize("lives", [1.0, 2.0, 4.0])
def test_an_exponential(lives: float) -> None:
    """Its second half falls exp(-lives / 2) times as much as its first."""
    fall = fall_of(np.exp(-lives * np.linspace(0, 1, 201)))
    assert fall.evenness == pytest.approx(math.exp(-lives / 2), rel=1e-3)


def test_a_plateau_of_two_fifths() -> None:
    """A loss that stands still for 40% of its course begins to fall there."""
    values = np.concatenate([np.full(40, 2.0), np.linspace(2, 0, 61)])
    assert fall_of(values).begun == pytest.approx(0.4 + 0.06, abs=0.01)


@pytest.mark.parametrize("values", [np.full(16, 2.3), np.zeros(16), np.linspace(1, 2, 16)])
def test_no_fall(values: np.ndarray) -> None:
    """A constant, or a rise, has no fall, and none of what a fall has."""
    fall = fall_of(values)
    assert not fall.clear
    assert fall.depth == 0.0
    assert math.isnan(fall.begun)


def test_noise_is_hardly_ever_a_fall() -> None:
    """Of 200 flat series of 16 noisy values at most 4 are taken for a fall."""
    flat = (2 + 0.1 * np.random.default_rng(seed).normal(size=16) for seed in range(200))
    assert sum(fall_of(values).clear for values in flat) <= 4


def test_swings_do_not_hide_a_fall() -> None:
    """A loss that drops at once and then goes up and down has fallen, though its swings look like noise."""
    values = np.concatenate([[3.0], 1 + 0.3 * (-1.0) ** np.arange(15)])
    assert fall_of(values).clear


def test_few_values_take_a_bound_on_their_noise() -> None:
    """Of four values the differences hold the fall itself: a bound from elsewhere tells them apart."""
    values = np.array([2.3, 0.36, 0.12, 0.07])
    assert not fall_of(values).clear
    assert fall_of(values, most_noise=0.02).clear


@pytest.mark.parametrize("count", [4, 5, 6])
def test_few_values_of_noise_are_hardly_ever_a_fall(count: int) -> None:
    """Of 1000 flat series of a few noisy values at most one in a hundred is taken for a fall."""
    flat = (2 + 0.1 * np.random.default_rng(seed).normal(size=count) for seed in range(1000))
    assert sum(fall_of(values).clear for values in flat) <= 10


def test_few_values_in_a_line_are_a_fall() -> None:
    """A line of four values with little noise on it has fallen, however little of its first value that is."""
    assert fall_of(np.array([2.400, 2.381, 2.359, 2.340])).clear
