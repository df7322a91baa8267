from __future__ import annotations

import numpy as np
import pytest

from lrtune.probes.curves.noise import error_of_mean, noise_scale


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1e-6, 1.0, 50.0])
def test_the_noise_of_a_falling_loss(scale: float, seed: int) -> None:
    """Normal noise of standard deviation 0.1 on an exponential is told within a tenth of it, at any scale."""
    random = np.random.default_rng(seed)
    values = scale * (np.exp(-np.arange(2000) / 200) + 0.1 * random.normal(size=2000))
    assert noise_scale(values) == pytest.approx(0.1 * scale, rel=0.1)


def test_spikes_are_no_noise() -> None:
    """A few values far off leave the estimate where it is."""
    random = np.random.default_rng(0)
    values = random.normal(size=1000)
    spiked = values.copy()
    spiked[[100, 500]] += 1000
    assert noise_scale(spiked) == pytest.approx(noise_scale(values), rel=0.05)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 5.0], [2.3] * 50, list(np.linspace(1e6, 1.1e6, 50))])
def test_none_where_there_is_none(values: list[float]) -> None:
    """Short series, constants and lines have no noise."""
    assert noise_scale(np.asarray(values, dtype=float)) == 0.0


def correlated(share: float, count: int, seed: int) -> np.ndarray:
    """Noise of standard deviation 1 of which a share carries over to the next value."""
    random = np.random.default_rng(seed)
    values = random.normal(size=count)
    for at in range(1, count):
        values[at] = share * values[at - 1] + np.sqrt(1 - share**2) * values[at]
    return values


@pytest.mark.parametrize("seed", range(4))
def test_the_error_of_a_mean_of_independent_noise(seed: int) -> None:
    """Of 40 independent values the mean has the noise over the root of 40, within a quarter."""
    error = error_of_mean(correlated(0.0, 4000, seed), 40)
    assert error == pytest.approx(1 / np.sqrt(40), rel=0.25)


@pytest.mark.parametrize("seed", range(4))
def test_the_error_of_a_mean_counts_what_carries_over(seed: int) -> None:
    """With half carried over the mean's error is sqrt(1.5 / 0.5) = 1.7 times as large; most of that is told."""
    error = error_of_mean(correlated(0.5, 4000, seed), 40) * np.sqrt(40)
    assert 1.4 < error < 2.1


def test_a_short_window_takes_the_noise_as_independent() -> None:
    """Of 5 values a block is one value: there is nothing between them to be measured."""
    values = correlated(0.5, 300, 0)
    assert error_of_mean(values, 5) == pytest.approx(noise_scale(values) / np.sqrt(5))
