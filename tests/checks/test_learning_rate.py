from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lrtune.checks import learning_rate
from lrtune.probes.learning.constant_rates import JUDGED_STEPS, RECENT, ProbedRate, RateProbes
from lrtune.probes.learning.reading import Reading
from lrtune.probes.learning.sweep import Sweep


def code(found: Any) -> str | None:
    """The code of a finding, None without one."""
    return None if found is None else found.code


def sweep(start: int | None = 40, lowest: int = 60, diverged: int | None = 80) -> Sweep:
    """A sweep of 100 rates with given landmarks."""
    return Sweep(np.geomspace(1e-7, 10, 100), np.linspace(2, 1, 100), 2.0, 0.01, start, lowest, diverged)


def reading(noise: float = 0.0) -> Reading:
    """What constant rates say."""
    return Reading(0.1, 0.05, 0.2, noise)


def probes(*losses: float, given_up: int = 0) -> RateProbes:
    """Rates of 1, 10, 100 ... that ended at some losses, from 2; NaN diverged, the first may have been given up."""
    tried = [ProbedRate(10.0**at, diverged=math.isnan(loss)) for at, loss in enumerate(losses)]
    for one, loss in list(zip(tried, losses, strict=True))[given_up:]:
        losses_then = {"train": loss, RECENT: loss}
        one.measured = {} if one.diverged else dict.fromkeys(JUDGED_STEPS, losses_then)
    return RateProbes({"train": 2.0, RECENT: 2.0}, tried)


FLAT, OPEN, NAN = sweep(None), sweep(diverged=None), math.nan
AT_ONCE, JUST_AT_ONCE, NOT_AT_ONCE = sweep(None, 0, 0), sweep(None, 0, 10), sweep(None, 0, 11)


@pytest.mark.parametrize(
    ("sweeps", "expected"),
    [
        pytest.param([AT_ONCE] * 3, True, id="from the first step"),
        pytest.param([JUST_AT_ONCE] * 3, True, id="within a tenth of the steps"),
        pytest.param([NOT_AT_ONCE] * 3, False, id="after more than a tenth"),
        pytest.param([sweep(3, 5, 8)] * 3, False, id="falls before"),
        pytest.param([AT_ONCE, AT_ONCE, sweep()], True, id="two of three"),
        pytest.param([AT_ONCE, sweep(), sweep()], False, id="one of three"),
        pytest.param([AT_ONCE, sweep()], False, id="one of two"),
        pytest.param([FLAT] * 3, False, id="flat"),
    ],
)
def test_diverges_everywhere(sweeps: list[Sweep], expected: bool) -> None:
    """More than half of the sweeps diverge within a tenth of the steps, without having fallen."""
    found = learning_rate.diverges_everywhere(sweeps)
    assert code(found) == ("diverges-everywhere" if expected else None)
    if expected:
        at_once = [one for one in sweeps if one.diverged is not None and not one.descends]
        ended = [float(one.rates[one.diverged]) for one in at_once]
        assert found.measured == pytest.approx(float(np.median(ended)))


@pytest.mark.parametrize(
    ("sweeps", "asked", "measured"),
    [
        pytest.param([OPEN] * 3, None, 10.0, id="none diverges, by default"),
        pytest.param([OPEN] * 3, 0.01, 10.0, id="none diverges, beyond the user's maximum either"),
        pytest.param([sweep()] * 3, 0.01, 0.01, id="diverges beyond the user's maximum"),
        pytest.param([OPEN, OPEN, sweep()], 0.01, 0.01, id="one diverges beyond it"),
        pytest.param([sweep()] * 3, None, None, id="diverges"),
        pytest.param([OPEN, OPEN, sweep()], None, None, id="one diverges"),
    ],
)
def test_never_diverged(sweeps: list[Sweep], asked: float | None, measured: float | None) -> None:
    """Told where no sweep diverges, or none did up to where the user had asked."""
    found = learning_rate.never_diverged(sweeps, asked)
    assert code(found) == (None if measured is None else "never-diverged")
    assert measured is None or found.measured == pytest.approx(measured)
    if measured == 0.01:
        assert f"{float(sweep().rates[80]):.2g}" in found.message


@pytest.mark.parametrize(
    ("sweeps", "expected"),
    [
        pytest.param([sweep(lowest=95, diverged=None)] * 3, True, id="in the last 4%"),
        pytest.param([sweep(lowest=94, diverged=None)] * 3, False, id="just before"),
        pytest.param([sweep(lowest=99, diverged=None)] * 2 + [sweep()], True, id="two of three"),
        pytest.param([sweep(lowest=99, diverged=None), sweep()], False, id="one of two"),
        pytest.param([sweep(None, 99, None)] * 3, False, id="lowest by chance"),
    ],
)
def test_sweeps_at_the_edge(sweeps: list[Sweep], expected: bool) -> None:
    """Without constant rates the sweeps' lowest loss says whether the range ends too early."""
    found = learning_rate.best_at_range_edge(sweeps, None, RateProbes())
    assert code(found) == ("best-at-range-edge" if expected else None)


