from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from lrtune.probes.learning.peer_rules import PEER_RULES, peer_suggestions
from lrtune.probes.learning.sweep import sweep_rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

STEPS = 100
RATES = sweep_rates(1e-7, 10.0, STEPS)


def raw(smoothed: ArrayLike, peer: str) -> list[float]:
    """Return the losses that a peer smooths to `smoothed`, `[steps]`."""
    share = 0.05 if peer == "torch-lr-finder" else 0.02
    curve = np.asarray(smoothed, dtype=float)
    step = np.arange(1, len(curve) + 1)
    bias = {"torch-lr-finder": 1.0, "Lightning": 1 - 0.98 ** (step + 1)}.get(peer, 1 - 0.98**step)
    mean = curve * bias
    before = np.concatenate([mean[:1] if peer == "torch-lr-finder" else [0.0], mean[:-1]])
    return list((mean - (1 - share) * before) / share)


def valley() -> list[float]:
    """A smoothed curve: to step 30 a slow rise, to 60 a fall, steepest from 45 on and again to 47, then a rise."""
    change = np.array([0.001] * 30 + [-0.03] * 30 + [0.05] * 39)
    change[45], change[46] = -0.1, -0.05
    return [2.0, *(2.0 + np.cumsum(change))]


def suggested(name: str, smoothed: ArrayLike, ending: Sequence[float] = ()) -> float | None:
    """Return what a rule makes of a smoothed curve, and of raw losses after it."""
    return PEER_RULES[name](RATES, raw(smoothed, name) + list(ending))


VALLEY_ANSWERS = {
    "fastai valley": RATES[60 - 31 + 10 + 5],  # 31 losses from step 30 to 60, each below the one before
    "fastai slide": RATES[94 - 15],  # the rise is straight: the very first interval's lower end
    "fastai minimum/10": RATES[60] / 10,
    "fastai steep": RATES[45],  # where the greatest single fall begins
    "torch-lr-finder": RATES[46],  # between the two greatest falls
    "Lightning": RATES[31],  # where the fall begins: there a step of the rate is least
}


def test_names() -> None:
    """The rules have their names as shown to users, in a fixed order."""
    assert list(PEER_RULES) == list(VALLEY_ANSWERS)


@pytest.mark.parametrize("name", PEER_RULES)
def test_valley(name: str) -> None:
    """Each rule finds its point of a valley whose falls are known."""
    assert suggested(name, valley()) == pytest.approx(VALLEY_ANSWERS[name])


@pytest.mark.parametrize("name", PEER_RULES)
def test_stops_where_it_diverges(name: str) -> None:
    """A loss just above so many times the lowest, at step 25, ends the run before the fall; one just below does not."""
    multiple = 5 if name == "torch-lr-finder" else 4
    for spike, stops in ((1.01, True), (0.99, False)):
        smoothed = [*valley()[:25], spike * multiple * 2.0, *valley()[26:]]
        assert ((suggested(name, smoothed) or 0.0) < RATES[25]) == stops


@pytest.mark.parametrize(
    ("name", "first", "last"), [("fastai steep", 10, 93), ("torch-lr-finder", 10, 94), ("Lightning", 10, 98)]
)
def test_windows(name: str, first: int, last: int) -> None:
    """A fall that is steepest at one end is answered by that end of what a rule looks at."""
    falling = 3 - np.cumsum(1.5 ** -np.arange(1.0, STEPS + 1))
    assert suggested(name, falling) == pytest.approx(RATES[first])
    assert suggested(name, 4 - falling[::-1]) == pytest.approx(RATES[last])


@pytest.mark.parametrize("name", PEER_RULES)
def test_non_finite_ends(name: str) -> None:
    """NaN to the end take the place of the last steps that are dropped; an infinite loss ends the run there."""
    # torch-lr-finder: the step before the first NaN
    through_nan = VALLEY_ANSWERS | {"fastai slide": RATES[79 - 15], "torch-lr-finder": RATES[79]}
    to_infinity = VALLEY_ANSWERS | {"fastai slide": RATES[45]}  # slid from (60, 75) to (45, 60)
    assert suggested(name, valley()[:80], [math.nan] * 20) == pytest.approx(through_nan[name])
    assert suggested(name, valley()[:80], [math.inf, 1.0]) == pytest.approx(to_infinity[name])


def test_slide_follows_the_rise() -> None:
    """The interval slides until its upper end has left the rise from step 85 on: from (79, 94) to (70, 85)."""
    smoothed = [2.0] * 86 + [2.0 + 0.05 * step for step in range(1, 15)]
    assert suggested("fastai slide", smoothed) == pytest.approx(RATES[70])
    other_unit = [0.1 * loss for loss in smoothed]  # the rise falls below the threshold
    assert suggested("fastai slide", other_unit) == pytest.approx(RATES[79])


def test_valley_without_a_valley() -> None:
    """Of the window from step 10 to 94: the first where nothing falls, the last where only the first step falls."""
    rule = PEER_RULES["fastai valley"]
    assert rule(RATES, range(100, 200)) == rule(RATES, [0.0] * STEPS) == pytest.approx(RATES[10])
    one_fall = [2.0] * 11 + [1.5 + 0.001 * step for step in range(89)]
    assert suggested("fastai valley", one_fall) == pytest.approx(RATES[94])


