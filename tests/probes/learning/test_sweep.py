from __future__ import annotations

import math

import numpy as np
import pytest

from lrtune.probes.learning.sweep import (
    geometric_median,
    median_curve,
    read_sweep,
    smooth,
    spread,
    sweep_rates,
)

RATES = sweep_rates(1e-7, 10.0, 100)
SEEDS = range(8)


def valley(
    noise: float, seed: int, offset: float = 0.0, falls: float = 1e-3, diverges: float = 0.3
) -> list[float]:
    """A made-up sweep: flat at 2, falling around one rate to 0.5, exploding past another."""
    draw = np.random.default_rng(seed)
    rates = np.asarray(RATES)
    fall = 1.5 / (1 + (falls / rates) ** 1.5)
    explosion = (rates / diverges) ** 6
    return list(2 - fall + explosion + noise * draw.standard_normal(len(rates)) + offset)


def test_rates() -> None:
    """Rates run from the least to the most by one factor."""
    assert sweep_rates(0.01, 1.0, 3) == pytest.approx((0.01, 0.1, 1.0))
    assert len(RATES) == 100


@pytest.mark.parametrize(
    "offset", [0.0, -5.0, -1.25, 100.0], ids=["positive", "negative", "across zero", "large"]
)
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_landmarks(noise: float, offset: float) -> None:
    """With noise up to a tenth of the fall, on 8 seeds: the rate lies between fall and divergence, each near its truth.

    Tolerance: a factor of 3 for the divergence, which begins where the explosion outgrows the fall, near 0.3.
    """
    for seed in SEEDS:
        sweep = read_sweep(RATES, valley(noise, seed, offset))
        assert sweep.descends
        assert sweep.initial == pytest.approx(2 + offset, abs=0.02 + noise)
        assert 3e-5 < RATES[sweep.start] < 3e-3
        assert sweep.diverged is not None
        assert 0.1 < RATES[sweep.diverged] < 0.9
        assert 3e-4 < sweep.along(2 / 3) < 0.25
        assert sweep.drop == pytest.approx(1.5, abs=0.35)


@pytest.mark.parametrize("shift", [0.1, 1.0, 3.0])
def test_the_reading_moves_with_the_valley(shift: float) -> None:
    """A valley at rates so many times as high gives a suggestion so many times as high, within a factor of 1.3."""
    base = read_sweep(RATES, valley(0.0, 0)).along(2 / 3)
    moved = read_sweep(RATES, valley(0.0, 0, falls=1e-3 * shift, diverges=0.3 * shift)).along(2 / 3)
    assert 1 / 1.3 < moved / (base * shift) < 1.3


@pytest.mark.parametrize("noise", [0.01, 0.3, 3.0])
def test_flat(noise: float) -> None:
    """Pure noise is no descent, on any of 20 seeds."""
    for seed in range(20):
        losses = 2 + noise * np.random.default_rng(seed).standard_normal(len(RATES))
        sweep = read_sweep(RATES, losses)
        assert not sweep.descends
        assert sweep.along(0.5) is None


@pytest.mark.parametrize("value", [0.0, 2.0, -3.3, 0.1])
def test_standing_still(value: float) -> None:
    """A loss that does not move at all is no descent: rounding is not noise."""
    sweep = read_sweep(RATES, [value] * len(RATES))
    assert not sweep.descends
    assert sweep.diverged is None


def test_never_diverging() -> None:
    """A loss that only falls has no divergence; it falls to where it has come down but for a fiftieth."""
    sweep = read_sweep(RATES, valley(0.0, 0, diverges=1e9))
    assert sweep.diverged is None
    # The fall of 1.5 has come to 98% where (1e-3 / rate)^1.5 = 0.02 or so, at a rate of 1e-3 * 50^(2/3).
    assert RATES[sweep.lowest] == pytest.approx(1e-3 * 50 ** (2 / 3), rel=0.25)
    falling = read_sweep(RATES, [-math.log(rate) for rate in RATES])
    assert falling.lowest > 95


@pytest.mark.parametrize(("count", "at"), [(0, 0), (1, 1), (5, 5), (60, 60)])
def test_ending_early_is_a_divergence(count: int, at: int) -> None:
    """A sweep whose losses stop being finite diverges there, from the first step on."""
    sweep = read_sweep(RATES, [2.0] * count)
    assert sweep.diverged == at
    assert not sweep.descends
    assert math.isnan(sweep.drop) or sweep.drop == pytest.approx(0.0, abs=1e-9)


def test_only_rising() -> None:
    """A loss that rises without having fallen diverges, and does not descend."""
    losses = [1.0 + (rate / 1e-4) ** 2 for rate in RATES]
    sweep = read_sweep(RATES, losses)
    assert not sweep.descends
    assert sweep.diverged is not None


def test_smoothing_keeps_constants_and_lines() -> None:
    """The kernel's weights sum to one everywhere, so a constant stays; inside, a line in log rate stays a line."""
    rates = np.asarray(RATES)
    constant, noise = smooth(rates, np.full(100, 3.0))
    assert constant == pytest.approx(np.full(100, 3.0))
    assert noise == 0
    line = np.log10(rates)
    assert smooth(rates, line)[0][20:80] == pytest.approx(line[20:80], abs=1e-9)


def test_noise_is_the_standard_error() -> None:
    """The noise told is the standard deviation of a smoothed value of pure noise, within 15% over 200 draws."""
    draws = [
        smooth(np.asarray(RATES), np.random.default_rng(seed).standard_normal(100)) for seed in range(200)
    ]
    spread_of_values = np.std([values[50] for values, _ in draws])
    assert np.mean([noise for _, noise in draws]) == pytest.approx(spread_of_values, rel=0.15)


def test_small_statistics() -> None:
    """Spread, geometric median and the median of curves of several lengths are those of the textbook."""
    assert spread([2.0, 0.5, 1.0]) == 4.0
    assert geometric_median([1.0, 100.0]) == pytest.approx(10.0)
    assert geometric_median([1.0, 2.0, 100.0]) == pytest.approx(2.0)
    curves = [np.array([1.0, 2.0, 3.0]), np.array([3.0]), np.array([2.0, 4.0])]
    assert median_curve(curves, 4) == [2.0, 3.0, None, None]
