from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lrtune.probes.learning.constant_rates import FIRST_STEPS, RECENT, STEPS, ProbedRate, RateProbes

INF = math.inf


def one(rate: float, **losses: float) -> ProbedRate:
    """A rate that was trained to the end."""
    return ProbedRate(rate, [1.0] * STEPS, {STEPS: losses})


def diverged(rate: float, steps: int = 7) -> ProbedRate:
    """A rate at which a loss was not finite after some steps; what was measured before no longer counts."""
    early = {count: {"train": 0.5, "val": 0.5} for count in (25, 75) if count <= steps}
    return ProbedRate(rate, [1.0] * steps, early, diverged=True)


def given_up(rate: float, **losses: float) -> ProbedRate:
    """A rate that was trained for the first steps only."""
    return ProbedRate(rate, [1.0] * FIRST_STEPS, {FIRST_STEPS: losses})


def probes(*tried: ProbedRate, **initial: float) -> RateProbes:
    """What was measured."""
    return RateProbes(initial, list(tried))


@pytest.mark.parametrize(("steps", "mean"), [(1, 0.0), (7, 3.0), (25, 12.0), (26, 13.0), (40, 27.0)])
def test_recent_minibatches(steps: int, mean: float) -> None:
    """Losses of 0, 1, 2 ...: the mean of the last 25, or of as many as there are, beside the fixed examples'."""
    probed = ProbedRate(0.1, [float(step) for step in range(steps)])
    probed.measure({"val": 5.0})
    assert probed.measured == {steps: {"val": 5.0, RECENT: mean}}
    assert probed.last == {"val": 5.0, RECENT: mean}


def test_each_measurement_has_its_own_minibatches() -> None:
    """Measured after 25 and 75 steps: what came before the last 25 no longer counts."""
    probed = ProbedRate(0.1, [4.0] * 25)
    probed.measure({"train": 3.0})
    probed.losses += [2.0] * 25 + [1.0] * 25
    probed.measure({"train": 0.5})
    assert probed.measured == {25: {"train": 3.0, RECENT: 4.0}, 75: {"train": 0.5, RECENT: 1.0}}


@pytest.mark.parametrize("split", ["train", "val"])
def test_both_losses_count_alike(split: str) -> None:
    """Fixed examples prefer the low rate by a fifth of their fall, minibatches the high one by half: a mean each.

    The fixed examples' loss falls from 4 by 2.5 at best, the minibatches' from 3 by 2.
    """
    low = ProbedRate(0.1, [2.0] * STEPS)
    low.measure({split: 1.5})
    high = ProbedRate(1.0, [1.0] * STEPS)
    high.measure({split: 2.0})
    found = RateProbes({RECENT: 3.0, split: 4.0}, [low, high]).regrets(STEPS)
    assert found == pytest.approx({0.1: (0.0 + 0.5) / 2, 1.0: (0.2 + 0.0) / 2})


def test_the_worst_is_of_the_means() -> None:
    """Means of both losses first, the worse of both times then.

    At 75 steps the low rate misses 0 and 0.5, at 100 steps 0.4 and 0: 0.25 and 0.2 in the mean. The high one misses
    1 and 0, then 0 and 0.2: 0.5 and 0.1.
    """
    low = ProbedRate(0.1, [], {75: {"val": 1.0, RECENT: 1.5}, 100: {"val": 1.4, RECENT: 1.0}})
    high = ProbedRate(1.0, [], {75: {"val": 2.0, RECENT: 1.0}, 100: {"val": 1.0, RECENT: 1.2}})
    found = RateProbes({"val": 2.0, RECENT: 2.0}, [low, high]).regrets(75, 100)
    assert found == pytest.approx({0.1: 0.25, 1.0: 0.5})


def test_by_hand() -> None:
    """Train falls from 4 to 2 at best, val from 10 to 5: each rate's share that is missing, the mean of both."""
    tried = one(0.1, train=3.0, val=5.0), one(1.0, train=2.0, val=6.0), one(10.0, train=4.0, val=12.0)
    found = probes(*tried, train=4.0, val=10.0).regrets(STEPS)
    expected = {0.1: (0.5 + 0.0) / 2, 1.0: (0.0 + 0.2) / 2, 10.0: (1.0 + 1.4) / 2}
    assert found == pytest.approx(expected)
    assert list(found) == [0.1, 1.0, 10.0]