@pytest.mark.parametrize(
    ("tried", "measured"),
    [
        pytest.param(probes(1.0, 1.5, 1.8), 1.0, id="lowest"),
        pytest.param(probes(1.8, 1.5, 1.0), 100.0, id="highest"),
        pytest.param(probes(1.5, 1.0, 1.5), None, id="inside"),
        pytest.param(probes(1.5, 1.0, NAN), None, id="below one that diverged"),
        pytest.param(probes(0.5, 1.0, 1.5, given_up=1), None, id="above one that was given up"),
    ],
)
def test_probes_at_the_edge(tried: RateProbes, measured: float | None) -> None:
    """With constant rates the best of them decides, wherever the sweeps were lowest."""
    found = learning_rate.best_at_range_edge([sweep(lowest=99, diverged=None)] * 3, reading(), tried)
    assert code(found) == (None if measured is None else "best-at-range-edge")
    assert measured is None or found.measured == measured


@pytest.mark.parametrize(
    ("sweeps", "mean", "probed", "expected"),
    [
        pytest.param([sweep()] * 3, sweep(), None, False, id="all descend"),
        pytest.param([sweep(), sweep(), FLAT], FLAT, None, False, id="most descend"),
        pytest.param([sweep(), FLAT], FLAT, None, True, id="half descend"),
        pytest.param([sweep(), FLAT, FLAT], FLAT, None, True, id="most are flat, and so is their mean"),
        pytest.param([FLAT] * 3, sweep(), None, False, id="the mean descends"),
        pytest.param([FLAT] * 3, FLAT, reading(), False, id="a constant rate descends"),
        pytest.param([AT_ONCE] * 3, FLAT, None, False, id="at once is another code"),
    ],
)
def test_no_descent(sweeps: list[Sweep], mean: Sweep, probed: Reading | None, expected: bool) -> None:
    """Nothing descends where neither most sweeps nor their mean nor a constant rate does."""
    assert code(learning_rate.no_descent(sweeps, mean, probed)) == ("no-descent" if expected else None)


SETTLED, OPEN_QUESTION = reading(0.1), reading(0.11)


@pytest.mark.parametrize(
    ("valleys", "probed", "noisy"),
    [
        pytest.param([0.1, 0.2, 0.3], OPEN_QUESTION, False, id="a factor of 3"),
        pytest.param([0.1, 0.2, 0.31], OPEN_QUESTION, True, id="a factor of 3.1"),
        pytest.param([0.1, 0.2, 0.31], SETTLED, False, id="settled by constant rates"),
        pytest.param([0.1, 0.1, 0.1], None, True, id="confirmed by no constant rate"),
        pytest.param([0.1], OPEN_QUESTION, False, id="one seed"),
        pytest.param([], None, False, id="none"),
    ],
)
def test_noisy_suggestion(valleys: list[float], probed: Reading | None, noisy: bool) -> None:
    """Valleys may spread by a factor of 3, more only where constant rates settle the matter."""
    found = learning_rate.noisy_suggestion(valleys, probed)
    assert code(found) == ("noisy-suggestion" if noisy else None)
    assert not noisy or found.measured == (None if probed is None else pytest.approx(3.1))


@pytest.mark.parametrize(
    ("valleys", "probed", "expected"),
    [
        pytest.param([0.1, 0.2, 0.3], SETTLED, "high", id="settled, and all agree"),
        pytest.param([0.1, 0.2, 0.31], SETTLED, "medium", id="settled, and they spread"),
        pytest.param([0.1, 0.2], SETTLED, "medium", id="settled, and one of three is flat"),
        pytest.param([], SETTLED, "medium", id="settled, and all are flat"),
        pytest.param([0.1, 0.2, 0.3], OPEN_QUESTION, "medium", id="noisy, and all agree"),
        pytest.param([0.1, 0.2, 0.31], OPEN_QUESTION, "low", id="noisy, and they spread"),
        pytest.param([0.1, 0.2], OPEN_QUESTION, "low", id="noisy, and one of three is flat"),
        pytest.param([0.1, 0.2, 0.3], None, "low", id="nothing falls at constant rates"),
        pytest.param([], None, "low", id="nothing at all"),
    ],
)
def test_confidence(valleys: list[float], probed: Reading | None, expected: str) -> None:
    """High where constant rates settle it and three sweeps agree, medium with one of the two, else low."""
    assert learning_rate.confidence(valleys, [sweep()] * 3, probed) == expected


@pytest.mark.parametrize(
    ("rules", "far"),
    [
        pytest.param({"a": 0.1, "b": 0.2, "c": 0.05}, None, id="all agree"),
        pytest.param({"a": 1.0, "b": 0.01, "c": 0.99}, None, id="a factor of 10 at most"),
        pytest.param({"a": 1.01, "b": 0.1, "c": 0.1}, None, id="one of three"),
        pytest.param({"a": 1.01, "b": 0.0099, "c": 0.1}, 2, id="two of three, on both sides"),
        pytest.param({"a": 1.01, "b": 0.1}, 1, id="one of two"),
        pytest.param({"a": 1.01, "b": 0.1, "c": None}, 1, id="one of two that give a rate"),
        pytest.param({"a": 1.01, "b": None}, 1, id="the only one that gives a rate"),
        pytest.param({"a": None, "b": None}, None, id="none gives a rate"),
        pytest.param({}, None, id="no rules"),
    ],
)
def test_peers_disagree(rules: dict[str, float | None], far: int | None) -> None:
    """Half or more of the rules that give a rate lie over a factor of 10 from the suggestion of 0.1."""
    found = learning_rate.peers_disagree(0.1, rules)
    assert code(found) == (None if far is None else "peers-disagree")
    if found is not None:
        assert (found.measured, found.severity) == (far, "info")
        assert "a 1" in found.message
