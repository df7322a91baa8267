from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import generator, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.checks.reach import target_out_of_reach
from lrtune.probes.data.reach import reach
from lrtune.probes.sample import Sample

INPUTS = torch.randn(128, 6, generator=generator(0))
BOTH = torch.randn(128, 1, generator=generator(1))


def log_cosh(output: Tensor, target: Tensor) -> Tensor:
    """A loss of one's own."""
    return (output - target).cosh().log().mean()


def logarithms(output: Tensor, target: Tensor) -> Tensor:
    """One that does not compare numbers as they are."""
    return (output.relu().log1p() - target.relu().log1p()).square().mean()


def reported(end: Any, target: Tensor, loss: Any, seed: int) -> bool:
    """Whether a perceptron that ends so is told."""
    model = lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1), *end())  # noqa: E731
    batches = list(zip(INPUTS.split(32), target.split(32), strict=True))
    task = lrtune.Task(model=model, train=batches, loss=loss)
    seen = reach(Sample(program_of(task), None, batches, seed))  # type: ignore[arg-type]
    return seen is not None and target_out_of_reach(seen) is not None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", [F.mse_loss, nn.HuberLoss(), log_cosh], ids=["squares", "Huber", "own"])
@pytest.mark.parametrize("end", [nn.ReLU, nn.Sigmoid, nn.Tanh], ids=["ReLU", "sigmoid", "tanh"])
def test_outputs_that_cannot_get_there(end: Any, loss: Any, seed: int) -> None:
    """Standardised targets behind an activation, under any loss of numbers."""
    assert reported(lambda: [end()], BOTH, loss, seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("end", "target", "loss"),
    [
        (list, BOTH, log_cosh),
        (lambda: [nn.ReLU()], BOTH.abs(), log_cosh),
        (lambda: [nn.ReLU()], BOTH.abs() - 0.02, F.mse_loss),
        (lambda: [nn.Sigmoid()], BOTH.sigmoid(), F.mse_loss),
        (lambda: [nn.Tanh()], BOTH / BOTH.abs().max(), F.l1_loss),
        (lambda: [nn.LeakyReLU()], BOTH, F.mse_loss),
        (lambda: [nn.ReLU()], BOTH, logarithms),
        (lambda: [nn.ReLU()], (BOTH > 0).float(), F.binary_cross_entropy_with_logits),
    ],
    ids=["free", "positive", "noise", "shares", "cut", "leaky", "logarithms", "classes"],
)
def test_targets_within_reach(end: Any, target: Tensor, loss: Any, seed: int) -> None:
    """Ranges that hold the targets, and losses that are no comparison of numbers."""
    assert not reported(end, target, loss, seed)