def test_the_worst_over_steps() -> None:
    """Measured twice: the worse of both regrets, each against the lowest loss of its own time."""
    slow = ProbedRate(0.1, [], {75: {"train": 3.0}, 100: {"train": 1.0}})
    fast = ProbedRate(1.0, [], {75: {"train": 2.0}, 100: {"train": 2.0}})
    found = probes(slow, fast, train=4.0).regrets(75, 100)
    assert found == pytest.approx({0.1: 0.5, 1.0: 1 / 3})


@pytest.mark.parametrize("shift", [0.0, -10.0, 1000.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_shift_and_scale(shift: float, scale: float) -> None:
    """Losses that are shifted and scaled, each split by its own, have the same regrets."""

    def made(loss: Any, other: Any) -> dict[float, float]:
        rows = [(0.1, 3.0, 1.5), (1.0, 2.0, 1.0), (10.0, 2.5, 1.75)]
        tried = [one(rate, train=loss(train), val=other(val)) for rate, train, val in rows]
        return probes(*tried, train=loss(4.0), val=other(2.0)).regrets(STEPS)

    plain = made(lambda loss: loss, lambda loss: loss)
    moved = made(lambda loss: scale * loss + shift, lambda loss: 3 * loss - 2)
    assert moved == pytest.approx(plain, rel=1e-6, abs=1e-9)


def test_diverged_and_given_up() -> None:
    """A rate that diverged misses all, whenever it did; one that was given up is no longer compared."""
    tried = [given_up(0.01, train=3.5), one(0.1, train=2.0), one(1.0, train=3.0)]
    tried += [diverged(3.0, 80), diverged(10.0)]
    found = probes(*tried, train=4.0).regrets(STEPS)
    assert found == pytest.approx({0.1: 0.0, 1.0: 0.5, 3.0: INF, 10.0: INF})
    assert probes(*tried, train=4.0).regrets(FIRST_STEPS) == {0.01: 0.0, 3.0: INF, 10.0: INF}
    assert [rate.state for rate in tried] == ["stopped", "complete", "complete", "diverged", "diverged"]


@pytest.mark.parametrize(
    "tried",
    [
        pytest.param([one(0.1, train=4.0), one(1.0, train=4.5)], id="nothing falls"),
        pytest.param([diverged(0.1), diverged(1.0)], id="all diverged"),
        pytest.param([given_up(0.1, train=1.0)], id="not measured by then"),
        pytest.param([], id="nothing tried"),
    ],
)
def test_no_regrets(tried: list[ProbedRate]) -> None:
    """Without a fall there is nothing to miss."""
    assert probes(*tried, train=4.0).regrets(STEPS) == {}


def test_a_split_that_does_not_fall() -> None:
    """A validation loss that only rises does not count; the training loss does."""
    tried = one(0.1, train=3.0, val=11.0), one(1.0, train=2.0, val=12.0)
    assert probes(*tried, train=4.0, val=10.0).regrets(STEPS) == pytest.approx({0.1: 0.5, 1.0: 0.0})


def test_steps_and_rates() -> None:
    """All steps taken count, of those that diverged too."""
    some = probes(given_up(0.01, train=3.5), one(0.1, train=2.0), diverged(10.0), train=4.0)
    assert some.gradient_steps == FIRST_STEPS + STEPS + 7
    assert some.at(0.1).rate == 0.1
    assert RateProbes().gradient_steps == 0


@pytest.mark.parametrize("split", ["train", "val"])
def test_details(split: str) -> None:
    """Plain JSON without NaN: the validation loss where there is one, null for a rate that diverged."""
    initial = {"train": 4.0, split: 5.0}
    tried = given_up(0.01, train=3.5, val=3.0), one(0.1, train=2.0, val=2.5), diverged(10.0, 80)
    details = probes(*tried, **initial).as_details()
    json.dumps(details, allow_nan=False)
    losses = [3.0, 2.5, None] if split == "val" else [3.5, 2.0, None]
    assert [row["loss"] for row in details["rates"]] == losses
    assert [row["state"] for row in details["rates"]] == ["stopped", "complete", "diverged"]
    assert [row["steps"] for row in details["rates"]] == [FIRST_STEPS, STEPS, 80]
    assert details["initial_loss"] == 5.0
    assert details["split"] == {"val": "validation data", "train": "training subset"}[split]


def test_details_of_nothing() -> None:
    """Where nothing was trained there is no loss to tell, and still plain JSON."""
    details = RateProbes().as_details()
    assert (details["initial_loss"], details["rates"]) == (None, [])
    json.dumps(details, allow_nan=False)
