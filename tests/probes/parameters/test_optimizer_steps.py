from __future__ import annotations

import gc
import weakref
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


@pytest.mark.parametrize("kept", [False, True])
def test_parameters_that_the_forward_pass_takes_away(kept: bool) -> None:
    """A name that is gone still stands for the tensor that was trained under it."""

    class Renaming(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            if "weight" in self._parameters:
                own = self._parameters.pop("weight")
                self.other = own if kept else None
                self.plain = [own]
            return F.linear(inputs, self.plain[0], self.bias)

    seen = optimizer_steps(sample_of(blob_task(model=lambda: Renaming(4, 3))))
    assert seen is not None
    assert (seen.held, seen.foreign, seen.moving, seen.still) == (2, 0, 2, [])


@pytest.mark.parametrize("plain", [False, True])
def test_complex_parameters(plain: bool) -> None:
    """They are held and move like others."""

    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64))

        def forward(self, inputs: Tensor) -> Tensor:
            return (inputs.cfloat() @ self.weight).abs()

    sample = sample_of(blob_task(model=Waves))
    seen = optimizer_steps(replace(sample, program=replace(sample.program, plain=plain)))
    assert seen is None if plain else seen is not None and (seen.held, seen.moving) == (1, 1)


def test_one_model_at_a_time() -> None:
    """The first model makes room before a second one is built."""
    alive: weakref.WeakSet[nn.Module] = weakref.WeakSet()
    others: list[int] = []

    def build() -> nn.Module:
        gc.collect()
        others.append(len(alive))
        model = nn.Linear(4, 3)
        alive.add(model)
        return model

    task = blob_task(model=build, optimizer=lambda m, lr, wd: torch.optim.SGD([m.weight], lr))
    sample = sample_of(replace(task, loss=lambda o, t: 1e-9 * F.cross_entropy(o, t)))
    others.clear()
    assert optimizer_steps(sample) is not None
    assert others == [0, 0]
