from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from programs import blob_task, context_of
from torch import nn

from lrtune.random_state import seeded
from lrtune.steps.slow_models import FEWEST_BATCHES, SLOW, affordable, forward_seconds

if TYPE_CHECKING:
    from lrtune.steps.context import Context


@pytest.fixture
def context() -> Context:
    """A model with running statistics and dropout, which a further pass must not show in."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))

    return context_of(blob_task(model=build))


def test_only_a_first_pass_that_seems_slow_is_timed_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first pass may load libraries or compile; what counts is the shorter time of both."""
    monkeypatch.setattr("lrtune.steps.slow_models.Stopwatch.seconds", lambda self: 3.0)
    with seeded(0):
        model = context.program.build_model()
    (batch,) = context.data.train.head(1, 0)
    times = [forward_seconds(context.program, model, batch, 0, first) for first in (0.5 * SLOW, 2.0, 9.0)]
    assert times == [0.5 * SLOW, 2.0, 3.0]


def test_a_further_pass_leaves_no_trace(context: Context) -> None:
    """Neither the model's statistics nor the random state are other ones after it."""
    with seeded(0):
        model = context.program.build_model()
    (batch,) = context.data.train.head(1, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert forward_seconds(context.program, model, batch, 0, 5.0) < 5.0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_one_bound_decides_how_many_batches() -> None:
    """Below it all are taken, above it just so many, whatever the time; what there is not cannot be left out."""
    notes: list[str] = []
    batches = list(range(16))
    assert affordable(batches, 0.99 * SLOW, notes.append) == batches
    assert affordable(batches[:FEWEST_BATCHES], 9.0, notes.append) == batches[:FEWEST_BATCHES]
    assert notes == []
    for seconds in (SLOW, 2.0, 90.0):
        assert affordable(batches, seconds, notes.append) == batches[:FEWEST_BATCHES]
    assert notes[1] == "a forward pass takes 2 s: the loss is that of 4 batches instead of 16"
