from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from layer_families import BATCHES, FUSED, Family, Stateful, batches, linear, program, projected, rebound
from programs import batches_of, blob_task, blobs, program_of
from torch import Tensor, nn

from lrtune.data.batches import FixedBatches
from lrtune.population.fused.difference import _TOLERANCES, difference, tolerance, update_difference
from lrtune.population.fused.equivalence import why_not_fused
from lrtune.population.protocol import Member

if TYPE_CHECKING:
    from lrtune.population.program import Program

MEMBERS = [Member(0.05, 0.01)] * 4


def reason(family: Family, optimizer: str = "SGD", traced: bool = True) -> str | None:
    """Why a family is not fused."""
    return why_not_fused(program(family, optimizer), MEMBERS, batches(family), traced)


def with_optimizer(build: Any, family: Family = FUSED["perceptron float64"]) -> Program:
    """A family's program with an optimizer of the user's own."""
    return dataclasses.replace(program(family), optimizer=build)


def test_says_where_and_by_how_much() -> None:
    """A reason names the layer, the tensor and the size of the difference."""
    family = Family(lambda: nn.Sequential(nn.Linear(4, 4), Stateful(rebound)))
    assert reason(family) == "layer 1: mean differs by 1.0e+00"


def test_caller_is_left_alone() -> None:
    """Random states, the loss module and torch's settings are as before, whether it is fused or refused."""
    memory = nn.BatchNorm1d(4)
    kept = memory.weight
    extra = [0]

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return projected(memory(output), target)

    for family in (FUSED["dropout"], linear(loss)):
        torch.manual_seed(7), random.seed(7), np.random.seed(7)
        state = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        fast = torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
        reason(family)
        assert torch.equal(torch.get_rng_state(), state[0])
        assert (random.getstate(), str(np.random.get_state())) == state[1:]
        assert fast == (torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled())
    assert memory.weight is kept
    assert memory.weight.grad is None
    assert int(memory.num_batches_tracked) == 0
    assert torch.equal(memory.running_var, torch.ones(4))
    assert extra == [0]


def test_step_that_counts_is_refused_and_put_back() -> None:
    """An object whose method is the step, and which counts its calls, keeps its count."""

    class Trainer:
        def __init__(self) -> None:
            self.calls = 0

        def step(self, model: nn.Module, batch: Any) -> Tensor:
            self.calls += 1
            return projected(model(batch[0]), batch[1])

    trainer = Trainer()
    found = reason(Family(lambda: nn.Linear(4, 4), step=trainer.step))
    assert found == "the task's step changes its calls, which members would share"
    assert trainer.calls == 0


def test_number_of_the_batch_that_a_tape_would_freeze() -> None:
    """A value that is read past the recorder differs on the next batch; without a tape it does not."""

    class Reads(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * (1 + float(inputs.numpy().std()))

    family = Family(lambda: Reads(4, 4))
    assert "differs by" in str(reason(family))
    assert reason(family, traced=False) is None


def test_generator_that_a_tape_would_freeze() -> None:
    """Numbers from a NumPy generator of the model's own stand still on a tape."""

    class Draws(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.draw = np.random.default_rng(0)

        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * self.draw.random()

    assert "differs" in str(reason(Family(Draws)))


def test_single_batch_is_varied() -> None:
    """Data of one batch are compared on another one made of the same examples."""
    family = FUSED["linear"]
    only = FixedBatches(list(batches(family).in_order())[:1])
    assert why_not_fused(program(family), MEMBERS, only) is None
    assert len(list(only.in_order())) == 1 < BATCHES


def test_bias_before_a_batch_norm_under_adam() -> None:
    """A gradient that is rounding errors alone, which Adam makes steps of, is no difference."""
    family = Family(lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)))
    assert reason(family, "Adam") is None


def test_optimizer_that_adds_a_hook() -> None:
    """An optimizer that clips in a hook on the parameters is refused."""

    def build(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        for one in model.parameters():
            one.register_post_accumulate_grad_hook(lambda parameter: None)
        return torch.optim.SGD(model.parameters(), lr=lr)

    family = FUSED["perceptron float64"]
    assert "has a hook" in str(why_not_fused(with_optimizer(build), MEMBERS, batches(family)))


def test_own_optimizer_with_groups() -> None:
    """An optimizer with groups of its own is fused as an instance a member."""

    def build(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        weights = [one for one in model.parameters() if one.ndim > 1]
        rest = [one for one in model.parameters() if one.ndim <= 1]
        groups = [{"params": weights, "weight_decay": weight_decay}, {"params": rest, "lr": 3 * lr}]
        return torch.optim.AdamW(groups, lr=lr, weight_decay=0)

    family = FUSED["perceptron float64"]
    assert why_not_fused(with_optimizer(build), MEMBERS, batches(family)) is None


def test_failing_model_is_told_so() -> None:
    """A model that fails alone is not fused either; the serial execution tells the user."""
    family = Family(lambda: nn.Linear(3, 4))
    assert str(reason(family)).startswith(
        "a member trained alone fails: RuntimeError while calling the model"
    )


def test_metrics_of_an_output_that_is_no_nest_of_tensors() -> None:
    """Metrics that could not be measured are no silent loss; of a tuple they can be."""

    class Two(nn.Linear):
        def __init__(self, extra: Any) -> None:
            super().__init__(4, 3)
            self.extra = extra

        def forward(self, inputs: Tensor) -> Any:
            return super().forward(inputs), self.extra

    def task(extra: Any) -> Program:
        return program_of(
            blob_task(
                model=lambda: Two(extra),
                loss=lambda output, target: nn.functional.cross_entropy(output[0], target),
                metrics={"mean": lambda output, target: output[0].mean()},
            )
        )

    train = batches_of(blobs(40), 10)
    assert why_not_fused(task(torch.ones(2)), MEMBERS, train) is None
    assert "metric 'mean'" in str(why_not_fused(task(object()), MEMBERS, train))


def test_rounding_is_decided_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference in float32 that float64 does not have is rounding; one that it has is told as it was found."""
    monkeypatch.setitem(_TOLERANCES, torch.float32, 1e-12)
    assert reason(FUSED["batch norm 2d"]) is None
    told = reason(Family(lambda: nn.Sequential(nn.Linear(4, 4), Stateful(rebound))))
    assert told is not None
    assert "float64" not in told


@pytest.mark.parametrize("rate", [1e-7, 30.0])
def test_extreme_rates(rate: float) -> None:
    """Members of a sweep's tiny and huge rates are compared as any others."""
    family = FUSED["batch norm 1d"]
    members = [Member(rate, schedule=(1e-8, rate), order=order) for order in range(2)]
    assert why_not_fused(program(family, "Adam"), members, batches(family)) is None


def test_differences_are_relative() -> None:
    """To the largest entry, or to the update; what is finite in neither is equal."""
    one = torch.tensor([1.0, -4.0])
    assert difference(one + torch.tensor([0.0, 2.0]), one) == 0.5
    assert difference(one, torch.tensor([1.0, torch.nan])) == torch.inf
    assert difference(torch.tensor([torch.inf, 1.0]), torch.tensor([torch.nan, 1.0])) == 0
    assert difference(torch.zeros(1), torch.zeros(1)) == 0
    assert update_difference(one + 0.5, one + 1, one, 1e-3) == 0.5
    assert update_difference(torch.tensor(3), torch.tensor(4), torch.tensor(3), 1e-3) == torch.inf
    assert tolerance([one.double()]) < tolerance([one]) < tolerance([one.half(), one])
