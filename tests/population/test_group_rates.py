"""Optimizers of several parameter groups under a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import batches_of, blob_task, blobs, program_of

from lrtune.population.fused.population import FusedPopulation
from lrtune.population.group_rates import GroupRates
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation

if TYPE_CHECKING:
    from torch import nn

SWEEP = (1e-7, 1e-4, 1e-2, 0.1)


def groups_of(model: nn.Module, **head: Any) -> list[dict[str, Any]]:
    """Body and head."""
    body, _, last = model
    return [{"params": body.parameters()}, {"params": last.parameters(), **head}]


def fixed_head(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """The head has a rate of its own."""
    return torch.optim.SGD(groups_of(model, lr=1e-2), lr=lr)


def tenth_head(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """The head has a tenth of the body's rate."""
    return torch.optim.SGD(groups_of(model, lr=lr / 10), lr=lr)


def tensor_rates(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """The rates are tensors, the head's one of its own."""
    return torch.optim.Adam(groups_of(model, lr=torch.tensor(1e-2)), lr=torch.tensor(lr), foreach=False)


def bounded_head(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """The head's rate follows, up to a bound."""
    return torch.optim.SGD(groups_of(model, lr=min(lr, 1e-3)), lr=lr)


@pytest.mark.parametrize(
    ("optimizer", "fixed"),
    [(fixed_head, {1}), (tenth_head, set()), (tensor_rates, {1}), (bounded_head, set())],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_fixed_groups(optimizer: Any, fixed: set[int]) -> None:
    """Fixed are the groups whose rate does not depend on the learning rate; finding out draws nothing."""
    state = torch.get_rng_state()
    assert program_of(blob_task(optimizer=optimizer)).fixed_groups == fixed
    assert torch.equal(torch.get_rng_state(), state)


def test_fixed_groups_are_found_once() -> None:
    """Each further member with a schedule costs one optimizer, its own."""
    built: list[float] = []
    program = program_of(blob_task(optimizer=lambda *given: (built.append(given[1]), fixed_head(*given))[1]))
    data = batches_of(blobs(), 16)
    SerialPopulation(program, [Member(0.1), Member(0.2)], data, {})
    assert built == [0.1, 0.2]
    SerialPopulation(program, [Member(0.1, schedule=SWEEP)] * 3, data, {})
    assert len(built) == 2 + 2 + 3


def test_rates_are_set() -> None:
    """A fixed group keeps its rate, the others keep their multiple of the learning rate."""
    weights = [torch.nn.Parameter(torch.ones(())) for _ in range(3)]
    rates = (1e-7, 1e-8, 1e-2)
    groups = [{"params": [one], "lr": lr} for one, lr in zip(weights, rates, strict=True)]
    optimizer = torch.optim.SGD(groups)
    GroupRates(optimizer, 1e-7, fixed={2}).set(1.0)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.0, 0.1, 1e-2], rel=1e-12)


@pytest.mark.parametrize("execution", [SerialPopulation, FusedPopulation])
@pytest.mark.parametrize("optimizer", [fixed_head, tenth_head], ids=lambda one: one.__name__)
def test_a_sweep_is_the_plain_loop(optimizer: Any, execution: Any) -> None:
    """Under a schedule each step is that of a loop that writes the rates into the groups itself."""
    task, data = blob_task(optimizer=optimizer), batches_of(blobs(64), 16)
    members = [Member(SWEEP[0], seed=seed, schedule=SWEEP) for seed in (0, 1)]
    program = program_of(task)
    population = execution(program, members, data, {})
    losses = population.advance(len(SWEEP))
    for row, member in enumerate(members):
        torch.manual_seed(member.seed)
        model = task.model()
        for step, (inputs, target) in enumerate(data.in_order()):
            model.zero_grad()
            loss = task.loss(model(inputs), target)
            loss.backward()
            optimizer(model, SWEEP[step], 0.0).step()  # without momentum it has no memory
            assert float(losses[row, step]) == pytest.approx(loss.item(), rel=1e-5)
        for key, value in population.export(row).items():
            torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-4, atol=1e-6)
