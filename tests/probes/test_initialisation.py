from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import generator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lrtune.errors import UserCodeError
from lrtune.population.forward import Outcome
from lrtune.probes.initialisation import gradients

INPUTS = torch.randn(6, 4, generator=generator(0))


def outcomes(model: nn.Module, *inputs: Any) -> list[Outcome]:
    """What some batches give, a sum of outputs as loss."""
    return [Outcome(model(one).sum()) for one in inputs]


@pytest.mark.parametrize(
    ("weight", "bad"), [(1.0, []), (float("inf"), ["weight"])], ids=["finite", "infinite"]
)
def test_sparse_gradients(weight: float, bad: list[str]) -> None:
    """The gradients of a sparse embedding are looked at by their values."""
    model = nn.Embedding(5, 2, sparse=True)
    loss = (model(torch.tensor([0, 0, 3])) * weight).sum()
    seen = gradients(model, [Outcome(loss)])
    assert (seen.missing, seen.not_finite) == ([], bad)
    assert model.weight.grad is None


class Checkpointed(nn.Module):
    """Recomputes its layer in the backward pass, the reentrant way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output."""
        return checkpoint(self.second, self.first(inputs), use_reentrant=True)


def test_reentrant_checkpoints() -> None:
    """A reentrant checkpoint, which torch.autograd.grad refuses, is measured; no gradient is left behind."""
    model = Checkpointed()
    seen = gradients(model, outcomes(model, INPUTS))
    assert (seen.connected, seen.missing, seen.not_finite) == (True, [], [])
    assert all(parameter.grad is None for parameter in model.parameters())


class Refusing(torch.autograd.Function):
    """An operation whose backward pass is broken."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        """Return the input."""
        return inputs.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Raise."""
        raise ValueError("no derivative")


def test_a_backward_that_raises_is_the_users() -> None:
    """What a backward pass of the user's own raises is told as their code's error."""
    model = nn.Linear(4, 3)
    with pytest.raises(UserCodeError, match="no derivative"):
        gradients(model, [Outcome(Refusing.apply(model(INPUTS)).sum())])


class Branches(nn.Module):
    """Two layers, of which each batch takes one."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.unused = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the branch of the first number's sign gives."""
        return (self.left if inputs[0, 0] > 0 else self.right)(inputs)


def test_a_branch_that_another_batch_takes() -> None:
    """A parameter is missing when none of several batches reaches it."""
    model = Branches()
    seen = gradients(model, outcomes(model, INPUTS.abs(), -INPUTS.abs()))
    assert seen.missing == ["unused.weight", "unused.bias"]
    assert len(gradients(model, outcomes(model, INPUTS.abs())).missing) == 4


def test_batches_are_taken_as_needed() -> None:
    """Once every parameter has been reached no further batch is computed."""
    model = nn.Linear(4, 3)
    taken = iter(outcomes(model, INPUTS, INPUTS))
    gradients(model, taken)
    assert len(list(taken)) == 1
