from __future__ import annotations

import numpy as np
import pytest

from lrtune.probes.curves.swings import rises_of, swings_of

STEPS = np.arange(400)
NONE = np.empty(0)


@pytest.mark.parametrize(
    ("values", "heights"),
    [
        pytest.param([3, 2, 1], [], id="a fall"),
        pytest.param([1, 2, 3], [2], id="a rise to the end"),
        pytest.param([3, 1, 3, 1, 3], [2, 2], id="two rises"),
        pytest.param([3, 1, 1.5, 1, 1.4], [], id="too low"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_rises(values: list[float], heights: list[float]) -> None:
    """A rise counts from its low to its high, where it reaches the least height."""
    assert rises_of(np.asarray(values, dtype=float), least=1.0) == pytest.approx(heights)


@pytest.mark.parametrize("seed", range(5))
def test_a_sine_rises_once_a_period(seed: int) -> None:
    """Five periods of a sine under noise are five rises, give or take the ends."""
    noise = 0.2 * np.random.default_rng(seed).normal(size=400)
    swings = swings_of(np.sin(2 * np.pi * STEPS / 80) + noise, NONE, least=0.5)
    assert len(swings.rises) in (5, 6)
    assert max(swings.rises) == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("seed", range(10))
def test_noise_neither_swings_nor_alternates(seed: int) -> None:
    """Independent noise on a fall has no rises, and a correlation near 0."""
    loss = np.exp(-STEPS / 60) + 0.3 * np.random.default_rng(seed).normal(size=400)
    swings = swings_of(loss, NONE, least=0.01)
    assert swings.rises == ()
    assert abs(swings.alternation) < swings.chance


def test_flips_at_every_step() -> None:
    """A loss that flips around a level has a correlation of -1 and the flips' size as scatter; on a fall, nearly so."""
    flips = 0.5 * (-1.0) ** STEPS
    flat = swings_of(1 + flips, NONE, least=0.2)
    assert flat.alternation == pytest.approx(-1.0, abs=0.02)
    assert flat.scatter == pytest.approx(0.5 * 1.4826, rel=0.01)
    assert swings_of(np.exp(-STEPS / 60) + flips, NONE, least=0.2).alternation < -0.8


def test_evaluations_swing_where_steps_are_too_noisy_to_tell() -> None:
    """On a fixed subset three rises are seen that the noise of the minibatches hides."""
    noise = 3 * np.random.default_rng(0).normal(size=400)
    train = np.array([2.0, 1, 1.5, 1, 1.5, 1, 1.5, 1])
    assert len(swings_of(1 + noise, train, least=0.3).rises) == 3


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_a_constant_is_quiet(least: float) -> None:
    """No rise, whatever the least height, and no warning of numpy."""
    swings = swings_of(np.full(100, 2.3), np.full(16, 2.3), least)
    assert swings.rises == ()
    assert swings.alternation == 0.0


def test_noise_that_carries_over_does_not_swing() -> None:
    """Of 20 falls under noise of which 0.4 carries over to the next step, at most one seems to swing three times."""
    swinging = 0
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=1000)
        for at in range(1, 1000):
            noise[at] = 0.4 * noise[at - 1] + np.sqrt(1 - 0.4**2) * noise[at]
        loss = np.exp(-np.arange(1000) / 110) + 0.2 * noise
        swinging += len(swings_of(loss, NONE, least=0.15).rises) >= 3
    assert swinging <= 1


@pytest.mark.parametrize("cycles", [4, 8, 16])
def test_quick_swings_are_not_taken_for_noise(cycles: int) -> None:
    """Sixteen periods of a sine within 1000 steps are seen under noise, give or take the ends, as four are."""
    steps = np.arange(1000)
    noise = 0.08 * np.random.default_rng(0).normal(size=1000)
    swings = swings_of(0.3 * np.sin(2 * np.pi * cycles * steps / 1000) + noise, NONE, least=0.15)
    assert abs(len(swings.rises) - cycles) <= 1
