from __future__ import annotations

import math

import numpy as np
import pytest

from lrtune.probes.learning.candidates import SPACING, rates_to_probe
from lrtune.probes.learning.sweep import Sweep

RATES = np.geomspace(1e-7, 10, 81)  # ten a decade: index 10 k lies at 10^(k - 7)


def sweep(start: int | None = 30, lowest: int = 50, diverged: int | None = 60) -> Sweep:
    """A sweep with given landmarks: falls from 1e-4, lowest at 0.01, diverges at 0.1."""
    return Sweep(RATES, np.ones(81), 2.0, 0.01, start, lowest, diverged)


@pytest.mark.parametrize(
    ("sweeps", "highest"),
    [
        pytest.param([sweep()] * 3, 0.1, id="a decade above the lowest is the divergence"),
        pytest.param([sweep(diverged=55)] * 3, 10**-1.5, id="diverges within a decade above the lowest"),
        pytest.param([sweep(lowest=30)] * 3, 1e-3, id="goes on flat for decades above the lowest"),
        pytest.param([sweep(diverged=None)] * 3, 0.1, id="never diverges"),
        pytest.param([sweep(None)] * 3, 0.1, id="diverges, but never falls"),
        pytest.param([sweep(diverged=at) for at in (40, 55, 70)], 10**-1.5, id="the median divergence"),
        pytest.param([sweep(None, diverged=at) for at in (None, None, 40)], 1e-3, id="one of three diverges"),
        pytest.param([sweep(lowest=78, diverged=None)] * 2, 10.0, id="no higher than the range"),
    ],
)
@pytest.mark.parametrize("count", [6, 7])
def test_the_highest(sweeps: list[Sweep], highest: float, count: int) -> None:
    """Candidates end where the sweeps diverge, or a decade above their lowest loss, whichever is less."""
    candidates = rates_to_probe(sweeps, count)
    assert candidates.highest == max(candidates.rates) == pytest.approx(highest)
    assert not candidates.blind


@pytest.mark.parametrize("count", [1, 6, 7])
def test_half_decades(count: int) -> None:
    """As many as asked for, ascending, half a decade apart."""
    rates = rates_to_probe([sweep()] * 3, count).rates
    assert len(rates) == count
    assert np.diff(np.log10(rates)) == pytest.approx(0.5)
    assert math.sqrt(10) == SPACING


@pytest.mark.parametrize("count", [4, 6, 7, 9])
def test_blind(count: int) -> None:
    """Where the sweeps show nothing, as many rates as asked for span six decades, evenly, and there is no highest."""
    candidates = rates_to_probe([sweep(None, diverged=None)] * 3, count)
    assert candidates.blind
    assert candidates.highest is None
    assert len(candidates.rates) == count
    assert candidates.rates[-1] == pytest.approx(10.0)
    assert np.diff(np.log10(candidates.rates)) == pytest.approx(6 / (count - 1))


@pytest.mark.parametrize("sees", [sweep(None), sweep(diverged=None)], ids=["diverges", "falls"])
def test_one_that_sees_is_enough(sees: Sweep) -> None:
    """One sweep of three that falls or diverges says where to look."""
    flat = sweep(None, diverged=None)
    assert not rates_to_probe([flat, flat, sees], 7).blind


def test_a_sweep_that_does_not_fall_has_no_lowest() -> None:
    """Where noise is lowest in a flat sweep says nothing."""
    sweeps = [sweep(None, lowest=5), sweep(None, lowest=8), sweep()]
    assert rates_to_probe(sweeps, 7).highest == pytest.approx(0.1)
