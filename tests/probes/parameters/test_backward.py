from __future__ import annotations

import torch
from torch import nn

from lrtune.population.outside import KeptTensors
from lrtune.probes.parameters.backward import backpropagate


def test_only_the_model_keeps_gradients() -> None:
    """Others get theirs back at once, or when the caller says so."""
    own, other = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))
    backpropagate(3 * own * other, [own])
    assert own.grad == 3
    assert other.grad is None
    outside = KeptTensors()
    backpropagate(3 * own * other, [own], outside)
    assert own.grad == 6
    assert other.grad == 3
    outside.put_back()
    assert other.grad is None


def test_a_loss_of_nothing() -> None:
    """There is nothing to do."""
    backpropagate(torch.ones(()), [])
