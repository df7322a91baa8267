from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import linear_task, program_of
from torch import nn

from lrtune.probes.learning.momentum import momentum_of


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        pytest.param({"name": "sgd"}, 0.0, id="sgd"),
        pytest.param({"name": "sgd", "momentum": 0.9}, 0.9, id="sgd with momentum"),
        pytest.param({"name": "sgd", "momentum": 0.99, "nesterov": True}, 0.99, id="nesterov"),
        pytest.param({"name": "rmsprop", "momentum": 0.5}, 0.5, id="rmsprop with momentum"),
        pytest.param({"name": "adamw"}, 0.0, id="adamw: its betas divide out"),
    ],
)
def test_by_name(optimizer: dict[str, Any], expected: float) -> None:
    """The momentum that a class of torch multiplies its rate by."""
    assert momentum_of(program_of(linear_task(), **optimizer), 0.1, 0) == expected


def test_own_optimizer() -> None:
    """A task's own optimizer counts by its first group."""

    def built(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        groups = [{"params": [one], "momentum": 0.8} for one in model.parameters()]
        return torch.optim.SGD(groups, lr, weight_decay=weight_decay)

    assert momentum_of(program_of(linear_task(optimizer=built)), 0.1, 0) == 0.8


@pytest.mark.parametrize("value", [None, "heavy", 1.0, 1.5, -0.1, float("nan")])
def test_what_is_no_momentum(value: Any) -> None:
    """A group may hold anything under the name: only a number in [0, 1) is a momentum."""

    def built(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(model.parameters(), lr)
        optimizer.param_groups[0]["momentum"] = value
        return optimizer

    assert momentum_of(program_of(linear_task(optimizer=built)), 0.1, 0) == 0.0


def test_random_numbers_are_as_before() -> None:
    """Looking builds a model, and draws from no generator of the caller's."""
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    momentum_of(program_of(linear_task()), 0.1, 0)
    assert torch.equal(torch.rand(3), expected)
