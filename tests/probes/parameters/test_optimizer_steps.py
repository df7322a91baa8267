from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from programs import blob_task, context_of, quadratic_task
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.parameters.optimizer_steps import optimizer_steps
from lrtune.probes.sample import Sample


def sample_of(task: Any, **keys: Any) -> Sample:
    """The task's first batches, the optimizer one that nobody vouches for."""
    context = context_of(task, **keys)
    return Sample(replace(context.program, plain=False), context.data.train, context.data.train.head(2, 0), 0)


def test_a_healthy_program() -> None:
    """Everything is held and moves."""
    seen = optimizer_steps(sample_of(blob_task()))
    assert seen is not None
    assert (seen.optimizer, seen.trainable, seen.held, seen.foreign, seen.moving) == ("SGD", 4, 4, 0, 4)
    assert (seen.left_out, seen.still, seen.replaced, seen.groups) == ([], [], [], [])


def test_an_optimizer_by_name_is_taken_on_trust() -> None:
    """A class of torch's on all parameters needs no trial, unless the model interferes with its own parameters."""

    class Resetting(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            self.weight.data.fill_(0.1)
            return super().forward(inputs)

    def cleared() -> nn.Module:
        model = nn.Linear(4, 3)
        model.weight.register_post_accumulate_grad_hook(lambda one: setattr(one, "grad", None))
        return model

    def trusted(model: Any) -> bool:
        sample = sample_of(blob_task(model=model))
        return optimizer_steps(replace(sample, program=replace(sample.program, plain=True))) is None

    assert trusted(lambda: nn.Linear(4, 3))
    assert not trusted(lambda: Resetting(4, 3))
    assert not trusted(cleared)


def test_nothing_without_a_gradient() -> None:
    """A loss that is cut off, and a frozen model, leave nothing to measure."""
    assert optimizer_steps(sample_of(blob_task(loss=lambda o, t: F.cross_entropy(o.detach(), t)))) is None
    assert optimizer_steps(sample_of(blob_task(model=lambda: nn.Linear(4, 3).requires_grad_(False)))) is None


@pytest.mark.parametrize("curvature", [1e-12, 1e-6, 1.0])
def test_rounding_is_no_reason(curvature: float) -> None:
    """A gradient too small to be seen at a usual rate is tried at a larger one."""
    seen = optimizer_steps(sample_of(quadratic_task(curvature)))
    assert seen is not None
    assert (seen.moving, seen.still) == (1, [])


def test_sparse_gradients_and_groups() -> None:
    """A group at rate 0 is told by its index, also beside sparse gradients."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4, sparse=True), nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.table(inputs[:, 0].abs().long()))

    def build(model: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        groups = [{"params": model.table.parameters()}, {"params": model.head.parameters(), "lr": 0.0}]
        return torch.optim.SGD(groups, lr=lr)

    seen = optimizer_steps(sample_of(blob_task(model=Words, optimizer=build)))
    assert seen is not None
    assert (seen.moving, seen.still, seen.groups) == (1, ["head.weight", "head.bias"], [(1, 0.0)])


def test_what_a_zero_head_hides_is_left_out_all_the_same() -> None:
    """A parameter whose gradient a zero head still keeps at zero is missed in the groups, too."""

    def model() -> nn.Module:
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        nn.init.zeros_(net[2].weight)
        return net

    task = blob_task(model=model, optimizer=lambda m, lr, wd: torch.optim.SGD(m[2].parameters(), lr))
    seen = optimizer_steps(sample_of(task))
    assert seen is not None
    assert seen.left_out == ["0.weight", "0.bias"]
