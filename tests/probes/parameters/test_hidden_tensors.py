from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lrtune.probes.parameters.hidden_tensors import hidden_tensors


def model_with(**attributes: Any) -> nn.Module:
    """A layer with attributes."""
    model = nn.Linear(2, 2)
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param(
            {"layers": [nn.Linear(2, 2, bias=False)]}, [("layers[0].weight", "list", True)], id="list"
        ),
        pytest.param({"parts": {"a": nn.PReLU()}}, [("parts['a'].weight", "dict", True)], id="dict"),
        pytest.param({"scale": torch.ones(1, requires_grad=True)}, [("scale", "tensor", False)], id="tensor"),
        pytest.param(
            {"box": SimpleNamespace(inner=[nn.PReLU()])},
            [("box.inner[0].weight", "SimpleNamespace", True)],
            id="object",
        ),
        pytest.param(
            {"blocks": [model_with(more=[nn.PReLU()])]},
            [
                ("blocks[0].weight", "list", True),
                ("blocks[0].bias", "list", True),
                ("blocks[0].more[0].weight", "list", True),
            ],
            id="list in a listed module",
        ),
        pytest.param({"layers": nn.ModuleList([nn.PReLU()])}, [], id="module list"),
        pytest.param({"frozen": [nn.PReLU().requires_grad_(False)]}, [], id="frozen"),
        pytest.param({"numbers": list(range(10**5)), "name": "x"}, [], id="no tensors"),
        pytest.param({"memory": deque([torch.ones(2)])}, [], id="no gradient"),
    ],
)
def test_what_is_hidden(attributes: dict[str, Any], expected: list[tuple[str, str, bool]]) -> None:
    """Path, kind of the place and what lies there, of everything trainable and unregistered."""
    found = hidden_tensors(model_with(**attributes)).values()
    assert [(one.path, one.kind, one.in_module) for one in found] == expected


def test_registered_tensors_in_lists_are_fine() -> None:
    """A list of layers that are registered as well, a recurrent layer's own lists and cycles hide nothing."""
    model = nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2))
    model.shortcuts = [model[0], model]
    assert hidden_tensors(model) == {}


class Closed(Mapping[str, Any]):
    """A container whose file is closed."""

    def __getitem__(self, key: str) -> Any:
        raise ValueError("the file is closed")

    def __iter__(self) -> Any:
        raise ValueError("the file is closed")

    def __len__(self) -> int:
        return 1


def test_containers_that_cannot_be_read() -> None:
    """They are passed over, and the search goes on."""
    model = model_with(data=Closed(), layers=[nn.PReLU()])
    assert [one.path for one in hidden_tensors(model).values()] == ["layers[0].weight"]


def test_large_tables_are_not_read_through() -> None:
    """One limit holds for all that lies in an attribute, and what stands beside a table is still seen."""
    read = []

    class Row(list[int]):
        def __iter__(self) -> Any:
            read.append(1)
            return super().__iter__()

    table = [[Row(range(40)) for _ in range(40)] for _ in range(200)]
    model = model_with(inner=nn.Linear(2, 2), both=[table, nn.PReLU()])
    model.inner.table = table
    assert [one.path for one in hidden_tensors(model).values()] == ["both[1].weight"]
    assert len(read) < 300  # of 8000


def test_modes() -> None:
    """Of the module that a tensor lies in."""
    judge = model_with(scale=torch.ones(1, requires_grad=True)).eval()
    model = model_with(judge=[judge], part=[nn.PReLU()], bare=torch.ones(1, requires_grad=True)).eval()
    modes = {one.path: one.training for one in hidden_tensors(model).values()}
    expected = {"judge[0].weight": False, "judge[0].bias": False, "judge[0].scale": False}
    assert modes == expected | {"part[0].weight": True, "bare": True}