@pytest.mark.parametrize("losses", [[], [1.0] * 5, [math.nan] * STEPS, [math.inf] * STEPS, [-1.0] * STEPS])
def test_nothing_to_suggest(losses: list[float]) -> None:
    """No rule suggests anything, or raises, where it is left without losses; below zero all stop at once."""
    assert peer_suggestions(RATES, losses) == dict.fromkeys(PEER_RULES)


@pytest.mark.parametrize(
    ("steps", "suggesting"), [(5, ""), (6, "valley, minimum/10"), (8, "valley, minimum/10, steep")]
)
def test_short_sweeps(steps: int, suggesting: str) -> None:
    """A rule suggests from as few losses as its own computation needs: fastai's after five dropped at the end."""
    found = peer_suggestions(RATES[:steps], [2.0 - 0.1 * step for step in range(steps)])
    assert ", ".join(name[7:] for name, rate in found.items() if rate is not None) == suggesting


def averaged(losses: Sequence[float], peer: str) -> list[float]:
    """Return, step by step, the smoothed losses that a peer records until it stops."""
    recorded: list[float] = []
    mean, best = 0.0, math.inf
    for step, loss in enumerate(losses, start=1):
        if peer == "torch-lr-finder":
            value = loss if step == 1 else 0.05 * loss + 0.95 * recorded[-1]
        else:
            mean = 0.98 * mean + 0.02 * loss
            value = mean / (1 - 0.98 ** (step + 1 if peer == "Lightning" else step))
        recorded.append(value)
        if value > (5 if peer == "torch-lr-finder" else 4) * best:  # a new lowest above zero never is
            break
        best = min(value, best)
    return recorded


def valley_reference(smoothed: Sequence[float]) -> int:
    """Return the step of fastai's valley by patience sorting: as many tops as the longest falling subsequence."""
    tops: list[float] = []
    end = 0
    for at, value in enumerate(smoothed):
        place = bisect_left(tops, -value)
        end = at if place == len(tops) else end
        tops[place : place + 1] = [-value]
    return end - len(tops) + int(len(tops) / 3) + int(len(tops) / 3 / 2)


def slide_reference(smoothed: Sequence[float]) -> int:
    """Return the step of fastai's slide, interval by interval."""
    slid = left = len(smoothed) - 16
    while left >= 0 and abs(difference(smoothed, left + 15) - difference(smoothed, left)) > 0.005:
        slid, left = left, left - 1
    return slid


def difference(values: Sequence[float], at: int) -> float:
    """Return the central difference, one-sided at the ends."""
    after, before = min(at + 1, len(values) - 1), max(at - 1, 0)
    return (values[after] - values[before]) / (after - before)


def reference(rates: Sequence[float], losses: Sequence[float]) -> dict[str, float]:
    """Compute all rules; Lightning's gradient is PyTorch's, as there."""
    smoothed = averaged(losses, "fastai")[len(rates) // 10 : -5]
    first = rates[len(rates) // 10 :]
    steps = range(len(smoothed) - 1)
    falls = [(smoothed[at + 1] - smoothed[at]) / math.log(first[at + 1] / first[at]) for at in steps]
    skipped = averaged(losses, "torch-lr-finder")[10:-5]
    slopes = [difference(skipped, at) for at in range(len(skipped))]
    values = torch.tensor(averaged(losses, "Lightning")[10:-1], dtype=torch.float64)
    grid = torch.tensor(rates[10:], dtype=torch.float64)[: len(values)]
    return {
        "fastai valley": first[valley_reference(smoothed)],
        "fastai slide": first[slide_reference(smoothed)],
        "fastai minimum/10": first[smoothed.index(min(smoothed))] / 10,
        "fastai steep": first[falls.index(min(falls))],
        "torch-lr-finder": rates[10:][slopes.index(min(slopes))],
        "Lightning": float(grid[torch.gradient(values, spacing=[grid])[0].argmin()]),
    }


@pytest.mark.parametrize("ended", [0.8, 1.0], ids=["ended early", "whole"])
@pytest.mark.parametrize("steps", [60, 100, 200])
@pytest.mark.parametrize("seed", range(8))
def test_against_a_reference(seed: int, steps: int, ended: float) -> None:
    """On noisy sweeps that fall and mostly diverge all rules agree with computing them step by step."""
    draw = np.random.default_rng(seed)
    rates = sweep_rates(1e-7, 10.0, steps)
    grid = np.asarray(rates)
    losses = 2 - 1.5 / (1 + (1e-3 / grid) ** 1.5) + (grid / draw.choice([0.1, 1.0, 10.0])) ** 4
    losses += 0.1 * draw.random() * draw.standard_normal(steps)
    shown = [float(loss) for loss in losses[: round(ended * steps)]]
    assert peer_suggestions(rates, shown) == pytest.approx(reference(rates, shown))
