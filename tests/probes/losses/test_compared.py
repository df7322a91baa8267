from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import generator, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.population.forward import Outcome
from lrtune.probes.losses.compared import compared, sees_differences
from lrtune.probes.sample import Sample

INPUTS = torch.randn(32, 4, generator=generator(0))
TIMES = 500 * torch.randn(32, 1, generator=generator(1))


def pinball(output: Tensor, target: Tensor) -> Tensor:
    """Three quantiles of one target."""
    error = target - output
    levels = torch.tensor([0.1, 0.5, 0.9])
    return torch.maximum(levels * error, (levels - 1) * error).mean()


@pytest.mark.parametrize(
    ("loss", "wanted"),
    [
        (pinball, True),
        (lambda output, target: (output - target).cosh().log().mean() / 100, False),
        (lambda output, target: ((output - target) / 500).cosh().log().mean(), True),
        (lambda output, target: (output - target).square().mean(), True),
        (lambda output, target: (output.exp() - target * output).mean(), False),
        (lambda output, target: (output.diff(dim=0) - target.diff(dim=0)).square().mean(), False),
        (lambda output, target: output.square().mean(), False),
        (lambda output, target: -F.cosine_similarity(output, target.expand_as(output)).mean(), False),
        (lambda output, target: (output.relu().log1p() - target.relu().log1p()).square().mean(), False),
    ],
    ids=[
        "quantiles",
        "overflow",
        "log-cosh",
        "squares",
        "Poisson",
        "ranks",
        "no target",
        "cosine",
        "logarithms",
    ],
)
def test_losses_of_differences(loss: Any, wanted: bool) -> None:
    """Only a loss of target - output alone is one."""
    output = torch.randn(32, 3, generator=generator(2))
    assert sees_differences(loss, Outcome(torch.zeros(()), output, TIMES)) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_torchs_errors_in_a_step(seed: int) -> None:
    """Data beside an output is a pair, however it is handed over; two outputs, or no output at all, are not."""

    def step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        output = model(batch[0])
        first = F.mse_loss(target=batch[1], input=output) + nn.L1Loss()(output, batch[1])
        return first + F.mse_loss(output, output * 2) + F.mse_loss(output.detach(), batch[1])

    batches = [(INPUTS, TIMES)]
    task = lrtune.Task(model=lambda: nn.Linear(4, 1), train=batches, step=step)
    sample = Sample(program_of(task), None, batches, seed)  # type: ignore[arg-type]
    before = [one.clone() for one in sample.model.parameters()]
    pairs = compared(sample, sample.model, batches[0])
    assert [torch.equal(target, TIMES) for _, target in pairs] == [True, True]
    assert torch.allclose(pairs[0][0], sample.model(INPUTS))
    assert all(map(torch.equal, before, sample.model.parameters()))
    assert all(one.grad is None for one in sample.model.parameters())
