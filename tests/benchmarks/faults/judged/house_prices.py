"""A regression of house prices on nine columns of a table, whose last column is the price."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune


def list_houses(houses: int) -> Tensor:
    """Draw a table `[houses, 10]` in its own units; the last column is the price, 0 where it is given on request."""
    generator = torch.Generator().manual_seed(909)
    shares = torch.rand(9, houses, generator=generator)
    area = 40 + 200 * shares[0] ** 1.5
    rooms = (area / 28 + 2 * shares[1]).round()
    year = (1900 + 123 * shares[2]).round()
    centre = 30 * shares[3] ** 2
    school, station = 4 * shares[4], 6 * shares[5]
    garden = torch.where(shares[6] > 0.5, 800 * (shares[6] - 0.5), 0.0)
    crime, energy = 10 * shares[7], 40 + 260 * shares[8]
    logarithm = (
        8.3
        + 0.9 * area.log()
        - 0.04 * centre
        + 0.00004 * (year - 1960) ** 2
        + 0.0008 * garden
        - 0.05 * crime * (centre < 8)
        - 0.06 * station
        - 0.001 * energy
    )
    prices = (logarithm + 0.05 * torch.randn(houses, generator=generator)).exp().round()
    prices[torch.rand(houses, generator=generator) < 0.02] = 0
    return torch.stack([area, rooms, year, centre, school, station, garden, crime, energy, prices], dim=1)


def prepare(table: Tensor, unpriced: bool, dollars: bool, whole_table: bool) -> tuple[Tensor, Tensor]:
    """Standardise columns and logarithms of prices.

    Args:
        table: Of houses.
        unpriced: Keeps houses whose price is given on request.
        dollars: Keeps the prices as they are.
        whole_table: Forgets to take the price out of the columns.
    """
    if not unpriced:
        table = table[table[:, -1] > 0]
    table = torch.cat([table[:, :-1], table[:, -1:].log()], dim=1)
    scaled = (table - table.mean(dim=0)) / table.std(dim=0)
    inputs = scaled if whole_table else scaled[:, :-1]
    return inputs, table[:, -1].exp() if dollars else scaled[:, -1]


class PriceNet(nn.Module):
    """Two hidden layers and one output.

    Args:
        columns: Of the table.
        positive: Whether the output is passed through a ReLU, as prices are positive.
        squeezed: Whether the output is `[batch]` instead of `[batch, 1]`.
    """

    def __init__(self, columns: int, positive: bool, squeezed: bool) -> None:
        super().__init__()
        self.squeezed = squeezed
        layers = [nn.Linear(columns, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)]
        self.layers = nn.Sequential(*layers, *([nn.ReLU()] if positive else []))

    def forward(self, columns: Tensor) -> Tensor:
        """Map columns `[batch, columns]` to a price each."""
        prices = self.layers(columns)
        return prices.squeeze(1) if self.squeezed else prices


def make_task(
    unpriced: bool = False,
    dollars: bool = False,
    whole_table: bool = False,
    positive: bool = False,
    squeezed: bool = True,
    another_model: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        unpriced: Whether prices of 0 are kept.
        dollars: Whether the targets are dollars.
        whole_table: Whether the price is among the inputs.
        positive: Whether the output has a ReLU.
        squeezed: Whether the output has the target's shape.
        another_model: Whether the optimizer is built for a model of its own.
    """
    inputs, prices = prepare(list_houses(1200), unpriced, dollars, whole_table)

    def build_model() -> nn.Module:
        """Build the model for the table's columns."""
        return PriceNet(inputs.shape[1], positive, squeezed)

    def configure(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """Build Adam."""
        trained = build_model() if another_model else model
        return torch.optim.Adam(trained.parameters(), lr=learning_rate, weight_decay=weight_decay)

    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=build_model,
        train=DataLoader(TensorDataset(inputs[:960], prices[:960]), 48, shuffle=True, generator=generator),
        val=DataLoader(TensorDataset(inputs[960:], prices[960:]), 48),
        loss=nn.MSELoss(),
        optimizer=configure,
    )


CASE = Case(
    name="house-prices",
    healthy=make_task,
    faults=(
        Fault(
            "output [batch, 1] against target [batch]",
            ("target-shape-mismatch", "broadcast-target"),
            functools.partial(make_task, squeezed=False),
        ),
        Fault(
            "the logarithm of prices of 0",
            ("nonfinite-target",),
            functools.partial(make_task, unpriced=True),
        ),
        Fault(
            "the price left among the inputs",
            ("target-leak",),
            functools.partial(make_task, whole_table=True),
        ),
        Fault(
            "prices in dollars as targets",
            ("target-not-normalised",),
            functools.partial(make_task, dollars=True),
        ),
        Fault(
            "a ReLU on the output for standardised prices",
            ("cannot-overfit", "target-out-of-range"),
            functools.partial(make_task, positive=True),
        ),
        Fault(
            "an optimizer over the parameters of another model",
            ("optimizer-does-not-step", "parameter-not-in-optimizer"),
            functools.partial(make_task, another_model=True),
        ),
    ),
)
