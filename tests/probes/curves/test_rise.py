from __future__ import annotations

import math

import numpy as np
import pytest

from lrtune.probes.curves.rise import rise_of


def test_a_turn() -> None:
    """Down from 6 to 0 over the first half and up to 3: the last sixth lies above the lowest by what the line gives."""
    down, up = np.linspace(6, 0, 300), np.linspace(0, 3, 300)
    rise = rise_of(np.concatenate([down, up]))
    assert rise.height == pytest.approx(2.0, abs=0.05)
    assert rise.lowest in (0.5, pytest.approx(2 / 3))
    assert rise.fall == pytest.approx(4.5, abs=0.6)


def test_a_fall_has_no_rise() -> None:
    """The last part of a falling loss is its lowest."""
    rise = rise_of(np.exp(-np.arange(120) / 20))
    assert rise.height == 0.0
    assert rise.lowest == 1.0


def test_a_spike_at_the_end_is_no_rise() -> None:
    """The medians of the parts do not move."""
    values = np.exp(-np.arange(120) / 20)
    values[115:118] = 50.0
    assert rise_of(values).height < 0.01


@pytest.mark.parametrize("seed", range(20))
def test_noise_does_not_rise(seed: int) -> None:
    """On a flat noisy loss the height stays within 5 standard errors."""
    rise = rise_of(np.random.default_rng(seed).normal(size=300))
    assert rise.height < 5 * rise.error


def test_too_short() -> None:
    """Eleven steps cannot be told apart: the error is infinite."""
    assert rise_of(np.arange(11.0)).error == math.inf
