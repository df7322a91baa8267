from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from lrtune.population.fused.tape import NotTapeableError, record

if TYPE_CHECKING:
    from collections.abc import Callable


def replayed(function: Callable[[Tensor], Tensor], one: Tensor, other: Tensor) -> Tensor:
    """Record a function on one tensor and play it on another."""
    with torch.no_grad():
        found = record(lambda: [function(one)], [one])([other])[0]
    assert found is not None
    return found


def weighted(one: Tensor) -> Tensor:
    """Use a tensor that is made anew at each call, and changed in place."""
    weight = torch.tensor([1.0, 2.0, 3.0])
    weight.mul_(2)
    return one * weight


def split(one: Tensor) -> Tensor:
    """Use an operation that gives several tensors."""
    values, places = one.sort()
    return values.cumsum(0) + places


def written(one: Tensor) -> Tensor:
    """Change what was computed in place."""
    doubled = one * 2
    doubled[1:].add_(1)
    return doubled + one * 2


@pytest.mark.parametrize("function", [torch.tanh, weighted, split, written])
def test_plays_on_other_values(function: Callable[[Tensor], Tensor]) -> None:
    """A tape gives on other values what the function gives."""
    one, other = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([-1.0, 5.0, 0.5])
    for _ in range(2):
        assert torch.equal(replayed(function, one, other.clone()), function(other.clone()))


def test_input_is_changed_in_place() -> None:
    """A tape changes its inputs as the function would."""
    one, other = torch.zeros(2), torch.ones(2)
    played = record(lambda: [one.add_(1).sum()], [one])
    found = played([other])
    assert other.tolist() == [2, 2]
    assert [float(value) for value in found if value is not None] == [4]


def test_draws_anew_each_time() -> None:
    """Random numbers are drawn again when a tape is played."""
    one = torch.zeros(8)
    played = record(lambda: [one + torch.rand(8)], [one])
    first, second = played([one])[0], played([one])[0]
    assert first is not None
    assert second is not None
    assert not torch.equal(first, second)


def test_gradients_are_recorded() -> None:
    """What the backward pass computes is on the tape too."""
    one = torch.tensor([1.0, 2.0], requires_grad=True)
    played = record(lambda: torch.autograd.grad((one**3).sum(), one), [one])
    found = played([torch.tensor([2.0, 3.0])])[0]
    assert found is not None
    assert found.tolist() == [12, 27]


@pytest.mark.parametrize("function", [lambda one: one * one.sum().item(), lambda one: one[one > 1]])
def test_reading_values_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    """What depends on values is refused when it is recorded."""
    with pytest.raises(NotTapeableError, match="depends on the values"):
        replayed(function, torch.tensor([3.0, 1.0]), torch.zeros(2))
