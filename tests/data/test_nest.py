from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from programs import CPU

from lrtune.data.nest import byte_count, equal_nests, example_count, map_nest, tensors_of, to_device


class Pair(NamedTuple):
    """A batch as a named tuple."""

    inputs: torch.Tensor
    target: torch.Tensor


class Graph:
    """A batch object that is no nest."""

    num_graphs = 4

    def __init__(self) -> None:
        self.moved_to: Any = None

    def to(self, device: torch.device) -> Graph:
        """Remember where it was moved."""
        self.moved_to = device
        return self


ONE, TWO = torch.ones(3, 2), torch.zeros(3)
NESTS = {
    "tensor": ONE,
    "tuple": (ONE, TWO),
    "list": [ONE, TWO],
    "dict": {"x": ONE, "y": TWO},
    "named tuple": Pair(ONE, TWO),
    "deep": {"x": (ONE, [TWO, {"z": ONE}]), "id": "a", "n": 3},
}


@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_map_keeps_the_form(nest: Any) -> None:
    """A mapped nest has the same containers, every tensor mapped and everything else untouched."""
    mapped = map_nest(lambda tensor: tensor + 1, nest)
    assert type(mapped) is type(nest)
    back = map_nest(lambda tensor: tensor - 1, mapped)
    assert equal_nests(back, nest)
    assert not equal_nests(mapped, nest)


@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_counts(nest: Any) -> None:
    """A nest of tensors with three rows holds three examples, and its bytes are those of its tensors."""
    assert example_count(nest) == 3
    assert byte_count(nest) == sum(4 * tensor.numel() for tensor in tensors_of(nest))
    assert equal_nests(to_device(nest, CPU), nest)


def test_objects_move_themselves() -> None:
    """An object with its own `.to` is moved by it, and tells how many examples it holds."""
    graph = Graph()
    assert to_device(graph, CPU) is graph
    assert graph.moved_to == CPU
    assert example_count(graph) == 4


def test_scalars_come_after_rows() -> None:
    """A tensor without dimensions does not count examples where another has rows."""
    assert example_count((torch.tensor(5.0), torch.zeros(7, 2))) == 7
    assert example_count({"scalar": torch.tensor(1.0)}) == 1


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        pytest.param(
            torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.nan]), True, id="NaN equals NaN"
        ),
        pytest.param(torch.zeros(2), torch.zeros(3), False, id="shape"),
        pytest.param(torch.zeros(2), torch.zeros(2, dtype=torch.float64), False, id="dtype"),
        pytest.param((TWO, TWO), (TWO,), False, id="length"),
        pytest.param({"x": 1}, {"x": 1}, True, id="no tensors"),
        pytest.param({"x": 1}, {"x": 1.0}, False, id="type of a leaf"),
    ],
)
def test_equal_nests(one: Any, other: Any, equal: bool) -> None:
    """Nests are equal when all leaves are, type and shape included."""
    assert equal_nests(one, other) is equal
