from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lrtune.probes.learning.candidates import SPACING
from lrtune.probes.learning.constant_rates import (
    FIRST_STEPS,
    JUDGED_STEPS,
    RECENT,
    STEPS,
    ProbedRate,
    RateProbes,
)
from lrtune.probes.learning.probe_reading import beyond_the_best, largest_stable, read_probes, worth_going_on

if TYPE_CHECKING:
    from lrtune.probes.learning.reading import Reading

INITIAL = 2.0
BEFORE = {"train": INITIAL, RECENT: INITIAL}
RATES = [0.1 * SPACING**step for step in range(-6, 1)]  # 1e-4 to 0.1: the prior's middle is 0.01
NAN = math.nan  # stands for a rate that diverged


def probed(rate: float, loss: float, noise: float = 0.0, seed: int = 0) -> ProbedRate:
    """A rate that ended at one loss, the same after every count of steps, with noise on its minibatches."""
    if math.isnan(loss):
        return ProbedRate(rate, [INITIAL] * 3, diverged=True)
    losses = loss + noise * np.random.default_rng(seed).standard_normal(STEPS)
    measured = {steps: {"train": loss, RECENT: loss} for steps in (FIRST_STEPS, *JUDGED_STEPS)}
    return ProbedRate(rate, list(losses), measured)


def favoured(reading: Reading | None) -> float:
    """The rate that the probes favour; the suggestion, for longer trainings, lies a tenth of a decade below it."""
    assert reading is not None
    return float(reading.suggestion * 10**0.1)


def probes(*losses: float, noise: float = 0.0, seed: int = 0) -> RateProbes:
    """What was measured, of the highest rates of `RATES`."""
    rates = RATES[-len(losses) :]
    return RateProbes(dict(BEFORE), [probed(*pair, noise, seed) for pair in zip(rates, losses, strict=True)])


def valley(best: float, decades: float) -> list[float]:
    """The losses of a parabola in log rate, lowest at one rate, that lose a fifth of the fall so many decades away."""
    return [1 + 0.2 * (math.log10(rate / best) / decades) ** 2 for rate in RATES]


@pytest.mark.parametrize("at", range(7))
def test_one_clear_best(at: int) -> None:
    """A rate far better than all others is the suggestion, wherever it lies."""
    losses = [2.0] * 7
    losses[at] = 0.5
    reading = read_probes(probes(*losses), RATES[-1])
    assert favoured(reading) == pytest.approx(RATES[at], rel=0.01)
    assert reading.noise == pytest.approx(0, abs=1e-12)


def test_flat() -> None:
    """Rates that all do as well: the middle of the prior, a decade below the highest, here their own middle."""
    flat = [1.0] * 5
    rates = [0.01 * SPACING**step for step in range(-2, 3)]
    tried = [probed(rate, loss) for rate, loss in zip(rates, flat, strict=True)]
    reading = read_probes(RateProbes(dict(BEFORE), tried), RATES[-1])
    assert favoured(reading) == pytest.approx(0.01)


@pytest.mark.parametrize("middle", [2, 3, 4])
def test_a_flat_valley(middle: int) -> None:
    """Three rates that do as well, between rates that do not: their middle, within the prior's pull of 2.5."""
    losses = [1.0 if abs(at - middle) <= 1 else 1.8 for at in range(7)]
    reading = read_probes(probes(*losses), RATES[-1])
    assert 1 / 2.5 < favoured(reading) / RATES[middle] < 2.5
    assert reading.low < RATES[middle] < reading.high


def test_where_the_prior_has_no_say() -> None:
    """Two neighbours as good, alike far from where the best is thought to lie: the middle of the two."""
    tried = [probed(rate, 1.0) for rate in (0.01 / math.sqrt(SPACING), 0.01 * math.sqrt(SPACING))]
    reading = read_probes(RateProbes(dict(BEFORE), tried), RATES[-1])
    assert favoured(reading) == pytest.approx(0.01)


@pytest.mark.parametrize("best", [1e-3, 3e-3, 1e-2, 3e-2])
@pytest.mark.parametrize("decades", [0.3, 1.0])
def test_between_the_rates(best: float, decades: float) -> None:
    """The bottom of a parabola is found within a factor of 2, steep or shallow."""
    reading = read_probes(probes(*valley(best, decades)), RATES[-1])
    assert 1 / 2 < favoured(reading) / best < 2


