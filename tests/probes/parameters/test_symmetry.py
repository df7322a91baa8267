from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import CPU, blobs, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.checks.parameters import symmetric_init
from lrtune.data.batches import FixedBatches
from lrtune.probes.parameters.symmetry import symmetry
from lrtune.probes.parameters.unit_weights import UnitWeight, layer_weights, multiplied, own_weights
from lrtune.probes.sample import Sample


def sample_of(model: Any) -> Sample:
    """The first batches of blobs."""
    data = blobs(48)
    batches = [tuple(part) for part in zip(*(one.split(24) for one in data.tensors), strict=True)]
    task = lrtune.Task(model=model, train=batches, loss=F.cross_entropy)
    program = program_of(task)
    assert program.device == CPU
    return Sample(program, FixedBatches(batches), batches, 0)


def constant(model: nn.Module, value: float) -> nn.Module:
    """All parameters set to a number."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def test_rows() -> None:
    """Rows are units: of blocks one by one, or over all gates of a recurrent layer."""
    weight = torch.arange(12.0).reshape(6, 2)
    assert UnitWeight("w", "w").rows(weight).tolist() == weight.tolist()
    assert UnitWeight("w", "w", axis=1).rows(weight).shape == (2, 6)
    assert UnitWeight("w", "w", blocks=3, block=1).rows(weight).tolist() == [[4, 5], [6, 7]]
    assert UnitWeight("w", "w", blocks=3, block=None).rows(weight).tolist() == [
        [0, 1, 4, 5, 8, 9],
        [2, 3, 6, 7, 10, 11],
    ]


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (nn.Linear(2, 3), ["weight"]),
        (nn.Conv2d(4, 4, 3), ["weight"]),
        (nn.Conv2d(4, 4, 3, groups=4), []),
        (nn.Linear(2, 3).requires_grad_(False), []),
        (nn.Embedding(4, 3), []),
        (nn.LayerNorm([4, 4]), []),
        (nn.LSTM(2, 3), ["weight_ih_l0"]),
        (nn.GRUCell(2, 3), ["weight_ih"]),
        (nn.ConvTranspose1d(2, 3, 2), ["weight"]),
        (
            nn.MultiheadAttention(4, 2),
            ["in_proj_weight (query)", "in_proj_weight (key)", "in_proj_weight (value)", "out_proj.weight"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layer_weights(layer: nn.Module, names: list[str]) -> None:
    """Which weights of torch's layers hold dense units, and how many rows each has."""
    weights = list(layer_weights(layer))
    assert [one.name for one in weights] == names
    parameters = dict(layer.named_parameters())
    assert all(len(one.rows(parameters[one.parameter])) in (3, 4) for one in weights)
    assert list(own_weights(layer)) == []


def test_products() -> None:
    """A leaf that is multiplied as a matrix is told from one that is added or scaled."""
    left, right, added = (torch.ones(3, 3, requires_grad=True) for _ in range(3))
    loss = (F.linear(torch.ones(3, 3), left) @ right.T.unsqueeze(0) + added.sum() * added).sum()
    assert multiplied(loss) == {id(left), id(right)}


def test_known_answers() -> None:
    """Zeros behind zeros never differ, a head of zeros does at once, random weights are not looked at further."""
    net = lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))  # noqa: E731
    assert symmetry(sample_of(net)).equal == []
    first, last = symmetry(sample_of(lambda: constant(net(), 0.0))).equal
    assert (first.name, first.units, first.weight, first.output, first.difference) == (
        "0.weight",
        8,
        0.0,
        False,
        0.0,
    )
    assert (last.name, last.output) == ("2.weight", True)
    (head,) = symmetry(
        sample_of(lambda: nn.Sequential(nn.Linear(4, 8), constant(nn.Linear(8, 3), 0.0)))
    ).equal
    assert head.output
    assert head.difference is not None
    assert head.difference > 0.1


class Unused(nn.Module):
    """A layer of zeros that the loss does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.head = constant(nn.Linear(4, 8), 0.0), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(inputs)


def test_what_the_loss_does_not_know_is_left_open() -> None:
    """Without a gradient nothing is said of a layer's units."""
    (idle,) = symmetry(sample_of(Unused)).equal
    assert idle.difference is None


class Factors(nn.Module):
    """Two tables whose product is the output."""

    def __init__(self, zeros: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(5, 3), nn.Embedding(5, 3)])
        for table in self.tables[:zeros]:
            nn.init.zeros_(table.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the product of the rows that the inputs' sizes choose."""
        chosen = inputs[:, :2].abs().mul(2).long().clamp(max=4).T
        return self.tables[0](chosen[0]) * self.tables[1](chosen[1])


@pytest.mark.parametrize(("zeros", "stuck"), [(0, False), (1, False), (2, True)])
def test_tables_of_zeros(zeros: int, stuck: bool) -> None:
    """One factor of zeros opens at the first step; where both are zero neither ever does."""
    seen = symmetry(sample_of(lambda: Factors(zeros)))
    assert (symmetric_init(seen) is not None) == stuck


def test_tables_of_equal_columns() -> None:
    """Where all columns of both factors are equal they stay so; the data tell rows apart, nothing does columns."""

    class Rated(Factors):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs).sum(1, keepdim=True) * torch.arange(3)

    def equal(spread: float) -> nn.Module:
        model = Rated(0)
        for table in model.tables:
            nn.init.constant_(table.weight, 0.1)
            table.weight.data += spread * torch.arange(3)
        return model

    assert symmetric_init(symmetry(sample_of(lambda: equal(0.0)))) is not None
    assert symmetric_init(symmetry(sample_of(lambda: equal(0.1)))) is None
