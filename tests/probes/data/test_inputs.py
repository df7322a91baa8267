from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from programs import blob_task, blobs, context_of, generator, language_task, mlp
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lrtune.probes.data.causality import causality
from lrtune.probes.data.duplicates import duplicates, row_keys
from lrtune.probes.data.entrance import entrance
from lrtune.probes.data.inputs import inputs
from lrtune.probes.data.leakage import leak
from lrtune.probes.data.order import order, ordered
from lrtune.probes.data.tokens import within_runs
from lrtune.probes.sample import Sample

PROBES = (inputs, order, leak, causality, duplicates)


def sample_of(task: Any) -> Sample:
    """A task's sample, as step 1 makes it."""
    context = context_of(task)
    return Sample(context.program, context.data.train, context.data.train.head(4, 0), 0)


def test_whole_numbers_have_keys_of_their_own() -> None:
    """Small whole numbers, whose bits are mostly zero, do not share keys; equal rows do, and -0 is 0."""
    grid = torch.cartesian_prod(*[torch.arange(-5.0, 6.0)] * 4)
    assert len(torch.unique(row_keys([grid]))) == len(grid)
    assert len(torch.unique(row_keys([torch.eye(500)]))) == 500
    assert torch.equal(row_keys([grid]), row_keys([grid.clone()]))
    assert torch.equal(row_keys([torch.tensor([[0.0]])]), row_keys([torch.tensor([[-0.0]])]))
    ints = torch.cartesian_prod(torch.arange(40), torch.arange(40))
    assert len(torch.unique(row_keys([ints[:, :1], ints[:, 1:]]))) == 1600


def test_floor_and_ceiling() -> None:
    """Each input once with label 0, once with 1: half is right at best, and ln 2 stays."""
    rows = torch.randn(50, 4, generator=generator(0)).repeat(2, 1)
    labels = torch.arange(100) // 50
    seen = duplicates(sample_of(blob_task(train=TensorDataset(rows, labels), val=None, metrics={})))
    assert seen is not None
    assert (seen.examples, seen.repeated, seen.conflicting) == (100, 100, 100)
    assert (seen.ceiling, seen.constant) == (0.5, 0.5)
    assert (seen.floor, seen.whole) == pytest.approx((math.log(2), math.log(2)))


def test_all_between_batches() -> None:
    """Two batches of one value each: all variance lies between them."""
    seen = ordered([torch.zeros(8, 1), torch.ones(8, 1)])
    assert seen is not None
    assert (seen.between_batches, seen.between_stretches) == pytest.approx((1.0, 1.0))
    assert ordered([torch.ones(8, 1), torch.ones(8, 1)]) is None


@pytest.mark.parametrize("seed", range(10))
def test_chance_between_batches(seed: int) -> None:
    """Random targets lie within the deviations of chance that are let through."""
    rows = list(torch.randn(800, 1, generator=generator(seed), dtype=torch.float64).split(20))
    seen = ordered(rows)
    assert seen is not None
    assert abs(seen.significance) < 6
    assert abs(seen.between_batches) < 0.06


def test_the_first_layer() -> None:
    """The pass ends at the first layer with weights, which gets the batch as it is."""
    model = nn.Sequential(nn.LayerNorm((2, 2)), nn.Flatten(), nn.Dropout(0.0), nn.Linear(4, 3), Refusing())
    data = TensorDataset(blobs().tensors[0].unflatten(1, (2, 2)), blobs().tensors[1])
    sample = sample_of(blob_task(model=lambda: model_of(model), train=data, val=None, metrics={}))
    seen = entrance(sample, sample.batches[0])
    assert (seen.layer, seen.kind) == ("3", "Linear")
    assert seen.received is not None
    assert seen.arguments is not None
    assert torch.equal(seen.arguments[0], sample.batches[0][0])


def model_of(model: nn.Module) -> nn.Module:
    """A copy."""
    return copy.deepcopy(model)


class Refusing(nn.Module):
    """Fails when it is reached."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Raise."""
        raise AssertionError("behind the first layer")


def test_runs_at_both_ends() -> None:
    """Padding on either side is left out; a sequence of one token only has nothing left."""
    assert within_runs(torch.tensor([[9, 9, 1, 0, 2, 0, 0], [3, 3, 3, 3, 3, 3, 3]])).tolist() == [1, 0, 2]


class Noisy(nn.Module):
    """Draws, counts and normalises in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, and change input and buffer in place."""
        self.calls += 1
        return self.layers(inputs.mul_(0.5))


TASKS = {
    "batch norm and dropout": lambda: blob_task(model=Noisy),
    "a loader": lambda: blob_task(model=mlp, train=DataLoader(blobs(), batch_size=16, shuffle=True)),
    "dict batches": language_task,
}


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_probes_leave_everything_as_found(make: Any) -> None:
    """Parameters, buffers, gradients, modes, hooks, batches and random state are the same bits afterwards."""
    sample = sample_of(make())
    models = (sample.model, sample.awake)
    for model in models:
        model.eval()
        next(model.modules()).training = True
    states = [{key: value.clone() for key, value in model.state_dict().items()} for model in models]
    modes = [[module.training for module in model.modules()] for model in models]
    before = [tensor.clone() for batch in sample.batches for tensor in tensors(batch)]
    random = torch.get_rng_state()
    for probe in PROBES:
        probe(sample)
    assert torch.equal(random, torch.get_rng_state())
    after = [tensor for batch in sample.batches for tensor in tensors(batch)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for model, state, mode in zip(models, states, modes, strict=True):
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
        assert [module.training for module in model.modules()] == mode
        assert all(parameter.grad is None for parameter in model.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def tensors(batch: Any) -> list[Tensor]:
    """A batch's tensors."""
    return list(batch.values() if isinstance(batch, dict) else batch)