@pytest.mark.parametrize("seed", range(50))
def test_interval(seed: int) -> None:
    """On random losses, some diverged: the interval holds the suggestion and spans a factor of 10 at most."""
    draw = np.random.default_rng(seed)
    losses = [NAN if draw.random() < 0.2 else float(draw.uniform(0.5, 1.9)) for _ in RATES]
    reading = read_probes(probes(*losses), RATES[-1])
    assert reading.low < reading.suggestion < reading.high
    assert reading.high / reading.low <= 10 * (1 + 1e-9)
    assert RATES[0] <= favoured(reading) * (1 + 1e-9)
    assert favoured(reading) <= RATES[-1] * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_noise(seed: int) -> None:
    """A fall within four standard errors of the minibatch losses is none; one well beyond is, and its noise is told.

    Of the 25 last losses: their deviation over √25, as a share of the fall of 0.1, 0.06 and 0.7. Of 25 draws the
    deviation is known to 14% and the fall to 6%.
    """
    clear = read_probes(probes(1.9, 2.0, noise=0.03, seed=seed), RATES[-1])
    assert clear.noise == pytest.approx(0.03 / math.sqrt(25) / 0.1, rel=0.35)
    assert read_probes(probes(1.9, 2.0, noise=0.35, seed=seed), RATES[-1]) is None


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([2.0, 2.0, 2.0], id="standing still"),
        pytest.param([2.1, 2.5, NAN], id="rising"),
        pytest.param([1.9999, 2.0, 2.0], id="less than a ten-thousandth"),
        pytest.param([NAN] * 3, id="all diverged"),
    ],
)
def test_nothing_to_read(losses: list[float]) -> None:
    """Where no rate makes the loss fall there is no suggestion, and nothing diverged goes on."""
    assert read_probes(probes(*losses), RATES[-1]) is None
    chosen = worth_going_on(probes(*losses), 4, RATES[-1])
    assert not any(math.isnan(losses[RATES[-3:].index(rate)]) for rate in chosen)


def test_a_small_fall() -> None:
    """A fall of 2 by 0.0004, twice a ten-thousandth, is one where it has no noise."""
    assert favoured(read_probes(probes(2.0, 1.9996, 2.0), None)) == pytest.approx(RATES[-2], rel=1e-6)


def test_a_drop_has_to_hold() -> None:
    """The worse of both times: a rate that misses 0.9 of the fall after 75 steps loses to one that misses 0.03 at 100.

    In units of the tolerance, 30 against 1: a weight of e^-29.
    """
    late, steady = probed(0.01, 1.0), probed(0.1, 1.0)
    late.measured[JUDGED_STEPS[0]] = {"train": 1.9, RECENT: 1.9}
    steady.measured[JUDGED_STEPS[1]] = {"train": 1.03, RECENT: 1.03}
    assert favoured(read_probes(RateProbes(dict(BEFORE), [late, steady]), None)) == pytest.approx(0.1)


def test_without_a_prior() -> None:
    """After blind sweeps rates that do as well are as good: their geometric mean, however far up they lie.

    Two that miss 0 and 0.03 weigh 1 and 1/e.
    """
    assert favoured(read_probes(probes(*[1.0] * 7), None)) == pytest.approx(RATES[3])
    share = math.exp(-1) / (1 + math.exp(-1))
    assert favoured(read_probes(probes(1.0, 1.03), None)) == pytest.approx(RATES[-2] * SPACING**share)


def test_the_prior_by_hand() -> None:
    """Two rates as good, the highest and half a decade below: each weighs by a normal density.

    The highest is a decade above the prior's middle, 4/3 standard deviations, the other 2/3.
    """
    one, other = math.exp(-((4 / 3) ** 2) / 2), math.exp(-((2 / 3) ** 2) / 2)
    expected = RATES[-2] * SPACING ** (one / (one + other))
    assert favoured(read_probes(probes(1.0, 1.0), RATES[-1])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        pytest.param([1.0, 1.5, 1.8], RATES[-3] / SPACING, id="lowest best"),
        pytest.param([1.8, 1.5, 1.0], RATES[-1] * SPACING, id="highest best"),
        pytest.param([1.5, 1.0, 1.5], None, id="inside"),
        pytest.param([1.5, 1.0, NAN], None, id="the one above diverged"),
        pytest.param([2.0, 2.1, 2.2], None, id="nothing falls"),
        pytest.param([NAN, NAN, NAN], None, id="all diverged"),
    ],
)
def test_beyond_the_best(losses: list[float], expected: float | None) -> None:
    """Where the best rate is the lowest or the highest of all, the next one beyond it is worth a try."""
    for highest in (RATES[-1], None):
        found = beyond_the_best(probes(*losses), highest)
        assert found == (None if expected is None else pytest.approx(expected))


