from __future__ import annotations

import math

import numpy as np
import pytest

from lrtune.probes.learning.sweep import (
    VALLEY,
    geometric_median,
    mean_losses,
    median_curve,
    read_sweep,
    read_valley,
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


def converged(noise: float, seed: int, explodes: bool, epoch: int | None = None) -> list[float]:
    """A made-up sweep that is learnt by heart: noisy at 1.1, falling from step 36, at rest at zero from step 44.

    Few batches come again each epoch, in another order.
    """
    random = np.random.default_rng(seed)
    draw = random.standard_normal(epoch or len(RATES))
    draw = np.concatenate([random.permutation(draw) for _ in range(len(RATES))])[: len(RATES)]
    level = np.interp(np.arange(len(RATES)), [36, 44], [1.1, 0.0])
    losses = level + noise * level / 1.1 * draw
    losses[90:] += 3.0 * np.arange(1, 11) * explodes
    return list(losses)


@pytest.mark.parametrize("epoch", [None, 6], ids=["random", "six batches an epoch"])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_noise_before_the_rest_at_zero(noise: float, epoch: int | None) -> None:
    """Half of the sweep at rest hides no noise: its beginning is not taken for a divergence.

    Of 60 seeds, at any of the looks while it runs: one at most (one in 300 was seen, 98% where the rest counts alone).
    """
    mistaken = 0
    for seed in range(60):
        losses = converged(noise, seed, explodes=False, epoch=epoch)
        looks = range(50, 101, 10)
        mistaken += any(read_sweep(RATES, losses[:count]).diverged not in (None, count) for count in looks)
        sweep = read_sweep(RATES, losses)
        assert sweep.descends
        assert sweep.drop == pytest.approx(1.1, abs=0.05 + noise)
        assert 36 <= sweep.lowest <= 50
    assert mistaken <= 1


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_a_divergence_after_the_rest_at_zero(noise: float) -> None:
    """The same sweep that explodes at step 90 diverges there, within four steps of the smoothing."""
    for seed in range(20):
        sweep = read_sweep(RATES, converged(noise, seed, explodes=True))
        assert 86 <= sweep.diverged <= 94


def test_the_mean_sweep() -> None:
    """The mean over sweeps at each rate, as far as half of them have come."""
    assert mean_losses([[1.0, 2.0, 3.0], [3.0, 4.0], [5.0]]) == [3.0, 3.0]
    assert mean_losses([[1.0, 2.0], [3.0]]) == [2.0, 2.0]
    assert mean_losses([[], [], []]) == []
    draws = [2 + np.random.default_rng(seed).standard_normal(len(RATES)) for seed in range(9)]
    assert np.std(mean_losses([list(draw) for draw in draws])) == pytest.approx(1 / 3, rel=0.25)


def test_the_valley_of_several_sweeps() -> None:
    """The median suggestion, in an interval that holds every sweep's; nothing without a descent."""
    shifts = [0.5, 1.0, 4.0]
    sweeps = [read_sweep(RATES, valley(0.0, 0, falls=1e-3 * by, diverges=0.3 * by)) for by in shifts]
    reading = read_valley(sweeps)
    assert reading.suggestion == pytest.approx(sweeps[1].along(VALLEY))
    for sweep in sweeps:
        assert reading.low <= sweep.along(VALLEY) <= reading.high
    assert math.isnan(reading.noise)
    flat = read_sweep(RATES, [2.0] * 100)
    assert read_valley([flat] * 3) is None
    assert read_valley([flat, sweeps[1]]).suggestion == pytest.approx(sweeps[1].along(VALLEY))


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


def test_the_noisier_of_whole_and_first_half() -> None:
    """A loss that goes up and down and comes to rest is as noisy as one that goes on; so is one that begins late.

    Most second differences are zero of the first, of its whole as of its second half, and of the last one's first half.
    """
    steps = np.arange(100)
    restless = np.where(steps % 2, 1.0, -1.0)
    expected = smooth(np.asarray(RATES), restless)[1]
    assert expected > 0
    for kept in (steps < 45, steps >= 40):
        assert smooth(np.asarray(RATES), restless * kept)[1] == pytest.approx(expected)
    assert smooth(np.asarray(RATES), restless * (steps >= 60))[1] == 0


@pytest.mark.parametrize(("fall", "descends"), [(1e-4, False), (4e-4, True)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_least_fall(fall: float, descends: bool, sign: float) -> None:
    """Without noise a fall counts from a ten-thousandth of the initial loss, here of 2, above zero or below."""
    losses = 2 * sign + fall / 1.5 * (np.array(valley(0.0, 0, diverges=1e9)) - 2)
    assert read_sweep(RATES, losses).descends is descends


@pytest.mark.parametrize(("rise", "diverges"), [(1e-4, False), (4e-4, True)])
def test_the_least_rise(rise: float, diverges: bool) -> None:
    """So does a rise."""
    losses = 2 + rise * np.clip(np.linspace(-4, 2, 100), 0, 1)
    assert (read_sweep(RATES, losses).diverged is not None) is diverges


def test_small_statistics() -> None:
    """Spread, geometric median and the median of curves of several lengths are those of the textbook."""
    assert spread([2.0, 0.5, 1.0]) == 4.0
    assert geometric_median([1.0, 100.0]) == pytest.approx(10.0)
    assert geometric_median([1.0, 2.0, 100.0]) == pytest.approx(2.0)
    curves = [np.array([1.0, 2.0, 3.0]), np.array([3.0]), np.array([2.0, 4.0])]
    assert median_curve(curves, 4) == [2.0, 3.0, None, None]
