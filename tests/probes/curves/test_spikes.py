from __future__ import annotations

import numpy as np
import pytest

from lrtune.probes.curves.spikes import spikes_of

STEPS = np.arange(400)
CALM = 2 * np.exp(-STEPS / 40)


def noise(seed: int, size: float = 0.05) -> np.ndarray:
    """Normal noise, one a step."""
    return size * np.random.default_rng(seed).normal(size=400)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_step(seed: int) -> None:
    """One step 4 above its neighbours is found where it was put, counted from 1, with its height."""
    loss = CALM + noise(seed)
    loss[250] += 4.0
    (spike,) = spikes_of(loss, single=2.0, lasting=0.5)
    assert (spike.step, spike.steps) == (251, 1)
    assert spike.height == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_bump(seed: int) -> None:
    """A bump of a dozen steps that comes down is one spike, though no step of it is as high as a single one must be."""
    loss = CALM + noise(seed) + np.exp(-0.5 * ((STEPS - 220) / 5) ** 2)
    (spike,) = spikes_of(loss, single=2.0, lasting=0.5)
    assert spike.step == pytest.approx(221, abs=4)
    assert spike.steps >= 3


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("size", [0.0, 0.05, 0.4])
def test_noise_is_no_spike(seed: int, size: float) -> None:
    """A fall under normal noise has none."""
    assert spikes_of(CALM + noise(seed, size), single=2.0, lasting=0.5) == []


def test_two_apart_are_two() -> None:
    """Spikes that lie far apart are counted one by one."""
    loss = CALM.copy()
    loss[[120, 320]] += 4.0
    assert [spike.step for spike in spikes_of(loss, single=2.0, lasting=0.5)] == [121, 321]


def test_a_step_up_that_stays_is_no_spike() -> None:
    """What does not come down again is a rise."""
    assert spikes_of(np.where(STEPS < 200, 1.0, 3.0), single=1.0, lasting=0.25) == []


@pytest.mark.parametrize("loss", [np.full(400, 2.3), np.ones(10), np.empty(0)])
def test_nothing_in_constants_and_handfuls(loss: np.ndarray) -> None:
    """A constant and a few steps have no spikes, also where no height is asked for."""
    assert spikes_of(loss, single=0.0, lasting=0.0) == []
    assert spikes_of(loss, single=1.0, lasting=1.0) == []
