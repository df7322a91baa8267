from __future__ import annotations

import torch
from torch import nn

from lrtune.population.outside import KeptTensors
from lrtune.probes.parameters.autograd_graph import is_python_node, leaves_of, nodes_behind


def test_leaves_are_found_once_each() -> None:
    """A tensor used twice is one leaf; constants and detached parts are none."""
    one, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    loss = (one * other + one + torch.ones(2) + other.detach()).sum()
    assert {id(leaf) for leaf in leaves_of(loss)} == {id(one), id(other)}
    assert len(leaves_of(loss)) == 2
    assert leaves_of(torch.ones(1)) == []


def test_deep_graphs_need_no_recursion() -> None:
    """Ten thousand operations in a row are walked."""
    value = start = torch.ones((), requires_grad=True)
    for _ in range(10_000):
        value = value + 1
    assert leaves_of(value)[0] is start
    assert sum(1 for _ in nodes_behind([value.grad_fn, None])) == 10_001
    assert not any(map(is_python_node, nodes_behind([value.grad_fn])))


def test_kept_tensors() -> None:
    """Values and gradients are those of the first time."""
    weight = nn.Parameter(torch.ones(2))
    kept = KeptTensors()
    kept.keep([weight])
    with torch.no_grad():
        weight.mul_(3)
    weight.grad = torch.ones(2)
    kept.keep([weight])
    kept.put_back()
    assert weight.tolist() == [1.0, 1.0]
    assert weight.grad is None
