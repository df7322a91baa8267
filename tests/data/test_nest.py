from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from programs import CPU
from torch.nn.utils.rnn import PackedSequence, pack_sequence

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


class AttrDict(dict[str, Any]):
    """Keys as attributes, through its own `__dict__`."""

    def __init__(self, *items: Any, **keys: Any) -> None:
        super().__init__(*items, **keys)
        self.__dict__ = self


class DotDict(dict[str, Any]):
    """Keys as attributes, by look-up; further attributes are its own."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Named(dict[str, Any]):
    """Its constructor takes something else than items."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def named(**items: Any) -> Named:
    """Return a `Named` with items."""
    made = Named("mine")
    made.update(items)
    return made


ONE, TWO = torch.ones(3, 2), torch.zeros(3)
NESTS = {
    "tensor": ONE,
    "tuple": (ONE, TWO),
    "list": [ONE, TWO],
    "dict": {"x": ONE, "y": TWO},
    "named tuple": Pair(ONE, TWO),
    "ordered dict": OrderedDict(x=ONE, y=TWO),
    "defaultdict": defaultdict(list, x=ONE, y=TWO),
    "attribute dict": AttrDict(x=ONE, y=TWO),
    "attributes by look-up": DotDict(x=ONE, to=TWO),
    "own constructor": named(x=ONE, y=TWO),
    "UserDict": UserDict(x=ONE, y=TWO),
    "read-only": MappingProxyType({"x": ONE, "y": TWO}),
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


@pytest.mark.parametrize(
    "make", [AttrDict, DotDict, named], ids=["own __dict__", "look-up", "own constructor"]
)
def test_dict_classes_keep_what_they_can(make: Any) -> None:
    """A dict of the user's class is one still: keys are attributes where they were, further attributes stay."""
    batch = make(x=ONE)
    if make is DotDict:
        batch.note = "kept"
    mapped = map_nest(lambda tensor: tensor + 1, batch)
    assert torch.equal(mapped["x"], ONE + 1)
    if make is named:
        assert mapped.name == "mine"
    else:
        assert torch.equal(mapped.x, ONE + 1)
    if make is DotDict:
        assert mapped.note == "kept"
    assert torch.equal(batch["x"], torch.ones(3, 2))


@pytest.mark.parametrize("wrap", [lambda g: (g, ONE), lambda g: {"x": [g]}, lambda g: UserDict(x=g)])
def test_objects_inside_a_nest_move_themselves(wrap: Any) -> None:
    """An object with its own `.to` is moved by it wherever it stands."""
    graph = Graph()
    to_device(wrap(graph), CPU)
    assert graph.moved_to == CPU


META = torch.device("meta")


@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_every_tensor_moves(nest: Any) -> None:
    """All tensors of a nest are on the device afterwards, and the nest itself is as it was."""
    moved = to_device(nest, META)
    assert type(moved) is type(nest)
    assert {tensor.device for tensor in tensors_of(moved)} == {META}
    assert {tensor.device for tensor in tensors_of(nest)} == {CPU}


def test_packed_sequences_move_themselves() -> None:
    """A packed sequence's batch sizes stay on the CPU, where torch needs them."""
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    moved = to_device((packed, TWO), META)[0]
    assert isinstance(moved, PackedSequence)
    assert (moved.data.device, moved.batch_sizes.device) == (META, CPU)
    assert isinstance(map_nest(torch.clone, packed), PackedSequence)
