from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lrtune.checks.fingerprints import bounded_outputs, may_be_bounded
from lrtune.checks.overfitting import Attempt
from lrtune.probes.learning.attainable import Attainable
from lrtune.probes.learning.bounds import Bounds
from lrtune.probes.learning.limits import Limits

TEN = Attainable(1.0, 0.0, math.log(10), True)
TANH = Limits(Bounds(-1, 1, True, "tanh"), 0.797, 0.0, math.log(10))
LEARNT = Attempt(0.1, 2.4, 0.81, 1.0, None, 300)


def test_bounded_logits_are_told_with_their_floor() -> None:
    """All answers right at a loss that cannot fall further: range, floor and function are in the message."""
    found = bounded_outputs(LEARNT, TANH, TEN, stalled=False)
    assert found is not None
    assert found.code == "cannot-overfit"
    assert "within [-1, 1] (tanh)" in found.message
    assert "0.797" in found.message
    assert "temperature" in (found.fix or "")


@pytest.mark.parametrize(
    ("attempt", "limits", "stalled"),
    [
        pytest.param(LEARNT, None, True, id="free"),
        pytest.param(LEARNT, replace(TANH, loss=0.15), True, id="room enough"),
        pytest.param(LEARNT, replace(TANH, free_loss=0.75), True, id="the floor of smoothing"),
        pytest.param(LEARNT, replace(TANH, bounds=Bounds(-1, 1, False)), False, id="may still widen"),
        pytest.param(replace(LEARNT, loss=0.5), TANH, True, id="below the floor"),
        pytest.param(replace(LEARNT, diverged_at=7), TANH, True, id="diverged"),
        pytest.param(LEARNT, replace(TANH, loss=0.0, stuck=0.3), True, id="held at zero and learnt"),
    ],
)
def test_what_is_not_told(attempt: Attempt, limits: Limits | None, stalled: bool) -> None:
    """Bounds that do no harm, that are not known yet, or that the loss has passed are no finding."""
    assert bounded_outputs(attempt, limits, TEN, stalled) is None


def test_targets_out_of_reach() -> None:
    """A regression is told where its targets lie and where the outputs stay."""
    limits = Limits(Bounds(0, 1, True, "sigmoid"), 0.8, 0.0, 1.2, (-2.4, 3.2))
    found = bounded_outputs(replace(LEARNT, accuracy=None), limits, Attainable(None, 0.0, 1.2, False), True)
    assert found is not None
    assert "from -2.4 to 3.2, but the outputs stay within [0, 1]" in found.message


def test_right_answers_held_at_zero() -> None:
    """A ReLU on the logits is told where the sample is not learnt."""
    limits = Limits(Bounds(0, math.inf, True, "ReLU"), 0.0, 0.0, math.log(10), stuck=0.35)
    found = bounded_outputs(replace(LEARNT, accuracy=0.65), limits, TEN, True)
    assert found is not None
    assert "35%" in found.message
    assert "Remove the ReLU" in (found.fix or "")


def test_more_is_asked_where_the_sample_is_learnt() -> None:
    """At 7% of the way bounds explain a sample that is not learnt, and are no fault where it is."""
    near = replace(TANH, loss=0.07 * math.log(10))
    assert (may_be_bounded(near, learnt=True), may_be_bounded(near, learnt=False)) == (False, True)
