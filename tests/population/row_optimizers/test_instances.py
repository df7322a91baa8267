"""Real instances on rows."""

from __future__ import annotations

import math

import pytest
import torch

from lrtune.errors import UserCodeError
from lrtune.population.row_optimizers import InstanceRows


class SignDescent(torch.optim.Optimizer):
    """From outside torch: p = p - rate x sign(g), in a way of its own that breaks shared memory."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self):
        """Put new tensors in the place of the old."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.data = parameter.data - group["lr"] * parameter.grad.sign()


def two_groups(rate):
    """The second parameter's rate is a tenth of the first's."""

    def build(parameters):
        first, second = parameters
        groups = [{"params": [first]}, {"params": [second], "lr": rate / 10, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=rate, weight_decay=0.1)

    return build


def draw(seed, *members):
    """A matrix and a number for each member."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*members, *shape, generator=generator) for shape in ((4, 3), ())]


def test_groups_keep_their_ratios():
    """Each row is what an instance alone on ordinary parameters is, and a rate moves both groups."""
    stacks, rates = draw(0, 3), [0.1, 0.01, 0.3]
    singles = [[torch.nn.Parameter(stack[row].clone()) for stack in stacks] for row in range(3)]
    instances = [two_groups(rate)(single) for rate, single in zip(rates, singles, strict=True)]
    rows = InstanceRows(stacks, lambda row, parameters: two_groups(rates[row])(parameters), rates)
    for step in range(10):
        gradients = draw(step, 3)
        gradients[1] = None if step % 3 == 0 else gradients[1]
        factor = 2.0**-step  # exact, so that the order of the products does not matter
        rows.step(gradients, [rate * factor for rate in rates], [0.1] * 3)
        for row, (single, instance) in enumerate(zip(singles, instances, strict=True)):
            for parameter, gradient in zip(single, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient[row]
            for group, ratio in zip(
                instance.param_groups, (1.0, (rates[row] / 10) / rates[row]), strict=True
            ):
                group["lr"] = rates[row] * factor * ratio
            instance.step()
    for at, stack in enumerate(stacks):
        assert torch.equal(stack, torch.stack([single[at].detach() for single in singles]))


def test_rows_are_ordinary_leaf_parameters():
    """Whatever an optimizer asks of a parameter holds, and in-place updates reach the stack."""
    stacks = draw(0, 2)
    seen = []

    def build(row, parameters):
        seen.append((row, parameters))
        return torch.optim.SGD(parameters, lr=1.0)

    rows = InstanceRows(stacks, build, [1.0, 1.0])
    before = [stack.clone() for stack in stacks]
    rows.step([torch.ones_like(stack) for stack in stacks], [1.0, 0.5], [0.0, 0.0])
    assert [row for row, _ in seen] == [0, 1]
    for row, parameters in seen:
        assert [type(parameter) for parameter in parameters] == [torch.nn.Parameter] * 2
        assert all(p.is_leaf and p.requires_grad and p.grad is None for p in parameters)
        for parameter, old, rate in zip(parameters, before, [[1.0, 0.5][row]] * 2, strict=True):
            assert torch.equal(parameter, old[row] - rate)
    for stack, old in zip(stacks, before, strict=True):
        assert torch.equal(stack, torch.stack([old[0] - 1.0, old[1] - 0.5]))


def test_a_class_that_replaces_its_parameters_data():
    """What it computed lands in the stack, at the second step too."""
    stack = torch.zeros(2, 3)
    rows = InstanceRows([stack], lambda row, parameters: SignDescent(parameters, 1.0), [1.0, 1.0])
    for _ in range(2):
        rows.step([torch.full((2, 3), 7.0)], [1.0, 0.25], [0.0, 0.0])
    assert stack.tolist() == [[-2.0] * 3, [-0.5] * 3]


def test_kept_rows_take_their_state_along():
    """Momentum goes on in the new stack; the old one is left alone."""
    stack = torch.zeros(3, 2)
    rows = InstanceRows([stack], lambda row, p: torch.optim.SGD(p, lr=1.0, momentum=0.5), [1.0] * 3)
    rows.step([torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])], [1.0] * 3, [0.0] * 3)
    new = stack[[2, 0]].clone()
    rows.keep([2, 0], [new])
    rows.step([torch.zeros(2, 2)], [1.0, 1.0], [0.0, 0.0])
    assert new.tolist() == [[-6.0] * 2, [-1.5] * 2]
    assert stack.tolist() == [[-1.0] * 2, [-2.0] * 2, [-4.0] * 2]


class Brittle(torch.optim.SGD):
    """Refuses what is not finite."""

    def step(self):
        """Step, or raise."""
        if any(not p.grad.isfinite().all() for group in self.param_groups for p in group["params"]):
            raise RuntimeError("not finite")
        super().step()


def test_a_row_that_raises_stops_alone():
    """The error is kept for the caller, and the other rows are stepped."""
    stack = torch.zeros(3, 2)
    rows = InstanceRows([stack], lambda row, parameters: Brittle(parameters, lr=1.0), [1.0] * 3)
    gradient = torch.ones(3, 2)
    gradient[1] = math.nan
    rows.step([gradient], [1.0] * 3, [0.0] * 3)
    rows.step([torch.ones(3, 2)], [1.0] * 3, [0.0] * 3)
    assert stack.tolist() == [[-2.0] * 2, [0.0] * 2, [-2.0] * 2]
    assert [failure is None for failure in rows.failures] == [True, False, True]
    with pytest.raises(UserCodeError, match="stepping the optimizer"):
        raise rows.failures[1]
