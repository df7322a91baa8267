"""Prices of houses from eight columns of very different kinds, standardised; a residual tanh net and Huber loss."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable


def _market(count: int) -> tuple[Tensor, Tensor]:
    """Draw houses and what they sold for, in dollars."""
    draw = torch.Generator().manual_seed(77)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=draw)

    area, lot = uniform(45, 260), uniform(100, 1500)
    built, rooms = uniform(1890, 2020).floor(), uniform(2, 9).floor()
    north, east = uniform(47.1, 47.8), uniform(-122.5, -121.4)
    grade, view = uniform(1, 13).floor(), uniform(0, 5).floor()
    distance = ((north - 47.6) ** 2 + (east + 122.3) ** 2).sqrt()
    price = 1500 * area * (1 + 0.06 * grade) * (-1.2 * distance).exp()
    price = price + 60 * lot + 400 * (built - 1950).abs() + 15_000 * view + 4_000 * rooms
    price = price * (0.05 * torch.randn(count, generator=draw)).exp()
    return torch.stack([area, lot, built, rooms, north, east, grade, view], dim=1), price


class _Houses(Dataset[tuple[Tensor, Tensor]]):
    """Rows of columns and price; as plain as a table."""

    def __init__(self, columns: Tensor, price: Tensor) -> None:
        self.columns, self.price = columns, price

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.columns[row], self.price[row]


class _SwishByHand(torch.autograd.Function):
    """x * sigmoid(x), whose gradient treats the gate as a constant."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x)
        ctx.save_for_backward(gate)
        return x * gate

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        (gate,) = ctx.saved_tensors
        return grad * gate


class _Net(nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor], squeeze: bool) -> None:
        super().__init__()
        self.activation, self.squeeze = activation, squeeze
        self.enter = nn.Linear(8, 64)
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.leave = nn.Linear(64, 1)
        for layer in (self.enter, self.first, self.second, self.leave):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.enter(x))
        x = x + self.activation(self.first(x))
        x = x + self.activation(self.second(x))
        price = self.leave(x)
        return price.squeeze(1) if self.squeeze else price


def _log_error(output: Tensor, target: Tensor) -> Tensor:
    return (output.log() - target.log()).square().mean()


def _task(
    activation: Callable[[Tensor], Tensor] = torch.tanh,
    squeeze: bool = True,
    columns: str = "standardised",
    price: str = "standardised",
    loss: Callable[[Tensor, Tensor], Tensor] = functional.smooth_l1_loss,
) -> lrtune.Task:
    x, y = _market(1100)
    if columns == "standardised":
        x = (x - x.mean(dim=0)) / x.std(dim=0)
    elif columns == "missing":
        x[torch.rand(len(x), generator=torch.Generator().manual_seed(4)) < 0.03, 2] = torch.nan
        x = (x - x.nanmean(dim=0)) / torch.tensor([62.0, 404, 37.5, 2.0, 0.2, 0.32, 3.5, 1.4])
    if price == "standardised":
        y = (y - y.mean()) / y.std()
    elif price == "log, some unsold":
        y[::40] = 0
        logs = y.log()
        y = (logs - logs[logs.isfinite()].mean()) / logs[logs.isfinite()].std()
    elif price == "of the mean":
        y = y / y.mean()
    return lrtune.Task(
        model=lambda: _Net(activation, squeeze),
        train=_Houses(x[:900], y[:900]),
        val=_Houses(x[900:], y[900:]),
        loss=loss,
    )


CASE = Case(
    name="houses-regression",
    healthy=_task,
    faults=(
        Fault("prices in dollars", ("target-not-normalised",), partial(_task, price="dollars")),
        Fault(
            "columns in square metres, years and degrees",
            ("input-not-normalised",),
            partial(_task, columns="raw"),
        ),
        Fault("missing years are NaN", ("nonfinite-input",), partial(_task, columns="missing")),
        Fault("logarithm of a price of 0", ("nonfinite-target",), partial(_task, price="log, some unsold")),
        Fault(
            "prices [B] against outputs [B, 1]",
            ("broadcast-target", "target-shape-mismatch"),
            partial(_task, squeeze=False),
        ),
        Fault(
            "logarithm of an output of either sign",
            ("nonfinite-loss",),
            partial(_task, price="of the mean", loss=_log_error),
        ),
        Fault(
            "Swish with half of its gradient",
            ("wrong-gradient",),
            partial(_task, activation=_SwishByHand.apply),
        ),
    ),
)
