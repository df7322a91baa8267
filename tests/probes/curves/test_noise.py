from __future__ import annotations

import numpy as np
import pytest

from lrtune.probes.curves.noise import noise_scale


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