# Regrets of 0.02, 0.01 and 0: 2/3, 1/3 and 0 tolerances. The prior adds 0, 2/9 and 8/9, so that the middle one is best.
CLOSE = [1.02, 1.01, 1.0]


def test_the_prior_decides_what_lies_beyond() -> None:
    """Among rates that do nearly as well the highest is the best without a prior, and one inside with it."""
    assert beyond_the_best(probes(*CLOSE), None) == pytest.approx(RATES[-1] * SPACING)
    assert beyond_the_best(probes(*CLOSE), RATES[-1]) is None


def test_the_prior_stays_with_the_sweeps() -> None:
    """Once a rate above those that the sweeps proposed has joined, the prior still counts from their highest.

    From 0.0316 it adds 2/9, 0 and 2/9 to three rates up to 0.0316, and 8/9 to 0.1: the second, inside, stays best.
    """
    tried = probes(1.02, 1.01, 1.005, 1.0)
    assert worth_going_on(tried, 2, RATES[-2]) == RATES[-4:-2]
    assert beyond_the_best(tried, RATES[-2]) is None


def test_the_prior_decides_what_goes_on() -> None:
    """The same rates, the lower four far worse: of two that go on, the best and the one below it."""
    tried = probes(1.9, 1.9, 1.9, 1.9, *CLOSE)
    assert worth_going_on(tried, 2, None) == RATES[5:7]
    assert worth_going_on(tried, 2, RATES[-1]) == RATES[4:6]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("seed", range(20))
def test_worth_going_on(count: int, seed: int) -> None:
    """Neighbours that have not diverged, ascending, the best among them, as many as asked for where there are."""
    draw = np.random.default_rng(seed)
    losses = [float(loss) for loss in draw.uniform(0.5, 1.9, 7)]
    highest = int(draw.integers(1, 8))
    losses[highest:] = [NAN] * (7 - highest)
    chosen = worth_going_on(probes(*losses), count, None)
    assert len(chosen) == min(count, highest)
    first = RATES.index(chosen[0])
    assert chosen == RATES[first : first + len(chosen)]
    assert RATES[int(np.nanargmin(losses))] in chosen
    assert not any(math.isnan(losses[RATES.index(rate)]) for rate in chosen)


@pytest.mark.parametrize(
    ("at", "count", "chosen"),
    [
        pytest.param(4, 2, [3, 4], id="two: the best and the one below"),
        pytest.param(4, 3, [3, 4, 5], id="three: one on each side"),
        pytest.param(4, 4, [2, 3, 4, 5], id="four: two below and one above"),
        pytest.param(0, 3, [0, 1, 2], id="the lowest is best"),
        pytest.param(6, 3, [4, 5, 6], id="the highest is best"),
        pytest.param(6, 2, [5, 6], id="the highest of two"),
    ],
)
def test_who_goes_on(at: int, count: int, chosen: list[int]) -> None:
    """Short trainings favour high rates: half of them lie below the best, where there are any."""
    losses = [1.6] * 7
    losses[at] = 1.0
    assert worth_going_on(probes(*losses), count, RATES[-1]) == [RATES[index] for index in chosen]


def test_only_those_that_hold_go_on() -> None:
    """Rates that diverged are no neighbours: all three below the best."""
    assert worth_going_on(probes(1.9, 1.8, 1.7, 1.0, NAN, NAN, NAN), 4, RATES[-1]) == RATES[:4]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([1.5, 1.0, 1.9], RATES[-1]),
        ([1.5, 1.0, 2.0], RATES[-2]),
        ([1.5, 1.0, NAN], RATES[-2]),
        ([1.5, 2.5, 1.9], RATES[-1]),
        ([2.5, NAN, NAN], None),
    ],
    ids=str,
)
def test_largest_stable(losses: list[float], expected: float | None) -> None:
    """The highest rate that ended lower than it began."""
    assert largest_stable(probes(*losses)) == expected


def test_largest_stable_of_nothing() -> None:
    """None was tried, none was stable."""
    assert largest_stable(RateProbes()) is None


@pytest.mark.parametrize("risen", ["train", RECENT])
def test_both_losses_must_have_fallen(risen: str) -> None:
    """A rate at which either loss ended higher than it began is not stable."""
    tried = probes(1.5, 1.0)
    tried.tried[-1].measured[STEPS][risen] = 2.1
    assert largest_stable(tried) == RATES[-2]
